"""Timestamps as files write them, and the day of trading that they belong to."""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from common.tick import NotATickError
from producer.numbers import UndecidedError, is_missing
from producer.reading import Reading

DateOrder = Literal["day first", "month first"]
"""How dates such as 03/04/2025 are meant."""

_NO_OFFSET = ZoneInfo("UTC")
"""UTC as Z and epochs say it: when it was, and nothing of local time (RFC 9557, section 2)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=_NO_OFFSET)
_UNITS_PER_SECOND = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}
"""What an epoch counts, by the number of its digits."""

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august"),
            *("sep sept september", "oct october", "nov november", "dec december"),
        ),
        start=1,
    )
    for name in names.split()
}

_TIME = (
    r"(?:(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?(?: ?(?P<half>[AaPp])[Mm])?"
    r"|(?P<hour2>\d\d)(?:(?P<minute2>\d\d)(?:(?P<second2>\d\d)(?:[.,](?P<fraction2>\d+))?)?)?)"
)
_ZONE = r"(?: ?(?P<zone>Z|z|UTC|(?:UTC|GMT)?[+-]\d\d(?::?\d\d(?::?\d\d)?)?|GMT))?"
_NAME = r"(?P<name>[A-Za-z]{3,9})"
_DATES = (
    r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})",
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
    r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second_number>\d{1,2})(?P=mark)(?P<year>\d{4})",
    rf"(?P<day>\d{{1,2}})[- ]{_NAME}[- ,] ?(?P<year>\d{{4}})",
    rf"{_NAME}\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})",
    r"(?P<week>\d{4}-?W\d\d(?:-?\d)?)",
)
_MOMENTS = [re.compile(rf"{date_}(?:(?:[Tt]|,? ){_TIME}{_ZONE})?", re.ASCII) for date_ in _DATES]
_COMMON = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII)
"""One of these forms, and the fastest to read."""
_YEAR_LAST = re.compile(_DATES[2] + r"(?:\D.*)?", re.ASCII)
_DECIMAL_EPOCH = re.compile(r"(\d{10}|\d{13}|\d{16}|\d{19})\.(\d+)", re.ASCII)
_DIGITS = re.compile(r"\d+", re.ASCII)
_MIDNIGHT = re.compile(r"[T ]00:00(:00(\.0+)?)?$", re.ASCII)
_HOUR_LETTERS = re.compile("%-?[HIkTXcR]")


class Moment(NamedTuple):
    """When something was."""

    timestamp: str
    """In UTC, as the contract has it: ``YYYY-MM-DDTHH:MM:SS.ffffffZ``."""
    day: date
    """The session that it belongs to."""


class MomentReader:
    """Reads timestamps.

    Parameters
    ----------
    reading
        What is said of the file.
    order
        How dates such as 03/04/2025 are meant; None refuses them, unless a point is between the numbers: with points
        the day comes first, in every country that writes them.
    clock_digits
        How many digits times of day without colons have at most: with six, 93000 is half past nine.

    """

    def __init__(self, reading: Reading, order: DateOrder | None = None, clock_digits: int = 6) -> None:
        self._format = reading.time_format
        self._zone = reading.timezone or _NO_OFFSET
        self._session_zone = reading.session_timezone or self._zone
        start = reading.session_start
        self._session_start = timedelta(hours=start.hour, minutes=start.minute, seconds=start.second)
        self._order = order
        self._clock_digits = clock_digits
        self._of_text = lru_cache(maxsize=4096)(self._read_text)  # rows of one moment come together

    def read(self, value: object, time_of_day: object = None) -> Moment:
        """Read a timestamp, or a date and a time of day.

        Raises
        ------
        NotATickError
            It is none. The message goes on after the value.
        UndecidedError
            It can be read in two ways.

        """
        if time_of_day is not None:
            return self._of_text(*self._joined(value, time_of_day))
        if isinstance(value, datetime):
            return self._of_datetime(value)
        return self._of_text(text_of(value), None)

    def _of_datetime(self, moment: datetime) -> Moment:
        try:
            return self._moment(moment)
        except OverflowError:
            raise NotATickError("is not a time that can be told in UTC") from None

    def _joined(self, value: object, time_of_day: object) -> tuple[str, str | None]:
        """Give date and time as texts; a time that is a whole timestamp stands alone."""
        date_, clock = text_of(value), text_of(time_of_day)
        if is_missing(clock):
            raise NotATickError("is a date whose time is missing")
        if len(clock) in _UNITS_PER_SECOND and _DIGITS.fullmatch(clock):
            return clock, None
        if any(pattern.fullmatch(clock) for pattern in _MOMENTS[:1]):
            return clock, None
        return _MIDNIGHT.sub("", date_), clock

    def _read_text(self, text: str, clock: str | None) -> Moment:
        try:
            return self._moment(self._parse(text, clock))
        except (OverflowError, ValueError):
            raise NotATickError(_complaint(text, clock)) from None
        except UndecidedError:
            raise UndecidedError(_two_readings(text)) from None

    def _parse(self, text: str, clock: str | None) -> datetime:
        if self._format is not None:
            return self._parse_format(self._format, text, clock)
        if clock is not None:
            return self._parse_form(f"{text} {self._with_colons(clock)}")
        if _DIGITS.fullmatch(text) and len(text) != 8:
            return _epoch(text)
        if match := _DECIMAL_EPOCH.fullmatch(text):
            unit = _UNITS_PER_SECOND[len(match[1])]
            return _epoch(match[1]) + timedelta(microseconds=int(Decimal(f"0.{match[2]}") * 10**6 / unit))
        return self._parse_form(text)

    def _parse_format(self, form: str, text: str, clock: str | None) -> datetime:
        if clock is None:
            return datetime.strptime(text, form)  # noqa: DTZ007  (`_moment` adds the zone)
        if _HOUR_LETTERS.search(form):
            return datetime.strptime(f"{text} {clock}", form)  # noqa: DTZ007  (as above)
        day = datetime.strptime(text, form)  # noqa: DTZ007  (as above)
        return self._parse_form(f"{day:%Y-%m-%d} {self._with_colons(clock)}")

    def _with_colons(self, clock: str) -> str:
        if not _DIGITS.fullmatch(clock):
            return clock
        width = 6 if self._clock_digits > 4 else 4
        if len(clock) > width or (self._clock_digits < 3 and int(clock)):  # 9 may be an hour or a minute
            raise ValueError
        return clock.zfill(width)

    def _parse_form(self, text: str) -> datetime:
        if _COMMON.fullmatch(text):
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=_NO_OFFSET) if text.endswith("Z") else moment
        match = next((match for pattern in _MOMENTS if (match := pattern.fullmatch(text))), None)
        if match is None:
            raise ValueError
        parts = match.groupdict()
        return datetime.combine(self._date_of(parts), _time_of(parts), _zone_of(parts["zone"]))

    def _date_of(self, parts: dict[str, str | None]) -> date:
        if week := parts.get("week"):
            return date.fromisoformat(week)
        year = int(parts["year"] or 0)
        if name := parts.get("name"):
            return date(year, _MONTHS.get(name.lower(), 0), int(parts["day"] or 0))
        if "first" in parts:
            first, second = int(parts["first"] or 0), int(parts["second_number"] or 0)
            day_first = first == second or parts["mark"] == "." or self._is_day_first()
            return date(year, second, first) if day_first else date(year, first, second)
        return date(year, int(parts["month"] or 0), int(parts["day"] or 0))

    def _is_day_first(self) -> bool:
        if self._order is None:
            raise UndecidedError  # `_read_text` says it in words
        return self._order == "day first"

    def _moment(self, moment: datetime) -> Moment:
        if moment.tzinfo is None:
            moment = self._placed(moment)
        in_utc = moment if moment.tzinfo is _NO_OFFSET else moment.astimezone(UTC)
        timestamp = in_utc.isoformat(timespec="microseconds")[:26] + "Z"
        tells_local_time = moment.tzinfo is not _NO_OFFSET and moment.tzinfo is not self._zone
        local = moment if tells_local_time else moment.astimezone(self._session_zone)
        return Moment(timestamp, (local - self._session_start).date() if self._session_start else local.date())

    def _placed(self, moment: datetime) -> datetime:
        is_date = moment.time() == time(0)
        moment = moment.replace(tzinfo=self._zone)
        if self._zone is not _NO_OFFSET and moment.utcoffset() != moment.replace(fold=1).utcoffset() and not is_date:
            raise NotATickError(
                f"comes twice or never in {self._zone.key}, where clocks change then: write its offset from UTC"
            )
        return moment


def text_of(value: object) -> str:
    """Write a field that should be a timestamp as text, numbers in full.

    Raises
    ------
    NotATickError
        It is something else.

    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, date | time):  # a datetime is a date, too
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise NotATickError(f"is not a date or time{_CURE}")
    number = Decimal(value) if isinstance(value, int) else Decimal(str(value))
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise NotATickError(f"is not a date or time{_CURE}")
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def date_order(value: object) -> DateOrder | None:
    """Tell how such dates are meant, where one decides: 31/12/2024 has the day first."""
    match = _YEAR_LAST.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match["mark"] == ".":
        return None
    first, second = int(match["first"]), int(match["second_number"])
    if first > 12:
        return "day first"
    return "month first" if second > 12 else None


