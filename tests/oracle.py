"""What the pipeline must produce from given records, worked out a second time.

Written from the design's text alone: it imports nothing of the product, computes with fractions and keeps every
tick it has seen. Slow, plain, and wrong in other ways than the product is.

    python -m tests.oracle FILE EXPORT_DIR [--symbol SYMBOL]

compares the export of ``tickertape local --feed replay --file FILE --once --export EXPORT_DIR`` with it.
"""

import argparse
import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, DecimalException, localcontext
from fractions import Fraction
from itertools import pairwise
from math import lcm
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Key = tuple[str, str]

SEVERITIES = {
    "sma_cross": "info",
    "bollinger": "info",
    "z_score": "warning",
    "volume_spike": "warning",
    "price_move": "critical",
    "price_level": "critical",
    "unusual": "warning",
    "rsi": "info",
    "macd": "info",
    "rapid_move": "warning",
    "split": "warning",
    "inconsistent": "warning",
    "gap": "warning",
}
_DEFAULT_RULES = ("sma_cross", "price_move", "z_score", "bollinger", "volume_spike", "price_level", "unusual")
_SILENT_FIRST = {"sma_cross", "price_level", "macd"}
_WHOLE_RATIOS = [Fraction(n) for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100)]
_PRICE_LIMIT = Fraction(9_200_000_000)
_NANO = Fraction(1, 10**9)
_LATEST_ARRIVAL = 4_102_444_800_000  # 2100-01-01: a replay's arrivals are unknown, and later than its ticks


@dataclass(frozen=True)
class Settings:
    """The settings that decide what comes out, with the design's defaults."""

    rules: tuple[str, ...] = _DEFAULT_RULES
    alert_cooldown_seconds: int = 300
    max_clock_skew_seconds: int = 300
    sma_fast: int = 5
    sma_slow: int = 20
    price_move_percent: Decimal = Decimal(5)
    price_move_reset_percent: Decimal = Decimal(4)
    z_score_window: int = 20
    z_score_threshold: Decimal = Decimal(4)
    bollinger_width: Decimal = Decimal(2)
    volume_window: int = 20
    volume_spike_ratio: Decimal = Decimal(5)
    price_levels: Mapping[str, Decimal] = field(default_factory=dict)
    alert_threshold: Decimal | None = None
    unusual_rate: Decimal = Decimal("0.001")
    rsi_period: int = 14
    rsi_overbought: Decimal = Decimal(70)
    rsi_oversold: Decimal = Decimal(30)
    macd_fast: int = 12
    macd_slow: int = 26
    macd_signal: int = 9
    rapid_move_percent: Decimal = Decimal(2)
    rapid_move_seconds: int = 300
    split_tolerance_percent: Decimal = Decimal(3)
    inconsistent_close_percent: Decimal = Decimal(1)
    gap_seconds: int = 900
    row_seconds: int = 0


@dataclass(frozen=True)
class Record:
    """One record as the stream holds it: its bytes and its arrival in epoch milliseconds."""

    payload: bytes
    arrived_ms: int


@dataclass
class Expected:
    """All that must be found after the records were processed."""

    ticks: dict[Key, Row] = field(default_factory=dict)
    """Rows of the ticks table by (symbol, timestamp); absent attributes are not in the row."""
    alerts: dict[Key, Row] = field(default_factory=dict)
    """Rows of the alerts table by (symbol, alert_id); each is one message, too."""
    suppressed: int = 0
    duplicates: int = 0
    late: int = 0
    row_seconds: int = 0
    """With thin rows the table has the rows that `thinned` names, and late ticks are in the archive only."""
    late_only: list[Row] = field(default_factory=list)
    """Late ticks, where rows are thin: each time they came."""
    conflicts: list[Row] = field(default_factory=list)
    """Ticks that have the symbol and timestamp of an earlier one, and another price: in the archive only."""
    archived: list[bytes] = field(default_factory=list)
    """The bytes of every tick that was sent, duplicates, conflicts and late ones included."""
    quarantined: list[bytes] = field(default_factory=list)
    """The bytes of all that is no tick."""


def parts_of(payload: bytes) -> list[bytes]:
    """Cut a record into what it holds: the elements of an array or its lines, if an object is among them.

    A record that is one JSON value and no array is one; so is one that cannot be cut. Bytes are read as Latin-1, each a
    character, as only the marks of JSON matter here.
    """
    if len(payload) > 2**20:
        return [payload]
    text = payload.decode("latin-1").strip(" \t\r\n")
    lines = [line.strip(" \t\r\n") for line in text.split("\n") if line.strip(" \t\r\n")]
    value = _value(text)
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        found = _cut(text)
    elif value is None and any(isinstance(_value(line), dict) for line in lines) and text[0] != "[":
        found = lines
    else:
        found = []
    return [part.encode("latin-1") for part in found] if 0 < len(found) <= 10_000 else [payload]


