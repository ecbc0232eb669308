"""Logs: one JSON object a line on stderr."""

import logging
import sys

from pythonjsonlogger.msgspec import MsgspecFormatter


def configure_logging() -> None:
    """Send every logger of this process, libraries' included, to stderr as JSON lines.

    Write events as ``log.info("archived", extra={"shard_id": shard_id, "records": 12})``: the message names the event,
    the extras are its fields.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        MsgspecFormatter(
            ["asctime", "levelname", "name", "message"],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "message": "event"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
