"""What the producer can be told."""

import math
import re
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from common.settings import CommandSettings, FieldMap
from common.tick import NotATickError, normalise_symbol
from producer.numbers import Mark
from producer.reading import Reading


def _symbol(text: str) -> str:
    try:
        return normalise_symbol(text)
    except NotATickError as error:
        raise ValueError(f"{text!r}: {error}") from None


def _split(text: object) -> object:
    return tuple(part.strip() for part in text.split(",")) if isinstance(text, str) else text


def _columns(text: object) -> object:
    # COLUMNS is where shells tell how wide the terminal is: a number, which names no column
    return () if isinstance(text, str) and text.strip().isdecimal() else _split(text)


def _all_different(symbols: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is there more than once")
    return symbols


def _speed(text: object) -> object:
    if text == "max":
        return math.inf
    try:
        speed = float(str(text))
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise ValueError("give a positive number, or max")
    return speed


def _separator(text: str | None) -> str | None:
    named = {"tab": "\t", "\\t": "\t", "space": " "}.get(text or "", text)
    if named is not None and (len(named) != 1 or named in '"\r\n'):
        raise ValueError("give one character, or tab")
    return named


def _time_format(form: str | None) -> str | None:
    if form is None:
        return None
    day = datetime(2024, 3, 14, tzinfo=UTC)
    try:
        read = datetime.strptime(day.strftime(form), form)  # noqa: DTZ007  (only its date counts)
    except (ValueError, re.error) as error:
        raise ValueError(f"it is no format of strptime: {error}") from None
    if read.date() != day.date():
        raise ValueError("it has to have year, month and day: %d/%m/%Y, for instance")
    return form


def _zone(name: object) -> object:
    if not isinstance(name, str):
        return name
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # what it raises depends on what the name looks like
        raise ValueError("there is no such time zone: give one as America/New_York or Europe/Berlin") from None


def _time_of_day(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007  (it is a time of day)
    except ValueError:
        raise ValueError("give hours and minutes, as 17:00") from None


Symbol = Annotated[str, AfterValidator(_symbol)]

FeedName = Literal["simulated", "replay", "yahoo", "yahoo-live", "sqs", "kafka"]
"""All feeds there are: each is the module of its name in `producer.feeds`."""


class FileSettings(CommandSettings):
    """How files of ticks and bars are to be read."""

    symbols: Annotated[tuple[Symbol, ...], NoDecode, BeforeValidator(_split), AfterValidator(_all_different)] = Field(
        (),
        description="The symbols to publish, separated by commas; by default a dozen known ones, or all that"
        " the file, the queue or the topic has (Yahoo's feeds have no default).",
    )
    symbol: Symbol | None = Field(None, description="The symbol of a file that has no symbol column.")
    columns: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_columns)] = Field(
        (),
        description="Names of a file's columns, in order, where it has no header or an odd one; - passes one over:"
        " time,open,high,low,close,volume.",
    )
    separator: Annotated[str | None, AfterValidator(_separator)] = Field(
        None, description="What is between a text file's fields: one character, or tab; by default the file tells."
    )
    decimal: Mark | None = Field(
        None, description="What begins the decimals in a text file, a point or a comma; by default it tells."
    )
    time_format: Annotated[str | None, AfterValidator(_time_format)] = Field(
        None,
        description="How a file's timestamps are written, in strptime's letters: %d/%m/%Y; by default they tell.",
    )
    timezone: Annotated[ZoneInfo | None, BeforeValidator(_zone)] = Field(
        None,
        description="The time zone of a file's timestamps that have no offset: America/New_York; by default UTC.",
    )
    session_timezone: Annotated[ZoneInfo | None, BeforeValidator(_zone)] = Field(
        None,
        description="Where a session of bars is one day, if timestamps have no offset; by default where TIMEZONE says.",
    )
    session_start: Annotated[time, BeforeValidator(_time_of_day)] = Field(
        time(0), description="When a session of bars begins; 17:00 is the evening before its day, as at the CME."
    )

    @property
    def reading(self) -> Reading:
        """What is said of the file."""
        return Reading(
            columns=self.columns,
            separator=self.separator,
            decimal=self.decimal,
            time_format=self.time_format,
            timezone=self.timezone,
            session_timezone=self.session_timezone,
            session_start=self.session_start,
        )