def _value(text: str) -> Any:  # noqa: ANN401  (any JSON)
    try:
        return json.loads(text, strict=False, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _cut(array: str) -> list[str]:
    """Cut at the commas that are in no bracket but the outermost and in no text."""
    parts, depth, in_text, start = [], 0, False, 1
    for found in re.finditer(r'\\.|["\[\]{},]', array, re.DOTALL):
        mark = found[0]
        if mark == '"':
            in_text = not in_text
        if in_text or len(mark) > 1:
            continue
        depth += (mark in "[{") - (mark in "]}")
        if (mark == "," and depth == 1) or depth == 0:
            parts.append(array[start : found.start()].strip(" \t\r\n"))
            start = found.end()
    return parts


class NoTickError(Exception):
    """The payload is not a tick."""


@dataclass(frozen=True)
class _Tick:
    symbol: str
    moment: datetime
    price: Fraction
    open: Fraction | None
    high: Fraction | None
    low: Fraction | None
    previous_close: Fraction | None
    volume: int | None
    source: str | None

    @property
    def timestamp(self) -> str:
        return _text(self.moment)


# --- the contract ---------------------------------------------------------------------------------


def read_tick(payload: bytes, arrived_ms: int, max_clock_skew_seconds: int = 300) -> _Tick:
    """Read a payload as the contract says.

    Raises
    ------
    NoTickError
        It is not a tick.

    """
    if len(payload) > 64 * 1024:
        raise NoTickError("size")
    try:
        wire = json.loads(payload.decode("utf-8"), parse_int=_number, parse_float=_number, parse_constant=_refuse)
        json.dumps(wire, ensure_ascii=False, default=str).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise NoTickError("not JSON") from error
    if not isinstance(wire, dict):
        raise NoTickError("not an object")
    arrived = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=arrived_ms)
    sent = _optional(wire, "timestamp", str)
    if sent is not None and sent.isdigit():
        raise NoTickError("digits only")
    moment = arrived if sent is None else parse_moment(sent)
    if moment > arrived + timedelta(seconds=max_clock_skew_seconds):
        raise NoTickError("from the future")
    source = _optional(wire, "source", str)
    if source is not None and len(source) > 64:
        raise NoTickError("source")
    price = _price(wire, "price")
    if price is None:
        raise NoTickError("no price")
    return _Tick(
        symbol=_symbol(wire.get("symbol")),
        moment=moment,
        price=price,
        open=_known_price(wire, "open"),
        high=_known_price(wire, "high"),
        low=_known_price(wire, "low"),
        previous_close=_known_price(wire, "previous_close"),
        volume=_volume(wire),
        source=source,
    )


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except DecimalException:
        return Decimal("Infinity")  # an exponent beyond all bounds


def _refuse(text: str) -> None:
    raise ValueError(text)


def _optional(wire: Row, name: str, kind: type) -> Any:  # noqa: ANN401  (whatever `kind` says)
    value = wire.get(name)
    if value is not None and not isinstance(value, kind):
        raise NoTickError(f"{name} has the wrong type")
    return value


def _symbol(sent: object) -> str:
    if not isinstance(sent, str) or not 1 <= len(sent) <= 32:
        raise NoTickError("symbol")
    folded = "".join(chr(ord(letter) - 32) if "a" <= letter <= "z" else letter for letter in sent)
    if set(folded) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-=^/&_"):
        raise NoTickError("symbol")
    return folded


def _price(wire: Row, name: str) -> Fraction | None:
    number = _optional(wire, name, Decimal)
    if number is None:
        return None
    if not 0 < number < _PRICE_LIMIT:
        raise NoTickError(name)
    price = round(_fraction(number) / _NANO) * _NANO  # a Fraction rounds half to even
    if not 0 < price < _PRICE_LIMIT:
        raise NoTickError(name)
    return price


def _fraction(number: Decimal) -> Fraction:
    return Fraction(number) if number.adjusted() > -400 else Fraction(0)  # 1e-999999999 would fill the memory


def _known_price(wire: Row, name: str) -> Fraction | None:
    return None if wire.get(name) == 0 and wire[name] is not False else _price(wire, name)


def _volume(wire: Row) -> int | None:
    number = _optional(wire, "volume", Decimal)
    if number is None:
        return None
    if not 0 <= number < 2**63:
        raise NoTickError("volume")
    volume = round(_fraction(number))
    if volume >= 2**63:
        raise NoTickError("volume")
    return volume


