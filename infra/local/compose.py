"""What compose.yaml runs beside the two tasks: ``python -m infra.local.compose deploy``, and ``watch``."""

import argparse
import os
import signal
import sys
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError

from common import aws
from common.errors import UserError, run_command
from infra.local.chats import QUEUE_NAME
from infra.local.display import display_on_stderr
from infra.local.leases import create_leases
from infra.local.stack import Stack, deploy, deployed, subscribe_queue
from infra.local.stores import Stores
from infra.local.watch import Watch


def main(arguments: list[str]) -> int:
    """Run one of the two; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.compose", description=__doc__)
    parser.add_argument("what", choices=["deploy", "watch"])
    parser.add_argument("--shards", type=int, default=2, help="shards of a new stream (default: %(default)s)")
    parser.add_argument("--notify", choices=["", "yes"], help="make the notifier's queue, too")
    options = parser.parse_args(arguments)
    return run_command(
        lambda: _deploy(options.shards, notifies=bool(options.notify)) if options.what == "deploy" else _watch()
    )


def _deploy(shards: int, *, notifies: bool) -> None:
    """Deploy the stack, and see to it that the tasks are told its names.

    Raises
    ------
    UserError
        They are told others, or the embedded AWS refuses.

    """
    try:
        stack = deploy(shards)
        if notifies:
            subscribe_queue(stack.alert_topic_arn, QUEUE_NAME)
        create_leases(
            aws.client("kinesis"), aws.client("dynamodb"), stream_name=stack.stream, application_name=_application()
        )
    except (ClientError, BotoCoreError) as error:
        raise aws.explain(error, "the stack") from error
    _compare_names(stack)


def _compare_names(stack: Stack) -> None:
    for name, value in stack.environment().items():
        if name in os.environ and os.environ[name] != value:
            raise UserError(f"{name} is {os.environ[name]} in compose.yaml, and {value} in the stack: make them equal")


def _watch() -> None:
    """Show what is stored, as `tickertape local` does, until stopped."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stores = Stores(deployed(), _application(), stop.is_set)
    watch = Watch(stores, [], time.monotonic())
    with display_on_stderr() as display:
        while not stop.is_set():
            messages = stores.take_messages()
            display.show(watch.look(messages, "running"), messages)
            stop.wait(display.interval_seconds)


def _application() -> str:
    return os.environ["APPLICATION_NAME"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
