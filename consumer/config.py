"""What one shard's process needs to know, handed to it by `tickertape consume` in an environment variable.

The process of a shard does not read settings itself: it must stay small, and pydantic is not.
"""

import os

import msgspec

from consumer.detection import Rules

_VARIABLE = "TICKERTAPE_SHARD_CONFIG"


class ShardConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Names of the stream, the application and the stores, sizes in seconds and days, and the rules' numbers."""

    stream_name: str
    application_name: str
    ticks_table: str
    alerts_table: str
    archive_bucket: str
    alert_topic_arn: str
    archive_seconds: int
    max_clock_skew_seconds: int
    retention_days: int
    rules: Rules
    row_seconds: int = 0
    stale_seconds: int = 300
    field_map: dict[str, str] = {}
    worker_id: str = ""
    """By which the daemon's leases are known."""


def pass_on(config: ShardConfig) -> None:
    """Put ``config`` where the processes that this one starts (or becomes) find it."""
    os.environ[_VARIABLE] = msgspec.json.encode(config).decode()


def received() -> ShardConfig:
    """Read what `pass_on` left."""
    return msgspec.json.decode(os.environ[_VARIABLE], type=ShardConfig)
