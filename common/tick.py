"""The contract: what a tick is, on the wire and in memory.

On the wire a tick is one JSON object in UTF-8 with ordinary decimals. In memory its prices are fixed-point integers
in units of 10⁻⁹, so that sums, comparisons and restarts are exact.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from re import ASCII, VERBOSE
from re import compile as regex

import msgspec

from common.refusals import explain, not_a_timestamp, shortened

PRICE_UNITS = 10**9
"""Units in one unit of currency: a price of 43.58 is the integer 43_580_000_000."""

PRICE_LIMIT = 9_200_000_000
"""Prices are below this, so that one in units of 10⁻⁹ fits a signed 64-bit integer."""

VOLUME_LIMIT = 2**63
_NOT_A_VOLUME = "volume is not between 0 and 2⁶³"

MAX_PAYLOAD_BYTES = 64 * 1024
"""A larger record is no tick; real ones are a few hundred bytes."""

_SYMBOL = regex(r"[A-Za-z0-9.\-=^/&_]{1,32}")
_ISO_8601 = regex(
    r"""\d{4} (-?\d\d-?\d\d | -?W\d\d(-?\d)?)
        ([T ] ([01]\d|2[0-3]) (:?\d\d (:?\d\d ([.,]\d+)? )? )?
        (Z | [+-]\d\d(:?\d\d)?)? )?""",
    VERBOSE | ASCII,
)
"""`datetime.fromisoformat` takes more: any separator before the time, so that digits alone become times of odd years,
and fractions of an hour or a minute, which it misreads."""
_NOT_A_PRICE = f"a price is not above 0 and below {PRICE_LIMIT}"
_SOURCE_LENGTH = 64
_MOST_SYMBOLS = 20_000
_SMALLEST_UNIT = Decimal("1e-9")
_DOUBLE_ERROR = 2.3e-16  # of a decimal read as a double and multiplied once, relative: a little over 2 x 2**-53


class NotATickError(Exception):
    """The payload is not a tick; the message says why, in words fit for the quarantine."""


class Tick(msgspec.Struct, gc=False):
    """One quote of one symbol.

    ``price``, ``open``, ``high``, ``low`` and ``previous_close`` are integers in units of 10⁻⁹; ``timestamp`` is the
    event time as ``YYYY-MM-DDTHH:MM:SS.ffffffZ`` (UTC, so it sorts as text); ``volume`` is the session's cumulative
    volume in whole units.
    """

    symbol: str
    timestamp: str
    price: int
    open: int | None = None
    high: int | None = None
    low: int | None = None
    previous_close: int | None = None
    volume: int | None = None
    source: str | None = None


class _WireTick(msgspec.Struct, gc=False):
    symbol: str
    price: float
    timestamp: str | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous_close: float | None = None
    volume: int | float | None = None
    source: str | None = None


class _ExactWireTick(msgspec.Struct, gc=False):
    symbol: str
    price: Decimal
    timestamp: str | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    previous_close: Decimal | None = None
    volume: Decimal | None = None
    source: str | None = None


WIRE_FIELDS = _WireTick.__struct_fields__
"""What a tick's fields are called on the wire; all others are ignored."""


class _InexactError(Exception):
    """A double cannot decide how its decimal rounds."""


_Session = tuple[float | None, float | None, float | None, float | None]
"""Open, high, low and previous close, as they were sent."""


class _Known:
    """What is known of a symbol: the session's prices come again and again, as they were sent and in units."""

    __slots__ = ("session", "symbol", "units")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.session: _Session = (None, None, None, None)
        self.units: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)

    def see(self, session: _Session) -> None:
        """Remember prices of a session; 0 is how feeds write "not known" for these."""
        opened, high, low, close = session
        self.units = (
            _units(opened) if opened else None,
            _units(high) if high else None,
            _units(low) if low else None,
            _units(close) if close else None,
        )
        self.session = session


