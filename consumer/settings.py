"""The settings of `tickertape consume`: each is a flag and an environment variable."""

import msgspec
from pydantic import Field, model_validator

from common.settings import FieldMap
from consumer.config import ShardConfig
from consumer.rule_settings import RuleSettings


class ConsumerSettings(RuleSettings):
    """Process every shard of a stream until stopped: detect, store, archive and alert.

    Any property of the Kinesis Client Library can be set in the environment as KCL_ and its name in upper snake
    case, for instance KCL_FAILOVER_TIME_MILLIS=10000 or KCL_RETRIEVAL_MODE=FANOUT.
    """

    stream_name: str = Field("stock-market-stream", description="Kinesis stream to read.")
    ticks_table: str = Field("stock-market-data", description="DynamoDB table for processed ticks.")
    alerts_table: str = Field("stock-alerts", description="DynamoDB table for alerts.")
    archive_bucket: str = Field(description="S3 bucket for the archive and the quarantine.")
    alert_topic_arn: str = Field(pattern=r"^arn:[^:]+:sns:", description="ARN of the SNS topic for alerts.")
    application_name: str = Field(
        "tickertape-consumer",
        pattern=r"^[A-Za-z0-9_.-]{3,200}$",
        description="Name of the KCL application, and of its lease table.",
    )
    archive_seconds: int = Field(60, ge=1, le=3600, description="Length of an archive window in seconds.")
    row_seconds: int = Field(
        0,
        ge=0,
        description="Rows in the ticks table: 0 is every tick; N is a symbol's first tick in N seconds of arrival, and "
        "each on which a rule fired. The archive has every tick in any case.",
    )
    stale_seconds: int = Field(
        300,
        ge=0,
        description="A symbol that is silent for so long, while others of its market are quoted, is reported as stale; "
        "0 reports none.",
    )
    max_clock_skew_seconds: int = Field(
        300, ge=0, description="A tick this many seconds later than its arrival is quarantined."
    )
    field_map: FieldMap = Field(
        {}, description='Names that other producers give to a tick\'s fields, as JSON: {"TICKER": "symbol"}.'
    )
    retention_days: int = Field(30, ge=1, description="Days after which rows expire from the tables.")

    @model_validator(mode="after")
    def _rows_are_not_thinner_than_windows(self) -> "ConsumerSettings":
        if self.row_seconds > self.archive_seconds:
            raise ValueError(
                f"ROW_SECONDS ({self.row_seconds}) must not be above ARCHIVE_SECONDS ({self.archive_seconds})"
            )
        return self

    def shard_config(self) -> ShardConfig:
        """What the shards' processes get to know."""
        values = self.model_dump()
        return msgspec.convert({**values, "rules": self.chosen_rules()}, ShardConfig)