_ISO = re.compile(
    r"""(?P<year>\d{4})
        (?: -(?P<month>\d\d)-(?P<day>\d\d) | (?P<month2>\d\d)(?P<day2>\d\d)
          | -W(?P<week>\d\d)(?:-(?P<weekday>\d))? | W(?P<week2>\d\d)(?P<weekday2>\d)? )
        (?: [Tt ]
            (?P<hour>\d\d) (?: :?(?P<minute>\d\d) (?: :?(?P<second>\d\d) (?:[.,](?P<fraction>\d+))? )? )?
            (?: (?P<utc>[Zz]) | (?P<sign>[+-])(?P<offset_hour>\d\d)(?: :?(?P<offset_minute>\d\d))? )?
        )?""",
    re.VERBOSE | re.ASCII,
)


def parse_moment(sent: str) -> datetime:
    """Read an ISO 8601 date or time; without an offset it is UTC; digits beyond microseconds are cut off."""
    found = _ISO.fullmatch(sent)
    if found is None:
        raise NoTickError("timestamp")
    part = found.groupdict()

    def number(*names: str) -> int:
        return next((int(part[name]) for name in names if part[name]), 0)

    try:
        if part["week"] or part["week2"]:
            day = date.fromisocalendar(number("year"), number("week", "week2"), number("weekday", "weekday2") or 1)
        else:
            day = date(number("year"), number("month", "month2"), number("day", "day2"))
        micros = int(((part["fraction"] or "") + "000000")[:6])
        local = datetime(day.year, day.month, day.day, number("hour"), number("minute"), number("second"), micros, UTC)
        offset = timedelta(hours=number("offset_hour"), minutes=number("offset_minute"))
        if offset >= timedelta(days=1) or number("offset_minute") > 59:
            raise NoTickError("timestamp")
        return local + offset if part["sign"] == "-" else local - offset
    except (ValueError, OverflowError) as error:
        raise NoTickError("timestamp") from error


def _text(moment: datetime) -> str:
    day = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    return f"{day}T{moment.hour:02}:{moment.minute:02}:{moment.second:02}.{moment.microsecond:06}Z"


# --- numbers --------------------------------------------------------------------------------------


def nano(value: Fraction) -> Decimal:
    """Write a multiple of 10⁻⁹ as a decimal."""
    units = value / _NANO
    if units.denominator != 1:
        raise ValueError(f"{value} is no multiple of 10⁻⁹")
    return _scaled(int(units), 9)


def rounded(mean: Fraction, sign: int = 0, squared: Fraction = Fraction(0), *, places: int = 6) -> Decimal:
    """Round ``mean + sign · √squared`` half to even, exactly."""
    scale = 10**places
    with localcontext(prec=60):
        estimate = _decimal(mean) + sign * _decimal(squared).sqrt()
        units = int((estimate * scale).to_integral_value())
    while (side := _compare(mean, sign, squared, Fraction(2 * units + 1, 2 * scale))) > 0 or (side == 0 and units % 2):
        units += 1
    while (side := _compare(mean, sign, squared, Fraction(2 * units - 1, 2 * scale))) < 0 or (side == 0 and units % 2):
        units -= 1
    return _scaled(units, places)


def six(mean: Fraction, sign: int = 0, squared: Fraction = Fraction(0)) -> Decimal:
    """Round what is no price: scores, percentages and ratios have six places."""
    return rounded(mean, sign, squared, places=6)


def nine(mean: Fraction, sign: int = 0, squared: Fraction = Fraction(0)) -> Decimal:
    """Round what is a price: averages and bands have nine places, as prices have."""
    return rounded(mean, sign, squared, places=9)


def _compare(mean: Fraction, sign: int, squared: Fraction, other: Fraction) -> int:
    """Say whether ``mean + sign · √squared`` is below (-1), at (0) or above (1) ``other``, without a root."""
    left, right = sign * squared, (other - mean) * abs(other - mean)
    return (left > right) - (left < right)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _scaled(units: int, places: int) -> Decimal:
    with localcontext(prec=200):
        return Decimal(units).scaleb(-places)