class TickDecoder:
    """Turns payloads into ticks.

    Parameters
    ----------
    max_clock_skew_seconds
        A tick whose event time is later than its record's arrival by more than this is refused.
    field_map
        The tick's fields by the names that other producers have for them, for instance ``{"TICKER": "symbol"}``. Where
        a payload has both names of a field, this one counts.

    """

    def __init__(self, max_clock_skew_seconds: int, field_map: Mapping[str, str] | None = None) -> None:
        self._field_map = field_map
        self._max_clock_skew_ms = max_clock_skew_seconds * 1000
        self._decode = msgspec.json.Decoder(_WireTick).decode
        self._decode_exactly = msgspec.json.Decoder(_ExactWireTick).decode
        self._known: dict[str, _Known] = {}  # by the symbol as it was sent, if it passed the check
        self._arrived_ms = -1
        self._arrived_at = self._latest_timestamp = ""

    def decode(self, payload: bytes, arrived_ms: int) -> Tick:
        """Read one payload that arrived at ``arrived_ms`` (epoch milliseconds).

        Raises
        ------
        NotATickError
            The payload breaks the contract. It says which part, and quotes no more than a few words of it.

        """
        try:
            if self._field_map and len(payload) <= MAX_PAYLOAD_BYTES:
                payload = _renamed(payload, self._field_map)
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise NotATickError(f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}")
            if not payload.isascii():
                payload.decode("utf-8")  # the JSON decoder skips over unknown fields without looking
            return self._tick(self._decode(payload), payload, arrived_ms)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is a DecodeError
            raise NotATickError(explain(error, payload)) from None
        except RecursionError:
            raise NotATickError("nested too deeply") from None

    def _tick(self, wire: _WireTick, payload: bytes, arrived_ms: int) -> Tick:
        known = self._known.get(wire.symbol) or self._new_symbol(wire.symbol)
        if arrived_ms != self._arrived_ms:  # the ticks of one request have one
            self._arrived_ms, self._arrived_at = arrived_ms, timestamp_of(arrived_ms)
            self._latest_timestamp = timestamp_of(arrived_ms + self._max_clock_skew_ms)
        timestamp = self._arrived_at if wire.timestamp is None else self._event_time(wire.timestamp)
        source = wire.source
        if source is not None and len(source) > _SOURCE_LENGTH:
            raise NotATickError(f"source is longer than {_SOURCE_LENGTH} characters")
        try:
            price = _units(wire.price)
            session = (wire.open, wire.high, wire.low, wire.previous_close)
            if session != known.session:
                known.see(session)
            volume = _volume(wire.volume)
        except _InexactError:
            return Tick(known.symbol, timestamp, *_exact_numbers(self._decode_exactly(payload)), source)
        opened, high, low, close = known.units
        return Tick(known.symbol, timestamp, price, opened, high, low, close, volume, source)

    def _new_symbol(self, sent: str) -> "_Known":
        known = _Known(normalise_symbol(sent))
        if len(self._known) == _MOST_SYMBOLS:
            self._known.clear()
        self._known[sent] = known
        return known

    def _event_time(self, sent: str) -> str:
        if len(sent) < 27 and sent.isdigit():  # 20250303 is ISO 8601, and an epoch of 1970, too
            raise NotATickError(not_a_timestamp(sent))
        timestamp = normalise_timestamp(sent)
        if timestamp > self._latest_timestamp:
            raise NotATickError(
                f"timestamp is more than {self._max_clock_skew_ms // 1000} s after the record's arrival"
            )
        return timestamp


def _renamed(payload: bytes, field_map: Mapping[str, str]) -> bytes:
    """Give an object's fields the contract's names, and leave their values as they are."""
    fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    renamed = {name: value for name, value in fields.items() if name not in field_map}
    renamed |= {field_map[name]: value for name, value in fields.items() if name in field_map}
    return msgspec.json.encode(renamed)


def encode(tick: Tick) -> bytes:
    """Write ``tick`` as the wire's JSON; absent fields are left out, derived ones are the consumer's to compute."""
    text = f'{{"symbol":"{tick.symbol}","timestamp":"{tick.timestamp}","price":{_price_text(tick.price)}'
    if tick.open is not None:
        text += f',"open":{_price_text(tick.open)}'
    if tick.high is not None:
        text += f',"high":{_price_text(tick.high)}'
    if tick.low is not None:
        text += f',"low":{_price_text(tick.low)}'
    if tick.previous_close is not None:
        text += f',"previous_close":{_price_text(tick.previous_close)}'
    if tick.volume is not None:
        text += f',"volume":{tick.volume}'
    if tick.source is not None:
        text += f',"source":{msgspec.json.encode(tick.source).decode()}'
    return f"{text}}}".encode()


