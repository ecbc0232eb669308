"""The notifier of a local run, which `--notify` asks for, with a queue of its own."""

import json
import os
import sys
import time
from collections.abc import Callable

from common import aws
from common.errors import UserError
from infra.local.processes import Child, Processes
from infra.local.stack import subscribe_queue

QUEUE_NAME = "tickertape-notify"
_PATIENCE_SECONDS = 30
_CHECK_SECONDS = 0.5


class Chats:
    """`tickertape notify`, from now on.

    Parameters
    ----------
    processes
        Those of the run.
    topic_arn
        The topic of alerts.
    urls
        Who is told.

    """

    def __init__(self, processes: Processes, topic_arn: str, urls: str) -> None:
        self._sqs = aws.client("sqs")
        self._queue_url = subscribe_queue(topic_arn, QUEUE_NAME)
        told = {"NOTIFY_QUEUE_URL": self._queue_url, "NOTIFY_URLS": urls}  # no other process gets to know the secret
        self.notifier: Child = processes.start(
            "notifier", [sys.executable, "-m", "tickertape", "notify"], os.environ | told
        )

    def wait(self, *, hurry: Callable[[], bool]) -> None:
        """Wait until all alerts are told.

        Raises
        ------
        UserError
            They have not become fewer for a while: a service takes none.

        """
        least, since = self._untold(), time.monotonic()
        while (untold := self._untold()) and not hurry():
            if untold < least:
                least, since = untold, time.monotonic()
            if self.notifier.exit_code is not None:
                raise UserError(f"the notifier stopped: {self.notifier.last_error()}")
            if time.monotonic() > since + _PATIENCE_SECONDS:
                raise UserError(f"{untold} messages were not taken: {self._last_failure()}")
            time.sleep(_CHECK_SECONDS)

    def _untold(self) -> int:
        """Count the queue's messages: one for each URL that an alert is for."""
        names = ["ApproximateNumberOfMessages"]  # of which the embedded AWS counts all
        answer = aws.persist(
            lambda: self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=names), about="the queue"
        )
        return int(answer["Attributes"][names[0]])

    def _last_failure(self) -> str:
        events = [json.loads(line) for line in self.notifier.log.read_text().splitlines() if line.startswith("{")]
        failures = [f"URL {e['url']}: {e['reason']}" for e in events if e["event"] == "notify_failed"]
        return (failures or ["the notifier does not say why"])[-1]
