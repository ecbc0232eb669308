"""Logs: one JSON object a line on stderr."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from pythonjsonlogger.msgspec import MsgspecFormatter

NAMESPACE = "Tickertape"
"""Of our metrics in CloudWatch."""


def configure_logging() -> None:
    """Send every logger of this process, libraries' included, to stderr as JSON lines.

    Write events as ``log.info("archived", extra={"shard_id": shard_id, "records": 12})``: the message names the event,
    the extras are its fields.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        MsgspecFormatter(
            ["asctime", "levelname", "name", "message"],
            rename_fields={
                "asctime": "time",
                "levelname": "level",
                "name": "logger",
                "message": "event",
                "emf": "_aws",  # the formatter leaves out extras whose names begin so
            },
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def metrics(values: Mapping[str, tuple[float, str]], **dimensions: str) -> dict[str, Any]:
    """Give the extras of a log line that CloudWatch reads as metrics, too: its embedded metric format.

    Parameters
    ----------
    values
        Each metric's value and unit, as CloudWatch names units.
    dimensions
        What tells these metrics from others of the same names.

    Examples
    --------
    >>> log.info("published", extra=metrics({"published": (12, "Count")}, StreamName="quotes"))

    """
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in values.items()],
    }
    return {
        **dimensions,
        **{name: value for name, (value, _) in values.items()},
        "emf": {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]},
    }