def normalise_symbol(sent: str) -> str:
    """Check a symbol and fold it to upper case.

    Raises
    ------
    NotATickError
        It is not 1-32 characters of ``A-Z 0-9 . - = ^ / & _``.

    """
    if _SYMBOL.fullmatch(sent) is None:
        raise NotATickError(f"symbol is not 1 to 32 characters of A-Z 0-9 . - = ^ / & _: {shortened(repr(sent))}")
    return sent.upper()


def normalise_timestamp(sent: str) -> str:
    """Read any ISO 8601 form (no offset means UTC) and write it as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.

    Raises
    ------
    NotATickError
        It is no ISO 8601 date or time.

    """
    try:
        if (
            len(sent) == 27
            and sent[7] == "-"  # the 8 of a week date, 2023-W28-1, is here
            and sent[10] == "T"
            and sent[11:13] != "24"  # Python 3.14 takes it for the next day's 00
            and sent[19] == "."
            and sent[26] == "Z"
        ):
            datetime.fromisoformat(sent)
            return sent  # already normal: the common case on the hot path
        upper = sent.upper()  # RFC 3339 has t and z, too
        if _ISO_8601.fullmatch(upper):
            moment = datetime.fromisoformat(upper)
            return _timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        pass
    raise NotATickError(not_a_timestamp(sent))


def timestamp_of(epoch_ms: int) -> str:
    """Write epoch milliseconds as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03}000Z"


@lru_cache(maxsize=1024)
def _second(epoch_seconds: int) -> str:
    return _timestamp(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch_seconds))[:19]


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def fixed(number: Decimal) -> int:
    """Round a decimal half to even to units of 10⁻⁹.

    Raises
    ------
    NotATickError
        It is not finite, or not between 0 (exclusive after rounding) and 9.2·10⁹.

    """
    if not number.is_finite() or not 0 < number < PRICE_LIMIT:
        raise NotATickError(_NOT_A_PRICE)
    units = int(number.quantize(_SMALLEST_UNIT, ROUND_HALF_EVEN).scaleb(9))
    if units == 0:
        raise NotATickError("a price is below 10⁻⁹")
    if units == PRICE_LIMIT * PRICE_UNITS:
        raise NotATickError(_NOT_A_PRICE)
    return units


def decimal_text(units: int, places: int = 9) -> str:
    """Write units of 10^-places as a decimal without trailing zeros: ``decimal_text(43_580_000_000)`` is ``43.58``."""
    digits = str(units)
    if units < 0 or len(digits) <= places:
        digits = str(abs(units)).zfill(places + 1)
    text = f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text


def significant_text(number: Decimal) -> str:
    """Write a number for people: to at least four digits, cents and 9 decimals; ``1.5`` is ``1.50``, 8e-6 0.000008."""
    places = min(max(2, 3 - number.adjusted()), 9) if number else 2
    whole, _, decimals = f"{number:.{places}f}".partition(".")
    return f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}"


_price_text = lru_cache(maxsize=4096)(decimal_text)  # most prices of a session are those of the tick before


_Numbers = tuple[int, int | None, int | None, int | None, int | None, int | None]


def _exact_numbers(wire: _ExactWireTick) -> _Numbers:
    return (
        fixed(wire.price),
        fixed(wire.open) if wire.open else None,
        fixed(wire.high) if wire.high else None,
        fixed(wire.low) if wire.low else None,
        fixed(wire.previous_close) if wire.previous_close else None,
        _volume(wire.volume),
    )


def _units(value: float) -> int:
    """Round a double as `fixed` rounds the decimal it was read from, where the double can tell; most can."""
    if not 0 < value <= PRICE_LIMIT:
        raise NotATickError(_NOT_A_PRICE)
    scaled = value * PRICE_UNITS
    units = round(scaled)
    sure = 0.5 - scaled * _DOUBLE_ERROR
    if units and -sure < scaled - units < sure:
        return units
    raise _InexactError


def _volume(value: float | Decimal | None) -> int | None:
    if value is None or (type(value) is int and 0 <= value < VOLUME_LIMIT):
        return value
    if not 0 <= value <= VOLUME_LIMIT:
        raise NotATickError(_NOT_A_VOLUME)
    units = round(value)  # half to even
    if isinstance(value, float) and abs(value - units) + value * _DOUBLE_ERROR >= 0.5:
        raise _InexactError
    if units >= VOLUME_LIMIT:
        raise NotATickError(_NOT_A_VOLUME)
    return units