def looks_like_moment(text: str) -> bool:
    """Tell whether a text is written as timestamps are."""
    text = text.strip()
    if _DIGITS.fullmatch(text):
        return len(text) in {8, *_UNITS_PER_SECOND}
    return any(pattern.fullmatch(text) for pattern in _MOMENTS)


def is_date(value: object) -> bool:
    """Tell whether a timestamp has no time of day, or midnight."""
    text = _MIDNIGHT.sub("", text_of(value))
    return looks_like_moment(text) and ":" not in text and not (_DIGITS.fullmatch(text) and len(text) != 8)


def needs_order(value: object) -> bool:
    """Tell whether such dates can be read in two ways."""
    match = _YEAR_LAST.fullmatch(value.strip()) if isinstance(value, str) else None
    return match is not None and match["mark"] != "."


_CURE = ": write it as 2025-03-31T15:30:00Z, or say how it is written with --time-format"


def _complaint(text: str, clock: str | None) -> str:
    if clock is None and _DIGITS.fullmatch(text) and len(text) != 8 and len(text) > 4:
        return (
            f"has {len(text)} digits, and an epoch has 10, 13, 16 or 19, and a date 8: say how it is written with "
            "--time-format"
        )
    return f"is not a date or time{_CURE}"


def _two_readings(text: str) -> str:
    match = next(match for pattern in _MOMENTS if (match := pattern.fullmatch(text)))
    parts, mark = match.groupdict(), match["mark"]
    clock = text[match.end("year") :]
    if parts["hour"]:
        hour, half = ("%I", "%p") if parts["half"] else ("%H", "")
        shape = f"{hour}:%M" + (":%S" if parts["second"] else "") + (".%f" if parts["fraction"] else "")
        gap = " " if re.search(" [AaPp][Mm]", clock) else ""
        clock = f"{clock[: len(clock) - len(clock.lstrip('Tt, '))]}{shape}{gap if half else ''}{half}"
        clock += f"{' ' if ' ' + (parts['zone'] or '-') in text else ''}%z" if parts["zone"] else ""
    choices = (f"--time-format '{mark.join(order)}{clock}'" for order in (("%d", "%m", "%Y"), ("%m", "%d", "%Y")))
    day_first, month_first = choices
    return f"can be read in two ways: say that the day comes first, {day_first}, or the month, {month_first}"


def _epoch(digits: str) -> datetime:
    unit = _UNITS_PER_SECOND.get(len(digits))
    if unit is None:
        raise ValueError
    return _EPOCH + timedelta(microseconds=int(digits) * 10**6 // unit)


def _time_of(parts: dict[str, str | None]) -> time:
    def number(name: str) -> int:
        return int(parts[name] or parts[f"{name}2"] or 0)

    hour = number("hour")
    if half := parts["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if half in "pP" else 0)
    microseconds = (parts["fraction"] or parts["fraction2"] or "").ljust(6, "0")[:6]
    return time(hour, number("minute"), number("second"), int(microseconds))


def _zone_of(text: str | None) -> timezone | ZoneInfo | None:
    if text is None:
        return None
    digits = re.sub(r"[A-Za-z:]", "", text)
    if not digits:
        return _NO_OFFSET
    hours, minutes, seconds = int(digits[1:3]), int(digits[3:5] or 0), int(digits[5:7] or 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-offset if text.lstrip("UTCGM").startswith("-") else offset)
