"""`tickertape notify` as a process, between a real queue on a topic and a service that fails, is slow, or hangs up."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import pytest

from desk.notify.queue import AlertQueue
from tests.functional.chat import Chat, line, running_chat
from tests.waiting import wait_for

SECRET = "tOp-sEcReT"  # noqa: S105  (it must not be found in a log)
VISIBLE_SECONDS = 3
_AWS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """An embedded AWS that the module's tests share."""
    command = [sys.executable, "-m", "infra.local.embedded_aws"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def chat() -> Iterator[Chat]:
    """A service that takes messages."""
    with running_chat() as running:
        yield running


@dataclass
class Topic:
    """A topic of alerts, and the queue on it."""

    sns: Any
    sqs: Any
    arn: str
    queue_url: str

    def publish(self, *alerts: dict[str, str]) -> None:
        """Publish as the consumer does."""
        for start in range(0, len(alerts), 10):
            entries = [
                {"Id": str(n), "Message": json.dumps({"default": json.dumps(alert)}), "MessageStructure": "json"}
                for n, alert in enumerate(alerts[start : start + 10])
            ]
            assert not self.sns.publish_batch(TopicArn=self.arn, PublishBatchRequestEntries=entries).get("Failed")

    def left(self) -> int:
        """The number of messages in the queue, in hand or not."""
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["All"])["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"])


@pytest.fixture
def topic(aws: str, request: pytest.FixtureRequest) -> Topic:
    """A topic with a queue, both new."""
    return topic_with_queue(aws, str(abs(hash(request.node.name))))


def topic_with_queue(url: str, name: str, raw: str = "true") -> Topic:
    """Make both."""
    session = boto3.Session("a", "b", region_name="us-east-1")
    sns, sqs = session.client("sns", endpoint_url=url), session.client("sqs", endpoint_url=url)
    arn = sns.create_topic(Name=name)["TopicArn"]
    queue_url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(VISIBLE_SECONDS)})["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": raw})
    return Topic(sns, sqs, arn, queue_url)


def alert(number: int, symbol: str = "KO", severity: str = "critical", **more: str) -> dict[str, str]:
    """What the consumer says of one."""
    timestamp = f"2026-11-25T10:{number // 60:02}:{number % 60:02}.000000Z"
    return {
        "symbol": symbol,
        "alert_id": f"{timestamp}#price_move",
        "timestamp": timestamp,
        "rule": "price_move",
        "direction": "up",
        "severity": severity,
        "message": f"{symbol} at {number} is 5 % above the previous close.",
        **more,
    }


class Notifier:
    """The command, from entering the context until leaving it."""

    def __init__(self, aws: str, topic: Topic, urls: str, folder: Path, group_seconds: float = 0) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **_AWS,
            "AWS_ENDPOINT_URL": aws,
            "NOTIFY_QUEUE_URL": topic.queue_url,
            "NOTIFY_URLS": urls,
            "NOTIFY_GROUP_SECONDS": str(group_seconds),
            "TMPDIR": str(folder),
        }
        self._log = folder / "notify.log"

    def __enter__(self) -> Self:
        """Start it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tickertape", "notify"], env=self.environment, stdout=log, stderr=log
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it as a container service does, if it was not killed."""
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(30) in {0, -signal.SIGKILL}, self._log.read_text()

    def kill(self) -> None:
        """Kill it as nothing can prepare for."""
        self.process.kill()
        self.process.wait()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has said; each line must be an event."""
        return [json.loads(text) for text in self._log.read_text().splitlines()]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Events of one name."""
        return [said for said in self.events if said["event"] == event]