def _mean(values: Sequence[Fraction]) -> Fraction:
    denominator = lcm(*(value.denominator for value in values))  # one denominator is added up faster than many
    total = sum(value.numerator * (denominator // value.denominator) for value in values)
    return Fraction(total, denominator * len(values))


def _variance(values: Sequence[Fraction]) -> Fraction:
    mean = _mean(values)
    return _mean([(value - mean) ** 2 for value in values])


def _fifteen(value: Fraction) -> Fraction:
    """Round what is carried from tick to tick."""
    return Fraction(round(value * 10**15), 10**15)


def _follow(averages: list[Fraction], values: Sequence[Fraction], size: int) -> None:
    """Add the next exponential average of the newest value; the first is a mean."""
    weight = Fraction(2, size + 1)
    new = averages[-1] + weight * (values[-1] - averages[-1]) if averages else _mean(values[-size:])
    averages.append(_fifteen(new))


def _sign(value: Fraction) -> str | None:
    return None if value == 0 else "up" if value > 0 else "down"


# --- detection ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Finding:
    """What a rule says about one tick: its side, and what an alert of it would carry."""

    side: str | None
    value: Decimal = Decimal(0)
    threshold: Decimal = Decimal(0)


class _Symbol:
    """Everything known about one symbol."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.accepted: list[_Tick] = []
        self.returns: list[int] = []
        self.deltas: list[int | None] = []
        self.sides: dict[str, str | None] = dict.fromkeys(SEVERITIES)
        self.sent: dict[tuple[str, str], datetime] = {}
        self.usual = _Usual(settings.unusual_rate)
        self.forecast: tuple[Decimal, Decimal] | None = None
        self.wilder: list[tuple[Fraction, Fraction]] = []
        self.averages: dict[str, list[Fraction]] = {"fast": [], "slow": [], "line": [], "signal": []}
        self.days: dict[date, list[Fraction]] = {}
        self.silent: dict[date, bool] = {}
        self.session: list[_Tick] = []

    def accept(self, tick: _Tick) -> tuple[Row, list[Row], int]:
        """Take the next accepted tick; return its row, the alerts it sends and how many were suppressed."""
        self.accepted.append(tick)
        if len(self.accepted) > 1:
            before = self.accepted[-2].price
            self.returns.append(round(10**9 * (tick.price - before) / before))
        self.deltas.append(self._delta())
        self.forecast = self._next_forecast()
        findings = {rule: getattr(self, f"_{rule}")() for rule in self.settings.rules}
        row = _plain_row(tick) | self._indicators()
        fired: list[str] = []
        suppressed: list[str] = []
        alerts: list[Row] = []
        for rule in self.settings.rules:
            finding: _Finding = findings[rule]
            before_side, self.sides[rule] = self.sides[rule], finding.side
            if rule == "price_move" and self._previous_close_changed():
                before_side = None
            first_side_is_silent = rule in _SILENT_FIRST and before_side is None
            if finding.side is None or finding.side == before_side or first_side_is_silent:
                continue
            fired.append(rule)
            if self._cooling(rule, finding.side):
                suppressed.append(rule)
                continue
            self.sent[rule, finding.side] = tick.moment
            alerts.append(_alert(tick, rule, finding))
        if fired:
            row["anomalies"] = sorted(fired)
        if suppressed:
            row["suppressed"] = sorted(suppressed)
        if self.sides["sma_cross"]:
            row["trend"] = self.sides["sma_cross"]
        return row, alerts, len(suppressed)

    def _cooling(self, rule: str, side: str) -> bool:
        last = self.sent.get((rule, side))
        cooldown = timedelta(seconds=self.settings.alert_cooldown_seconds)
        return last is not None and self.accepted[-1].moment - last < cooldown

    def _delta(self) -> int | None:
        if len(self.accepted) < 2:
            return None
        before, now = self.accepted[-2].volume, self.accepted[-1].volume
        if before is None or now is None:
            return None
        close = self.accepted[-1].previous_close
        is_new_session = close is not None and close != self.accepted[-2].previous_close
        if is_new_session or before - now >= Fraction(before, 2) > 0:
            return now
        return max(now - before, 0)

    def _previous_close_changed(self) -> bool:
        return len(self.accepted) > 1 and self.accepted[-2].previous_close != self.accepted[-1].previous_close

    def _last_prices(self, count: int) -> list[Fraction] | None:
        prices = [tick.price for tick in self.accepted[-count:]]
        return prices if len(prices) == count else None

    def _z(self) -> tuple[Fraction, Fraction] | None:
        """Return this return's distance from the mean of those before it, and their variance."""
        window = self.settings.z_score_window
        if len(self.returns) < window + 1:
            return None
        earlier = [Fraction(value) for value in self.returns[-window - 1 : -1]]
        variance = _variance(earlier)
        return (self.returns[-1] - _mean(earlier), variance) if variance > 0 else None

    def _z_value(self) -> Decimal | None:
        found = self._z()
        if found is None:
            return None
        distance, variance = found
        return six(Fraction(0), (distance > 0) - (distance < 0), distance**2 / variance)

    def _bands(self) -> tuple[Decimal, Decimal] | None:
        prices = self._last_prices(self.settings.sma_slow)
        if prices is None:
            return None
        squared = Fraction(self.settings.bollinger_width) ** 2 * _variance(prices)
        return nine(_mean(prices), 1, squared), nine(_mean(prices), -1, squared)

    def _indicators(self) -> Row:
        found: Row = {}
        if "rsi" in self.settings.rules and (rsi := self._rsi_index()) is not None:
            found["rsi"] = six(rsi)
        if self.averages["line"]:
            found["macd"] = nine(self.averages["line"][-1])
        if self.averages["signal"]:
            found["macd_signal"] = nine(self.averages["signal"][-1])
        if fast := self._last_prices(self.settings.sma_fast):
            found[f"sma_{self.settings.sma_fast}"] = nine(_mean(fast))
        if slow := self._last_prices(self.settings.sma_slow):
            found[f"sma_{self.settings.sma_slow}"] = nine(_mean(slow))
        if (z := self._z_value()) is not None:
            found["z_score"] = z
        if bands := self._bands():
            found["bollinger_upper"], found["bollinger_lower"] = bands
        if self.forecast:
            found["expected_low"], found["expected_high"] = self.forecast
        return found

    def _sma_cross(self) -> _Finding:
        fast = self._last_prices(self.settings.sma_fast)
        slow = self._last_prices(self.settings.sma_slow)
        if fast is None or slow is None:
            return _Finding(None)
        side = _sign(_mean(fast) - _mean(slow)) or self.sides["sma_cross"]
        return _Finding(side, nine(_mean(fast)), nine(_mean(slow)))

    def _price_move(self) -> _Finding:
        tick = self.accepted[-1]
        close = tick.previous_close
        if close is None:
            return _Finding(None)
        remembered = None if self._previous_close_changed() else self.sides["price_move"]
        percent = 100 * (tick.price - close) / close
        sign = _sign(percent)
        limit = self.settings.price_move_percent
        if abs(percent) >= Fraction(limit):
            side = sign
        elif abs(percent) < Fraction(self.settings.price_move_reset_percent) or sign != remembered:
            side = None
        else:
            side = remembered
        return _Finding(side, six(percent), limit if sign == "up" else -limit)

    def _z_score(self) -> _Finding:
        found = self._z()
        if found is None:
            return _Finding(None)
        distance, variance = found
        limit = self.settings.z_score_threshold
        side = _sign(distance) if distance**2 >= Fraction(limit) ** 2 * variance else None
        return _Finding(side, self._z_value() or Decimal(0), limit if distance > 0 else -limit)

    def _bollinger(self) -> _Finding:
        prices, bands = self._last_prices(self.settings.sma_slow), self._bands()
        if prices is None or bands is None:
            return _Finding(None)
        distance = prices[-1] - _mean(prices)
        outside = distance**2 > Fraction(self.settings.bollinger_width) ** 2 * _variance(prices)
        upper, lower = bands
        return _Finding(_sign(distance) if outside else None, nine(prices[-1]), upper if distance > 0 else lower)

    def _volume_spike(self) -> _Finding:
        window = self.settings.volume_window
        last = self.deltas[-window - 1 :]
        values = [Fraction(delta) for delta in last if delta is not None]
        if len(values) < window + 1 or not sum(values[:-1]):
            return _Finding(None)
        ratio, limit = values[-1] / _mean(values[:-1]), self.settings.volume_spike_ratio
        return _Finding("up" if ratio >= Fraction(limit) else None, six(ratio), limit)

    def _price_level(self) -> _Finding:
        tick = self.accepted[-1]
        level = self.settings.price_levels.get(tick.symbol, self.settings.alert_threshold)
        if level is None:
            return _Finding(None)
        side = _sign(tick.price - Fraction(level)) or self.sides["price_level"]
        return _Finding(side, nine(tick.price), nine(Fraction(level)))

    def _rsi(self) -> _Finding:
        period = self.settings.rsi_period
        last = self.accepted[-period - 1 :]
        changes = [after.price - before.price for before, after in pairwise(last)]
        if len(changes) < period:
            return _Finding(None)
        rises = [max(change, Fraction(0)) for change in changes]
        falls = [max(-change, Fraction(0)) for change in changes]
        gain, loss = sum(rises, Fraction(0)), sum(falls, Fraction(0))
        if self.wilder:
            gain = (period - 1) * self.wilder[-1][0] + rises[-1]
            loss = (period - 1) * self.wilder[-1][1] + falls[-1]
        self.wilder.append((_fifteen(gain / period), _fifteen(loss / period)))
        index = self._rsi_index()
        if index is None:
            return _Finding(None)
        if index >= Fraction(self.settings.rsi_overbought):
            return _Finding("up", six(index), self.settings.rsi_overbought)
        side = "down" if index <= Fraction(self.settings.rsi_oversold) else None
        return _Finding(side, six(index), self.settings.rsi_oversold)

    def _rsi_index(self) -> Fraction | None:
        gain, loss = self.wilder[-1] if self.wilder else (Fraction(0), Fraction(0))
        return 100 - 100 / (1 + gain / loss) if loss else Fraction(100) if gain else None

    def _macd(self) -> _Finding:
        prices, averages = [tick.price for tick in self.accepted[-self.settings.macd_slow :]], self.averages
        if len(prices) < self.settings.macd_slow:
            return _Finding(None)
        _follow(averages["fast"], prices, self.settings.macd_fast)
        _follow(averages["slow"], prices, self.settings.macd_slow)
        averages["line"].append(averages["fast"][-1] - averages["slow"][-1])
        if len(averages["line"]) < self.settings.macd_signal:
            return _Finding(None)
        _follow(averages["signal"], averages["line"], self.settings.macd_signal)
        line, signal = averages["line"][-1], averages["signal"][-1]
        return _Finding(_sign(line - signal) or self.sides["macd"], nine(line), nine(signal))

    def _rapid_move(self) -> _Finding:
        now, window = self.accepted[-1].moment, timedelta(seconds=self.settings.rapid_move_seconds)
        parts: dict[int, list[_Tick]] = defaultdict(list)
        for tick in reversed(self.accepted):
            if tick.moment < now - 2 * window:
                break
            parts[(tick.moment - datetime(1970, 1, 1, tzinfo=UTC)) // (window / 100)].append(tick)
        lowest = [min(ticks, key=lambda one: one.price) for ticks in parts.values()]  # newest first, so the latest
        highest = [max(ticks, key=lambda one: one.price) for ticks in parts.values()]
        price = self.accepted[-1].price
        rise = price / min(tick.price for tick in lowest if tick.moment >= now - window) - 1
        fall = 1 - price / max(tick.price for tick in highest if tick.moment >= now - window)
        limit = self.settings.rapid_move_percent
        if 100 * max(rise, fall) < Fraction(limit):
            return _Finding(None)
        return _Finding("up", six(100 * rise), limit) if rise >= fall else _Finding("down", six(-100 * fall), -limit)

    def _begins_session(self) -> bool:
        if len(self.accepted) < 2 or self.accepted[-1].previous_close is None:
            return False
        before, now = self.accepted[-2:]
        is_known = before.previous_close is not None or before.moment.date() != now.moment.date()
        return is_known and before.previous_close != now.previous_close

    def _adjusted(self, last: Fraction) -> Fraction | None:
        """Return the ratio that a new previous close was divided by."""
        tick = self.accepted[-1]
        if tick.previous_close is None:
            return None
        factor = last / tick.previous_close
        is_nearer_to_close = (factor > 1) == (tick.price**2 < last * tick.previous_close)
        is_halfway = tick.price**2 == last * tick.previous_close
        for ratio in (Fraction(3, 2), Fraction(5, 2), *_WHOLE_RATIOS):
            if abs(max(factor, 1 / factor) / ratio - 1) <= Fraction(1, 100) and is_nearer_to_close and not is_halfway:
                return ratio if factor > 1 else 1 / ratio
        return None

    def _split(self) -> _Finding:
        now = self.accepted[-1]
        if len(self.accepted) < 2:
            self.days[now.moment.date()] = [now.price]
            return _Finding(None)
        last = self.accepted[-2].price
        factor = self._adjusted(last) if self._begins_session() else None
        earlier = [(min(prices), max(prices)) for prices in list(self.days.values())[-11:]]
        for ratio in _WHOLE_RATIOS:
            jump = max(last / now.price, now.price / last)
            is_near = abs(jump / ratio - 1) <= Fraction(self.settings.split_tolerance_percent) / 100
            is_calm = all(high / low - 1 <= (ratio - 1) / 4 for low, high in earlier)
            if factor is None and is_near and is_calm:
                factor = ratio if now.price < last else 1 / ratio
        prices = self.days.setdefault(now.moment.date(), [last])
        if factor is None:
            prices[:] = [min(*prices, now.price), max(*prices, now.price)]
            return _Finding(None)
        prices[:] = [now.price]
        if factor > 1:
            return _Finding("down", six(last / now.price), six(factor))
        return _Finding("up", six(now.price / last), six(1 / factor))

    def _inconsistent(self) -> _Finding:
        tick, ended = self.accepted[-1], self.session
        begins = self._begins_session()
        if begins or not ended:
            self.session = []
        self.session.append(tick)
        for name in ("price", "open"):
            value = getattr(tick, name)
            if value is not None and tick.high is not None and value > tick.high:
                return _Finding("up", nano(value), nano(tick.high))
        for name in ("price", "open"):
            value = getattr(tick, name)
            if value is not None and tick.low is not None and value < tick.low:
                return _Finding("down", nano(value), nano(tick.low))
        close = tick.previous_close
        if not begins or close is None or tick.moment - ended[-1].moment > timedelta(days=4):
            return _Finding(None)
        regular = [one for one in ended if one.volume is not None or one.high is not None]
        price = (regular or ended)[-1].price
        percent = 100 * (close - price) / price
        if abs(percent) <= Fraction(self.settings.inconsistent_close_percent) or self._adjusted(price):
            return _Finding(None)
        return _Finding(_sign(percent), nano(close), nano(price))

    def _gap(self) -> _Finding:
        now = self.accepted[-1]
        day = now.moment.date()
        self.silent.setdefault(day, False)
        if len(self.accepted) < 2:
            return _Finding(None)
        before, limit = self.accepted[-2], self.settings.gap_seconds
        silence = now.moment - before.moment
        is_within = before.moment.date() == day and before.previous_close == now.previous_close
        if not is_within or silence <= timedelta(seconds=limit):
            return _Finding(None)
        self.silent[day] = True
        usual = sum(list(self.silent.values())[-6:-1])
        seconds = Fraction(silence // timedelta(microseconds=1), 10**6)
        return _Finding("up" if usual < 2 else None, six(seconds), Decimal(limit))

    def _next_forecast(self) -> tuple[Decimal, Decimal] | None:
        """Return what was expected of this tick, and let the forecast learn from it."""
        if len(self.accepted) < 2:
            return None
        found = self.usual.see(self.accepted[-2].price, self.accepted[-1].price, self.returns[-1])
        return found and (max(nano(found[0]), Decimal(0)), min(nano(found[1]), Decimal(_PRICE_LIMIT.numerator)))

    def _unusual(self) -> _Finding:
        if self.forecast is None:
            return _Finding(None)
        price, (low, high) = nano(self.accepted[-1].price), self.forecast
        return _Finding("up" if price > high else "down" if price < low else None, price, high if price > high else low)


class _Usual:
    """The forecast of a symbol: a mean size of its returns, and a multiplier of it that is tracked.

    After each step the scale is rounded to 10⁻¹², the multiplier to 10⁻⁶ and the width to 10⁻⁹, all half to even.
    """

    def __init__(self, rate: Decimal) -> None:
        with localcontext(prec=60):
            self.multiplier = round(Fraction(-rate.ln()), 6)
        self.rise = round(Fraction(1, 100) * (1 - Fraction(rate)) / Fraction(rate), 6)
        self.scale: Fraction | None = None
        self.seen = 0

    def see(self, before: Fraction, price: Fraction, ppb: int) -> tuple[Fraction, Fraction] | None:
        """Take a price after another, and the return in 10⁻⁹; return the forecast of it, after the first 20."""
        size = Fraction(abs(ppb), 10**9)
        if self.scale is None:
            self.scale = size or None
            return None
        width = round(before * self.multiplier * self.scale, 9)
        is_inside = abs(price - before) <= width
        self.multiplier = (
            max(self.multiplier - Fraction(1, 100), Fraction(0)) if is_inside else self.multiplier + self.rise
        )
        if size > 0:
            self.scale = round(Fraction(9, 10) * self.scale + Fraction(1, 10) * min(size, 8 * self.scale), 12)
        self.seen += 1
        return (before - width, before + width) if self.seen > 20 else None


def _plain_row(tick: _Tick) -> Row:
    row: Row = {"symbol": tick.symbol, "timestamp": tick.timestamp, "price": nano(tick.price)}
    for name in ("open", "high", "low", "previous_close"):
        if (value := getattr(tick, name)) is not None:
            row[name] = nano(value)
    if tick.previous_close is not None:
        change = tick.price - tick.previous_close
        row |= {"change": nano(change), "change_percent": six(100 * change / tick.previous_close)}
    if tick.volume is not None:
        row["volume"] = Decimal(tick.volume)
    if tick.source is not None:
        row["source"] = tick.source
    return row


def _alert(tick: _Tick, rule: str, finding: _Finding) -> Row:
    return {
        "symbol": tick.symbol,
        "alert_id": f"{tick.timestamp}#{rule}",
        "timestamp": tick.timestamp,
        "rule": rule,
        "direction": finding.side,
        "severity": SEVERITIES[rule],
        "price": nano(tick.price),
        "value": finding.value,
        "threshold": finding.threshold,
    }


def expect(records: Iterable[Record], settings: Settings | None = None) -> Expected:
    """Work out what must come of ``records``, which are in the order of the stream for each symbol."""
    settings = settings or Settings()
    expected = Expected(row_seconds=settings.row_seconds)
    symbols: dict[str, _Symbol] = defaultdict(lambda: _Symbol(settings))
    parts = (Record(part, record.arrived_ms) for record in records for part in parts_of(record.payload))
    for record in parts:
        try:
            tick = read_tick(record.payload, record.arrived_ms, settings.max_clock_skew_seconds)
        except NoTickError:
            expected.quarantined.append(record.payload)
            continue
        expected.archived.append(record.payload)
        symbol, key = symbols[tick.symbol], (tick.symbol, tick.timestamp)
        is_late = bool(symbol.accepted) and tick.moment < symbol.accepted[-1].moment
        if is_late and settings.row_seconds:
            expected.late += 1
            expected.late_only.append(_plain_row(tick) | {"late": True})
        elif key in expected.ticks:
            if expected.ticks[key]["price"] == nano(tick.price):
                expected.duplicates += 1
            else:
                expected.conflicts.append(_plain_row(tick) | {"conflict": True})
        elif is_late:
            expected.late += 1
            expected.ticks[key] = _plain_row(tick) | {"late": True}
        else:
            row, alerts, suppressed = symbol.accept(tick)
            expected.ticks[key] = row
            expected.suppressed += suppressed
            expected.alerts |= {(alert["symbol"], alert["alert_id"]): alert for alert in alerts}
    return expected


def thinned(rows: Iterable[Row], row_seconds: int) -> set[Key]:
    """Name the rows that the table has, of those that the archive has: with their arrival, in the stream's order.

    A symbol's first in so many seconds, and each on which a rule fired; late ones and conflicts never.
    """
    last: dict[str, datetime] = {}
    stored = set()
    for row in rows:
        if row.get("late") or row.get("conflict"):
            continue
        symbol, arrived = row["symbol"], row["arrived_at"]
        is_first = symbol not in last or arrived - last[symbol] >= timedelta(seconds=row_seconds)
        if is_first or row.get("anomalies"):
            last[symbol] = arrived
            stored.add((symbol, row["timestamp"]))
    return stored


# --- bar files ------------------------------------------------------------------------------------


def bars(path: Path, symbol: str | None = None, source: str | None = "replay") -> Iterator[Row]:
    """Yield the ticks of a bar file, as the fields of the contract.

    A bar's close is its price, its volume is added up over the UTC day, previous_close is the symbol's last close
    of the day before.
    """
    day_of: dict[str, str] = {}
    volume_of: dict[str, Decimal] = {}
    close_of: dict[str, Decimal] = {}
    close_before: dict[str, Decimal] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            bar = {name.lower(): value for name, value in line.items()}
            name = bar.get("name") or bar.get("symbol") or symbol
            if name is None:
                raise ValueError(f"{path} has no symbol column: pass the symbol")
            moment = parse_moment(bar.get("timestamp") or bar["date"])
            day = _text(moment)[:10]
            if day_of.get(name) != day:
                day_of[name], volume_of[name] = day, Decimal(0)
                if name in close_of:
                    close_before[name] = close_of[name]
            close_of[name] = Decimal(bar["close"])
            volume_of[name] += Decimal(bar["volume"])
            tick: Row = {"symbol": name, "timestamp": _text(moment), "price": close_of[name]}
            tick |= {side: Decimal(bar[side]) for side in ("open", "high", "low") if bar.get(side)}
            if name in close_before:
                tick["previous_close"] = close_before[name]
            yield tick | {"volume": volume_of[name]} | ({"source": source} if source else {})


def payload_of(fields: Row) -> bytes:
    """Write a tick's fields as JSON, decimals as they are."""
    numbers = {name: value for name, value in fields.items() if isinstance(value, Decimal)}
    text = json.dumps({name: f"\0{name}\0" if name in numbers else value for name, value in fields.items()})
    for name, value in numbers.items():
        text = text.replace(f'"\\u0000{name}\\u0000"', f"{value:f}")
    return text.encode()


def expect_replay(
    path: Path, symbol: str | None = None, source: str | None = "replay", settings: Settings | None = None
) -> Expected:
    """Work out what must come of replaying the bar file at ``path``."""
    records = (Record(payload_of(tick), _LATEST_ARRIVAL) for tick in bars(path, symbol, source))
    return expect(records, settings)


def main() -> int:
    """Compare an export with the file that was replayed."""
    from tests.compare import differences

    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=main.__doc__)
    parser.add_argument("file", type=Path, help="the bar file that was replayed")
    parser.add_argument("export", type=Path, help="the directory that --export wrote")
    parser.add_argument("--symbol", help="the symbol of a file without one")
    arguments = parser.parse_args()
    expected = expect_replay(arguments.file, arguments.symbol)
    found = differences(arguments.export, expected, same_bytes=False)
    sys.stdout.write(
        "\n".join(found) + "\n"
        if found
        else f"equal: {len(expected.ticks)} ticks, {len(expected.alerts)} alerts, "
        f"{expected.suppressed} suppressed, {len(expected.quarantined)} in quarantine\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
