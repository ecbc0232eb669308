"""The settings of `tickertape consume`: each is a flag and an environment variable."""

from decimal import Decimal
from typing import Annotated

import msgspec
from pydantic import Field, field_validator, model_validator

from common.settings import CommandSettings, FieldMap
from common.tick import NotATickError, fixed, normalise_symbol
from consumer.config import ShardConfig
from consumer.detection import Rules

Positive = Annotated[Decimal, Field(gt=0)]
WindowSize = Annotated[int, Field(ge=2, le=1000)]


class ConsumerSettings(CommandSettings):
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
    max_clock_skew_seconds: int = Field(
        300, ge=0, description="A tick this many seconds later than its arrival is quarantined."
    )
    field_map: FieldMap = Field(
        {}, description='Names that other producers give to a tick\'s fields, as JSON: {"TICKER": "symbol"}.'
    )
    retention_days: int = Field(30, ge=1, description="Days after which rows expire from the tables.")

    sma_fast: WindowSize = Field(5, description="Ticks in the fast moving average.")
    sma_slow: WindowSize = Field(20, description="Ticks in the slow moving average and in the Bollinger bands.")
    price_move_percent: Positive = Field(
        Decimal(5), description="price_move fires at this distance from the previous close, in per cent."
    )
    price_move_reset_percent: Positive = Field(
        Decimal(4), description="price_move is armed again below this distance, in per cent."
    )
    z_score_window: WindowSize = Field(20, description="Returns before this one that a z-score looks at.")
    z_score_threshold: Positive = Field(Decimal(4), description="z_score fires at this many deviations.")
    bollinger_width: Positive = Field(Decimal(2), description="Half width of the band in standard deviations.")
    volume_window: WindowSize = Field(20, description="Volume deltas before this one that volume_spike averages.")
    volume_spike_ratio: Positive = Field(
        Decimal(5), description="volume_spike fires at this multiple of the mean delta."
    )
    price_levels: dict[str, Decimal] = Field({}, description='price_level\'s level by symbol, as JSON: {"AAPL": 200}.')
    alert_threshold: Decimal | None = Field(None, description="price_level's level for all other symbols.")
    alert_cooldown_seconds: int = Field(
        300, ge=0, description="Event time before the same alert of a symbol is sent again; 0 sends all."
    )

    @field_validator("price_levels")
    @classmethod
    def _levels_are_prices_of_symbols(cls, levels: dict[str, Decimal]) -> dict[str, Decimal]:
        return {_symbol(symbol): _price(level) for symbol, level in levels.items()}

    @field_validator("alert_threshold")
    @classmethod
    def _threshold_is_a_price(cls, level: Decimal | None) -> Decimal | None:
        return None if level is None else _price(level)

    @model_validator(mode="after")
    def _pairs_fit(self) -> "ConsumerSettings":
        if self.sma_fast >= self.sma_slow:
            raise ValueError(f"SMA_FAST ({self.sma_fast}) must be below SMA_SLOW ({self.sma_slow})")
        if self.price_move_reset_percent > self.price_move_percent:
            raise ValueError("PRICE_MOVE_RESET_PERCENT must not be above PRICE_MOVE_PERCENT")
        return self

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
        return msgspec.convert({**values, "rules": msgspec.convert(values, Rules)}, ShardConfig)


def _symbol(text: str) -> str:
    try:
        return normalise_symbol(text)
    except NotATickError as error:
        raise ValueError(str(error)) from None


def _price(level: Decimal) -> Decimal:
    try:
        fixed(level)
    except NotATickError as error:
        raise ValueError(str(error)) from None
    return level
