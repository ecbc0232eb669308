"""``tickertape local``: the whole pipeline on one machine."""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from common import aws
from common.aws import explain
from common.errors import UserError, run_command
from common.settings import read_settings
from desk import running
from desk.dashboard.settings import USUAL_PORT
from desk.notify.settings import NotifySettings
from infra.local import once
from infra.local.chats import Chats
from infra.local.display import Display, display_on_stderr
from infra.local.export import Export
from infra.local.leases import create_leases
from infra.local.processes import Child, Processes, await_line
from infra.local.settings import LocalSettings
from infra.local.stack import Stack, deploy, environment_in, own_account, use_endpoint
from infra.local.stores import Stores
from infra.local.view import write_picture
from infra.local.watch import Watch
from producer.clock import Clock
from producer.feeds import replay
from producer.settings import ProducerSettings

_APPLICATION = "tickertape-local"
_CHECK_SECONDS = 0.2
_AWS_START_SECONDS = 60
_DASHBOARD_START_SECONDS = 60
_PRODUCER_STOP_SECONDS = 20
_CONSUMER_STOP_SECONDS = 20
_NOTIFIER_STOP_SECONDS = 10
_AWS_STOP_SECONDS = 3

_IN_AN_ACCOUNT = {"sqs", "kafka"}
"""Feeds that may need credentials of the user's own: for the queue, or for a cluster of MSK."""

_SIMULATED_INTERVAL_SECONDS = "0.5"

# Slow and thrifty defaults suit a service that runs for months; here somebody is waiting.
_QUICKLY = {
    "ARCHIVE_SECONDS": "10",
    "KCL_SHARD_SYNC_INTERVAL_MILLIS": "1000",
    "KCL_METRICS_LEVEL": "NONE",
    "NOTIFY_GROUP_SECONDS": "5",
}


class Signals:
    """Counts Ctrl-C and SIGTERM: one is a wish to stop, two are impatience."""

    def __init__(self) -> None:
        self._received = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._count)

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self._received += 1

    @property
    def stop(self) -> bool:
        """Somebody wants the run to stop."""
        return self._received > 0

    def hurry(self) -> bool:
        """Somebody does not want to wait for it."""
        return self._received > 1


@dataclass
class Run:
    """What a run consists of once everything is started."""

    embedded_aws: Child
    producer: Child
    consumers: list[Child]
    stores: Stores
    watch: Watch
    chats: Chats | None
    export: Export | None
    display: Display

    def look(self, phase: str) -> None:
        """Look at everything and show it."""
        messages = self.stores.take_messages()
        if self.export:
            self.export.add_messages(messages)
        self.display.show(self.watch.look(messages, phase), messages)

    def check(self) -> None:
        """Find out whether all that should run does.

        Raises
        ------
        UserError
            A process ended by itself.

        """
        notifiers = [self.chats.notifier] if self.chats else []
        for child in (self.embedded_aws, self.producer, *self.consumers, *notifiers):
            if child.exit_code is not None and (child.exit_code != 0 or child is not self.producer):
                raise UserError(f"the {child.name} stopped: {child.last_error()}")


def main(arguments: list[str]) -> int:
    """Run until the end, a signal or a failure; returns the exit code."""
    return run_command(lambda: _local(read_settings(LocalSettings, arguments, "local")))


def _local(settings: LocalSettings) -> None:
    _complain_before_anything_starts(settings)
    export = Export(settings.export) if settings.export else None
    if settings.picture and not os.access(settings.picture.absolute().parent, os.W_OK):
        raise UserError(f"--picture {settings.picture} cannot be written: choose another file")
    signals = Signals()
    folder = Path(tempfile.mkdtemp(prefix=running.FOLDER_PREFIX))
    os.environ["TMPDIR"] = str(folder)  # what the children leave goes with it
    processes = Processes(folder)
    try:
        _run(settings, export, processes, signals)
    except (ClientError, BotoCoreError) as error:
        raise UserError(f"{explain(error, 'the embedded AWS')} (all logs are in {folder})") from error
    except UserError as error:
        raise type(error)(f"{error} (all logs are in {folder})") from error
    else:
        processes.kill()
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        processes.kill()


def _complain_before_anything_starts(settings: LocalSettings) -> None:
    producer_settings = read_settings(ProducerSettings, settings.producer_flags(), "produce")
    if producer_settings.feed == "replay":
        replay.open_feed(producer_settings, Clock(threading.Event()))
    if settings.notify:
        told = [f"--notify-urls={settings.notify.get_secret_value()}", "--notify-queue-url=http://localhost"]
        read_settings(NotifySettings, told, "notify")