class ProducerSettings(FileSettings):
    """Publish quotes to the stream, until stopped or until the feed ends.

    Any property of librdkafka can be set in the environment as KAFKA_ and its name in upper snake case, for instance
    KAFKA_SECURITY_PROTOCOL=SASL_SSL KAFKA_SASL_MECHANISM=PLAIN KAFKA_SASL_USERNAME=... KAFKA_SASL_PASSWORD=...;
    KAFKA_SASL_MECHANISM=AWS_MSK_IAM logs in to Amazon MSK with the role in use.
    """

    stream_name: str = Field("stock-market-stream", min_length=1, description="The Kinesis stream to publish to.")
    feed: FeedName = Field(
        "simulated",
        description="Where quotes come from: a simulated market, a recorded file, Yahoo, polled or streamed, an"
        " SQS queue, or a Kafka topic.",
    )
    feed_interval_seconds: float = Field(
        30, gt=0, allow_inf_nan=False, description="Seconds from one simulated or polled quote of a symbol to its next."
    )
    market_closed_interval_seconds: float = Field(
        300,
        gt=0,
        allow_inf_nan=False,
        description="Seconds from one poll of a symbol to its next while its market is closed.",
    )
    stream_silence_seconds: float = Field(
        90,
        gt=0,
        allow_inf_nan=False,
        description="Seconds without a quote after which a stream is given up for a new one while a market is open.",
    )
    simulation_seed: int | None = Field(
        None,
        description="Makes the simulated market the same at every start; without it, each start differs.",
    )
    replay_file: Path | None = Field(
        None,
        description="The file to replay: ticks or bars as .csv, .tsv, .txt, .json, .jsonl or .parquet, plain or with"
        " .gz or .zst.",
    )
    replay_speed: Annotated[float, BeforeValidator(_speed)] = Field(
        1, description="How many times faster than recorded to replay, or max for as fast as possible."
    )
    extended_hours: bool = Field(
        False, description="Whether polled quotes are those from before and after regular hours, too."
    )
    queue_url: str | None = Field(None, description="The SQS queue whose messages are to be published.")
    kafka_brokers: str | None = Field(
        None, description="Kafka's brokers to begin with, separated by commas: host:9092,host:9092."
    )
    kafka_topic: str | None = Field(None, description="The Kafka topic whose messages are to be published.")
    kafka_group: str = Field(
        "tickertape", min_length=1, description="The group of consumers as which the topic is read."
    )
    field_map: FieldMap = Field(
        {},
        description="Names that messages of a queue or topic have for a tick's fields, as JSON, the same as the"
        ' consumer\'s: {"TICKER": "symbol"}.',
    )
    publish_linger_milliseconds: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="How long a tick waits for others to share its request; they gather while one is under way, too.",
    )
    aggregate: bool = Field(
        False,
        description="Put a symbol's waiting ticks into one record, in the format of the Kinesis Producer Library.",
    )
    embedded_metrics: bool = Field(
        True,
        description="Have CloudWatch make metrics of the counts in the log, each of which is to be paid for.",
    )

    @model_validator(mode="after")
    def _needs_a_file(self) -> Self:
        if self.feed == "replay" and self.replay_file is None:
            raise ValueError("FEED=replay needs a file: set REPLAY_FILE")
        return self

    @model_validator(mode="after")
    def _needs_symbols(self) -> Self:
        if self.feed in {"yahoo", "yahoo-live"} and not self.symbols:
            raise ValueError(f"FEED={self.feed} needs symbols: set SYMBOLS, for instance SYMBOLS=AAPL,BRK-B,BTC-USD")
        return self

    @model_validator(mode="after")
    def _needs_a_queue(self) -> Self:
        if self.feed == "sqs" and self.queue_url is None:
            raise ValueError("FEED=sqs needs a queue: set QUEUE_URL")
        return self

    @model_validator(mode="after")
    def _needs_a_topic(self) -> Self:
        if self.feed == "kafka" and not (self.kafka_brokers and self.kafka_topic):
            raise ValueError("FEED=kafka needs brokers and a topic: set KAFKA_BROKERS and KAFKA_TOPIC")
        return self
