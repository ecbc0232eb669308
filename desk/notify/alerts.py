"""An alert as it comes out of the queue, and as people read it."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
KINDS = ("signal", "quality")

Key = tuple[str, str]
"""What tells an alert from all others: its symbol, and its id, which is the same on every replay."""


class NotAnAlertError(Exception):
    """Somebody else's message; the text says what is missing."""


class Alert(msgspec.Struct, frozen=True):
    """What the consumer publishes, as far as people are told of it."""

    symbol: str
    alert_id: str
    timestamp: str
    rule: str
    direction: str
    severity: Severity
    message: str
    kind: str = "signal"

    @property
    def key(self) -> Key:
        """By which a repetition is known."""
        return self.symbol, self.alert_id


class _Envelope(msgspec.Struct):
    """What SNS puts around a message where raw delivery is off."""

    message: str = msgspec.field(name="Message")


class Notice(NamedTuple):
    """One message for one URL: about a single alert, or about several."""

    title: str
    body: str
    severity: Severity
    """Of the gravest."""
    alerts: int


def read_alert(body: str) -> Alert:
    """Read what a message of the queue says, with or without SNS's envelope.

    Raises
    ------
    NotAnAlertError
        It is no alert.

    """
    try:
        return msgspec.json.decode(body, type=Alert)
    except msgspec.DecodeError as error:
        try:
            return msgspec.json.decode(msgspec.json.decode(body, type=_Envelope).message, type=Alert)
        except msgspec.DecodeError:
            raise NotAnAlertError(str(error)) from None


def notice_of(alerts: Sequence[Alert], room: int) -> Notice:
    """Tell of as many alerts as there is room for, from the first one on, a line each.

    Parameters
    ----------
    alerts
        At least one.
    room
        Characters that the service takes, title included. The first alert is told in any case.

    """
    lines = [_line(alert) for alert in alerts]
    room -= len(_title(alerts))
    count, used = 1, len(lines[0])
    while count < len(lines) and used + 1 + len(lines[count]) <= room:
        used += 1 + len(lines[count])
        count += 1
    told = alerts[:count]
    gravest = max((alert.severity for alert in told), key=SEVERITIES.index)
    return Notice(_title(told), "\n".join(lines[:count]), gravest, count)


def _title(alerts: Sequence[Alert]) -> str:
    if len(alerts) == 1:
        (alert,) = alerts
        return f"[{alert.severity}] {alert.symbol}: {alert.rule} {alert.direction}"
    counts = Counter(alert.severity for alert in alerts)
    return f"{len(alerts)} alerts: " + ", ".join(f"{counts[s]} {s}" for s in reversed(SEVERITIES) if counts[s])


def _line(alert: Alert) -> str:
    return f"[{alert.severity}] {alert.message} {alert.timestamp[:19].replace('T', ' ')} UTC"