def _run(settings: LocalSettings, export: Export | None, processes: Processes, signals: Signals) -> None:
    started = time.monotonic()
    with display_on_stderr() as display:
        display.say("starting the embedded AWS and deploying the stack")
        account = own_account() if settings.feed in _IN_AN_ACCOUNT else {}
        embedded_aws, stack = _start_aws(processes, settings)
        chats = None
        if settings.notify:
            chats = Chats(processes, stack.alert_topic_arn, settings.notify.get_secret_value())
        command = [sys.executable, "-m", "tickertape"]
        consumers = [
            processes.start(f"consumer {number}", [*command, "consume"]) for number in range(1, settings.workers + 1)
        ]
        producer = processes.start(
            "producer", [*command, "produce", *settings.producer_flags()], environment_in(account)
        )
        address = None
        if settings.dashboard and not settings.once:
            address = _serve_dashboard(processes, command)
            display.say(f"serving the dashboard at {address}")
        stores = Stores(stack, _APPLICATION, lambda: signals.hurry() or embedded_aws.exit_code is not None)
        watch = Watch(stores, [consumer.log for consumer in consumers], started, address)
        run = Run(embedded_aws, producer, consumers, stores, watch, chats, export, display)
        if settings.once:
            _until_all_is_archived(run, signals)
        else:
            _until_stopped(run, settings.duration, signals)
        seconds = watch.elapsed_seconds
        if settings.picture and display.last:
            write_picture(display.last, settings.picture)
        display.say("stopping")
        processes.stop([producer], _PRODUCER_STOP_SECONDS, hurry=signals.hurry)
        processes.stop(consumers, _CONSUMER_STOP_SECONDS, hurry=signals.hurry)
        run.look("stopped")
    if export:
        export.finish(stores)
    if settings.once:
        summary = once.summary_of(producer)
        counts = once.count(stores, summary["published"], summary["skipped"], seconds)
        print(json.dumps(counts), flush=True)  # noqa: T201  (the result)
    if chats:
        if not signals.stop:
            chats.wait(hurry=lambda: signals.stop)
        processes.stop([chats.notifier], _NOTIFIER_STOP_SECONDS, hurry=signals.hurry)
    processes.stop([embedded_aws], _AWS_STOP_SECONDS, hurry=signals.hurry)


def _start_aws(processes: Processes, settings: LocalSettings) -> tuple[Child, Stack]:
    """Start the embedded AWS, deploy the stack, and have the environment name both to all that is started later."""
    embedded_aws = processes.start("embedded AWS", [sys.executable, "-m", "infra.local.embedded_aws"])
    use_endpoint(await_line(embedded_aws, _AWS_START_SECONDS))
    stack = deploy(settings.shards)
    create_leases(
        aws.client("kinesis"), aws.client("dynamodb"), stream_name=stack.stream, application_name=_APPLICATION
    )
    os.environ.update(stack.environment(), APPLICATION_NAME=_APPLICATION)
    running.announce(processes.folder, {**stack.environment(), "APPLICATION_NAME": _APPLICATION})
    for name, value in _QUICKLY.items():
        os.environ.setdefault(name, value)
    if settings.feed == "simulated":  # Yahoo would mind
        os.environ.setdefault("FEED_INTERVAL_SECONDS", _SIMULATED_INTERVAL_SECONDS)
    return embedded_aws, stack


def _serve_dashboard(processes: Processes, command: list[str]) -> str:
    """Start the page's server, and give its address: at the usual port, or where that is taken at another one."""
    told = [] if "DASHBOARD_PORT" in os.environ else ["--port", str(USUAL_PORT if _is_free(USUAL_PORT) else 0)]
    return await_line(processes.start("dashboard", [*command, "dashboard", *told]), _DASHBOARD_START_SECONDS)


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _until_stopped(run: Run, duration: float | None, signals: Signals) -> None:
    started = due = time.monotonic()
    while not signals.stop and (duration is None or time.monotonic() < started + duration):
        run.check()
        if time.monotonic() >= due:
            run.look("running")
            due = time.monotonic() + run.display.interval_seconds
        time.sleep(_CHECK_SECONDS)


def _until_all_is_archived(run: Run, signals: Signals) -> None:
    progress = once.Progress()
    due = time.monotonic()
    while True:
        if signals.stop:
            raise UserError("stopped before everything was processed")
        run.check()
        ended = run.producer.exit_code is not None
        leases = run.stores.leases()
        if ended and once.is_complete(once.summary_of(run.producer)["last_sequence_numbers"], leases):
            return
        progress.note((run.stores.count_ticks(), tuple(lease.checkpoint for lease in leases), ended))
        if time.monotonic() >= due:
            run.look("processing" if ended else "replaying")
            due = time.monotonic() + run.display.interval_seconds
        time.sleep(_CHECK_SECONDS * 3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
