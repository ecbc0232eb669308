"""The process of one shard: the daemon starts `python -m consumer` and talks to it over stdin and stdout."""

import gc
import logging
import os
import signal
import sys
from typing import TextIO

from common.telemetry import configure_logging

_GARBAGE = 5000
"""Objects that come before garbage is looked for. botocore leaves cycles at each call: more would cost megabytes."""


def main() -> None:
    """Serve the daemon until it closes the conversation."""
    # Only the daemon decides when a shard stops; a terminal's Ctrl-C or a container's SIGTERM is for the daemon.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    to_daemon = _take_stdout()
    configure_logging()
    from consumer import config, processor, protocol  # noqa: PLC0415  (stdout is safe only now, whatever an import prints)

    shard = processor.ShardProcessor(config.received())
    look_for_garbage_seldom()
    try:
        protocol.ShardProcess(shard, sys.stdin.buffer, to_daemon, sys.stderr).run()
    except SystemExit as leaving:
        logging.shutdown()
        os._exit(leaving.code if isinstance(leaving.code, int) else 1)  # not waiting for threads that wait for AWS


def look_for_garbage_seldom() -> None:
    """Keep the garbage collector from what was imported: looking through it again and again finds nothing."""
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def _take_stdout() -> TextIO:
    """Keep stdout for the protocol: whatever else is printed in this process goes to stderr."""
    to_daemon = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return to_daemon


if __name__ == "__main__":
    main()
