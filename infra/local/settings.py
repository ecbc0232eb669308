"""What a local run can be told."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from common.settings import CommandSettings
from producer.settings import FeedName

_PASSED_ON = {
    "replay": (
        *("symbol", "columns", "separator", "decimal", "time_format", "timezone", "session_timezone", "session_start"),
    ),
    "sqs": ("queue_url",),
    "kafka": ("kafka_brokers", "kafka_topic", "kafka_group"),
}
"""What is said of one feed, in the producer's own words."""


class LocalSettings(CommandSettings):
    """Run the whole pipeline on this machine, on an embedded AWS, and show what it does.

    The producer's and the consumer's other settings are taken from the environment, for instance
    FEED_INTERVAL_SECONDS=0.1 (0.5 for the simulated market without it), ARCHIVE_SECONDS=60 (10 here without it),
    ALERT_COOLDOWN_SECONDS=0.
    """

    # Flags only, in effect: FILE, ONCE or SPEED in somebody's environment are hardly meant for us.
    model_config = SettingsConfigDict(env_prefix="TICKERTAPE_LOCAL_")

    feed: FeedName = Field(
        "simulated",
        description="Where quotes come from: a simulated market, a recorded file, Yahoo, polled or streamed, an SQS"
        " queue, or a Kafka topic.",
    )
    file: Path | None = Field(None, description="The file to replay.")
    speed: str | None = Field(
        None, description="How many times faster than recorded to replay, or max for as fast as possible."
    )
    symbols: str | None = Field(None, description="The symbols to publish, separated by commas.")
    symbol: str | None = Field(None, description="The symbol of a file that has no symbol column.")
    columns: str | None = Field(
        None,
        description="Names of the file's columns, in order, where it has no header or an odd one; - passes one over:"
        " time,open,high,low,close,volume.",
    )
    separator: str | None = Field(None, description="What is between the file's fields: one character, or tab.")
    decimal: str | None = Field(None, description="What begins the decimals in the file, a point or a comma.")
    time_format: str | None = Field(
        None, description="How the file's timestamps are written, as strptime has it: %d/%m/%Y."
    )
    timezone: str | None = Field(
        None, description="The time zone of the file's timestamps that have no offset: America/New_York."
    )
    session_timezone: str | None = Field(
        None, description="Where a session of bars is one day, if timestamps have no offset."
    )
    session_start: str | None = Field(
        None, description="When a session of bars begins; 17:00 is the evening before its day."
    )
    queue_url: str | None = Field(None, description="The SQS queue to read from, in your account or an emulator of it.")
    kafka_brokers: str | None = Field(None, description="Kafka's brokers: host:9092,host:9092.")
    kafka_topic: str | None = Field(None, description="The Kafka topic to read from.")
    kafka_group: str | None = Field(None, description="The group of consumers as which it is read; tickertape without.")
    extended_hours: bool = Field(
        False, description="Whether polled quotes are those from before and after regular hours, too."
    )
    shards: int = Field(2, ge=1, le=32, description="Shards of the stream.")
    workers: int = Field(1, ge=1, le=8, description="Consumers, each with its own daemon; they share the shards.")
    duration: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds to run; without it, until Ctrl-C."
    )
    once: bool = Field(
        False,
        description="Stop when every record of the replay is processed and archived, and print the counts as JSON.",
    )
    notify: SecretStr | None = Field(
        None,
        description="Who is told of alerts, as URLs: ntfy://a-topic-of-mine?severity=warning (docs/notify.md).",
    )
    export: Path | None = Field(None, description="A directory to write all rows, messages and objects to at the end.")
    dashboard: bool = Field(True, description="Whether the dashboard's page is served, too; with --once it is not.")
    picture: Path | None = Field(None, description="A file to write the last view to, as SVG.")

    @field_validator("file")
    @classmethod
    def _can_be_read(cls, file: Path | None) -> Path | None:
        if file is None:
            return None
        try:
            with file.open("rb"):
                return file
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {error.strerror}") from None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.feed == "replay" and self.file is None:
            raise ValueError("--feed replay needs the file to replay: add --file FILE")
        for feed, names in {**_PASSED_ON, "replay": ("file", "speed", *_PASSED_ON["replay"])}.items():
            for name in names:
                if self.feed != feed and getattr(self, name) is not None:
                    raise ValueError(f"--{name.replace('_', '-')} is for --feed {feed}")
        if self.once and self.feed != "replay":
            raise ValueError(
                f"--once needs a feed that ends, and {self.feed} never does: add --feed replay --file FILE"
            )
        if self.once and self.duration is not None:
            raise ValueError("--once stops by itself: leave out --duration")
        return self

    def producer_flags(self) -> list[str]:
        """Say the same to `tickertape produce`."""
        flags = {
            "--feed": self.feed,
            "--replay-file": self.file.absolute() if self.file else None,
            "--replay-speed": self.speed,
            "--symbols": self.symbols,
            **{f"--{name.replace('_', '-')}": getattr(self, name) for names in _PASSED_ON.values() for name in names},
        }
        told = [f"{name}={value}" for name, value in flags.items() if value is not None]
        return [*told, "--extended-hours"] if self.extended_hours else told