def test_each_url_gets_what_it_wants(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """By severity, kind and symbols, each alert gets to each URL that wants it, once; then the queue is empty."""
    alerts = [
        alert(1, severity="info"),
        alert(2, severity="warning"),
        alert(3, symbol="M&M.NS"),
        alert(4, symbol="M&M.NS", severity="info"),
        alert(5, kind="quality", severity="warning"),
        alert(6, kind="signal"),
    ]
    urls = (
        f"json://{chat.host}/all json://{chat.host}/nobody?severity=critical&symbols=NONE, "
        f"json://{chat.host}/some?severity=warning&symbols=m%26m.ns,PEP\nntfy://{chat.host}/odd?kind=quality"
    )
    with Notifier(aws, topic, urls, tmp_path) as notifier:
        topic.publish(*alerts)
        wait_for(lambda: len(chat.lines("/all")) >= len(alerts) and not topic.left())
        assert notifier.said("notifier_started")[0]["urls"] == ["1 (json)", "2 (json)", "3 (json)", "4 (ntfy)"]
    assert sorted(chat.lines("/all")) == sorted(map(line, alerts))
    assert chat.lines("/some") == [line(alerts[2])]
    assert chat.lines("/odd") == [line(alerts[4])]
    assert chat.lines("/nobody") == []


def test_those_that_fail_hold_up_nobody(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """While URLs fail, others go on; when they work again they get all that they have missed, in order, once.

    What is said of them has neither their host nor their token.
    """
    alerts = [alert(number) for number in range(25)]
    chat.faults = {f"/{SECRET}/{fault}": fault for fault in (500, 429, 404, 0)}
    failing = list(chat.faults)
    urls = " ".join(f"json://{chat.host}{path}" for path in (*failing, "/well"))
    with Notifier(aws, topic, urls, tmp_path) as notifier:
        topic.publish(*alerts)
        wait_for(lambda: len(chat.lines("/well")) >= len(alerts) and all(chat.refused[path] >= 2 for path in failing))
        assert topic.left() == len(failing) * len(alerts)
        chat.faults = {}
        wait_for(lambda: not topic.left())
        reasons = {failure["url"]: failure["reason"] for failure in notifier.said("notify_failed")}
        said = json.dumps(notifier.events)
    for path in failing:
        assert chat.lines(path) == list(map(line, alerts))
    assert sorted(chat.lines("/well")) == sorted(map(line, alerts))
    assert reasons.keys() == {f"{place} (json)" for place in range(1, 5)}
    assert [reasons[f"{place} (json)"] for place in range(1, 4)] == [f"HTTP status {s}" for s in (500, 429, 404)]
    assert SECRET not in said
    assert chat.host not in said


def test_a_killed_notifier_loses_nothing(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """However often it is killed, all alerts get to both URLs; only what was under way at that moment is repeated.

    So what one URL was told of is not told again because another one fails.
    """
    alerts = [alert(number, symbol) for number in range(40) for symbol in ("KO", "PEP")]
    urls = f"json://{chat.host}/slow json://{chat.host}/fails"
    chat.faults["/fails"], chat.latency["/slow"] = 503, 0.3
    kills = 0
    for start in range(0, len(alerts), 20):
        with Notifier(aws, topic, urls, tmp_path) as notifier:
            topic.publish(*alerts[start : start + 20])
            before = len(chat.lines("/slow"))
            wait_for(lambda before=before: len(chat.lines("/slow")) > before)  # type: ignore[misc]
            notifier.kill()  # the answer is not there yet: nothing was deleted
            kills += 1
    chat.faults.clear()
    with Notifier(aws, topic, urls, tmp_path):
        wait_for(lambda: not topic.left())
    wanted = Counter(map(line, alerts))
    assert Counter(chat.lines("/fails")) == wanted
    told = Counter(chat.lines("/slow"))
    assert told.keys() == wanted.keys()
    assert max(told.values()) <= 1 + kills
    messages = [len(taken.text.splitlines()) for taken in chat.taken if taken.path == "/slow"]
    assert told.total() - wanted.total() <= kills * max(messages)


def test_what_waits_for_one_is_not_told_to_another_again(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """After a restart, a URL that was told is not told again, though the alert is still waiting for another URL."""
    chat.faults["/fails"] = 503
    alerts = [alert(number) for number in range(12)]
    urls = f"json://{chat.host}/well json://{chat.host}/fails"
    with Notifier(aws, topic, urls, tmp_path) as notifier:
        topic.publish(*alerts)
        wait_for(lambda: topic.left() == len(alerts) == len(chat.lines("/well")))
        notifier.kill()
    chat.faults.clear()
    with Notifier(aws, topic, urls, tmp_path):
        wait_for(lambda: not topic.left())
    assert chat.lines("/fails") == list(map(line, alerts))
    assert Counter(chat.lines("/well")) == Counter(map(line, alerts))


def test_alerts_are_grouped(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """The first alert is told at once; those of the next seconds in one message, which comes when they are over.

    They wait for longer than the queue waits for a sign of life, and are told once all the same.
    """
    seconds = VISIBLE_SECONDS + 2
    first, *others = [alert(number, severity="warning" if number % 2 else "info") for number in range(8)]
    with Notifier(aws, topic, f"json://{chat.host}/a", tmp_path, seconds):
        topic.publish(first)
        wait_for(lambda: chat.taken)
        topic.publish(*others[:4])
        topic.publish(*others[4:])
        wait_for(lambda: len(chat.taken) == 2 and not topic.left())
    one, other = chat.taken
    assert other.at - one.at >= seconds - 0.1
    assert (one.title, one.text) == ("[info] KO: price_move up", line(first))
    assert (other.title, other.text) == ("7 alerts: 4 warning, 3 info", "\n".join(map(line, others)))


def test_what_is_kept_is_for_nobody_else(topic: Topic) -> None:
    """A message in hand stays out of others' sight for longer than the queue's time, as long as it is kept."""
    ours = AlertQueue(topic.sqs, topic.queue_url, threading.Event())
    ours.open()
    topic.publish(alert(1))
    wait_for(ours.receive)
    for _ in range(3):
        time.sleep(VISIBLE_SECONDS * 0.55)  # more than half, after which it is prolonged
        ours.keep()
    assert "Messages" not in topic.sqs.receive_message(QueueUrl=topic.queue_url)
    wait_for(lambda: "Messages" in topic.sqs.receive_message(QueueUrl=topic.queue_url), pause_seconds=0.2)


def test_a_slow_service_is_told_once(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """A service may take longer than the queue waits for a sign of life: it is told once, others meanwhile."""
    chat.latency["/slow"] = VISIBLE_SECONDS + 2
    with Notifier(aws, topic, f"json://{chat.host}/slow json://{chat.host}/fast", tmp_path):
        topic.publish(alert(1))
        wait_for(lambda: chat.lines("/slow"))
        topic.publish(alert(2))
        wait_for(lambda: len(chat.lines("/fast")) == 2)
        assert len(chat.lines("/slow")) == 1
        wait_for(lambda: len(chat.lines("/slow")) >= 2 and not topic.left())
    assert chat.lines("/slow") == chat.lines("/fast") == [line(alert(1)), line(alert(2))]


def test_known_alerts_are_not_told_again(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """An alert that the topic delivers again is known by its symbol and id, be it for one URL or for several."""
    urls = f"json://{chat.host}/all json://{chat.host}/ko?symbols=KO"
    alerts = [alert(1), alert(1, symbol="PEP")]
    with Notifier(aws, topic, urls, tmp_path):
        for _ in range(3):
            topic.publish(*alerts, *alerts)
            wait_for(lambda: not topic.left())
    assert sorted(chat.lines("/all")) == sorted(map(line, alerts))
    assert chat.lines("/ko") == [line(alerts[0])]


def test_what_is_no_alert_is_logged(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """Somebody else's message is in the log with what is missing, and out of the way."""
    with Notifier(aws, topic, f"json://{chat.host}/a", tmp_path) as notifier:
        topic.sns.publish(TopicArn=topic.arn, Message="hello")
        topic.publish({"symbol": "KO"}, alert(1))
        wait_for(lambda: chat.taken and not topic.left())
        said = notifier.said("not_an_alert")
    assert {event["body"] for event in said} == {"hello", '{"symbol": "KO"}'}
    assert any("alert_id" in event["error"] for event in said)
    assert chat.lines("/a") == [line(alert(1))]


def test_a_queue_with_envelopes_will_do(aws: str, chat: Chat, tmp_path: Path) -> None:
    """A queue that was subscribed without raw delivery has the same alerts, in SNS's envelopes."""
    wrapped = topic_with_queue(aws, "wrapped", raw="false")
    with Notifier(aws, wrapped, f"json://{chat.host}/a json://{chat.host}/b", tmp_path):
        wrapped.publish(alert(1))
        wait_for(lambda: len(chat.taken) == 2 and not wrapped.left())
    assert chat.lines("/a") == chat.lines("/b") == [line(alert(1))]


def test_a_stop_gives_back_what_is_in_hand(aws: str, topic: Topic, chat: Chat, tmp_path: Path) -> None:
    """A stop does not wait for the end of a group: its alerts are for the next notifier; until then, it is healthy."""
    urls = f"json://{chat.host}/a"
    with Notifier(aws, topic, urls, tmp_path, group_seconds=600) as notifier:
        topic.publish(alert(1))
        wait_for(lambda: len(chat.taken) == 1 and topic.left() == 0)
        topic.publish(alert(2))
        health = [sys.executable, "-m", "tickertape", "health"]
        answer = subprocess.run(health, env=notifier.environment, capture_output=True, text=True, check=True)
        assert answer.stdout == "healthy: notifier\n"
    with Notifier(aws, topic, urls, tmp_path):
        wait_for(lambda: len(chat.taken) == 2 and not topic.left())
    assert chat.lines("/a") == [line(alert(1)), line(alert(2))]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"NOTIFY_QUEUE_URL": "http://127.0.0.1/123456789012/nowhere"}, 1, "NOTIFY_QUEUE_URL): AWS refused Get"),
        ({"NOTIFY_URLS": f"json://h/ slack://{SECRET}/B"}, 2, "URL 2 (slack): a part of it is missing or wrong; http"),
    ],
    ids=["no-queue", "broken-url"],
)
def test_what_is_wrong_is_one_line(
    aws: str, topic: Topic, tmp_path: Path, changes: dict[str, str], code: int, said: str
) -> None:
    """What cannot work is refused at the start in one line, which tells no secret."""
    environment = Notifier(aws, topic, "json://h/", tmp_path).environment | changes
    command = [sys.executable, "-m", "tickertape", "notify"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    (complaint,) = run.stderr.splitlines()
    assert run.returncode == code
    assert said in complaint
    assert SECRET not in complaint
