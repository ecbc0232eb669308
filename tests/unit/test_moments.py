"""Moments as people write them."""

import time

import pytest

from common.tick import timestamp_of
from desk.moments import epoch_ms, moment

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("1.5h", 5400), ("2d", 172_800), (" 1w ", 604_800)]
)
def test_how_long_ago(text: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number with a unit is so long before now."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert moment(text) == timestamp_of(int((NOW - seconds) * 1000))


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31T14:30", "2026-01-31T14:30:00.000000Z"),
        ("2026-01-31T14:30:00.5+01:00", "2026-01-31T13:30:00.500000Z"),
    ],
)
def test_times(text: str, timestamp: str) -> None:
    """Any form of ISO 8601 is a time, and UTC without an offset."""
    assert moment(text) == timestamp
    assert timestamp_of(epoch_ms(timestamp)) == timestamp


@pytest.mark.parametrize("text", ["", "yesterday", "1", "1y", "-1h", "1h ago", "99999999999d", "2026-13-01"])
def test_what_is_no_moment(text: str) -> None:
    """Anything else is refused, with examples of what is taken."""
    with pytest.raises(ValueError, match=r"90s, 30m, 1h.*2026-01-31T14:30Z"):
        moment(text)


def test_before_all_time() -> None:
    """A time before 1970 is 1970."""
    assert moment("99999w") == "1970-01-01T00:00:00.000000Z"
