"""The contract: what is a tick, what is not, and how its numbers and times are read and written."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.tick import (
    MAX_PAYLOAD_BYTES,
    NotATickError,
    Tick,
    TickDecoder,
    decimal_text,
    encode,
    fixed,
    normalise_symbol,
    normalise_timestamp,
    significant_text,
    timestamp_of,
)
from tests import oracle
from tests.bad_records import NOT_TICKS

ARRIVED_MS = 1_689_000_000_000  # 2023-07-10T14:40:00Z
ARRIVED = "2023-07-10T14:40:00.000000Z"


def decode(payload: bytes, arrived_ms: int = ARRIVED_MS) -> Tick:
    """Decode with a fresh decoder and the default skew."""
    return TickDecoder(max_clock_skew_seconds=300).decode(payload, arrived_ms)


def tick_with(fields: str) -> Tick:
    """Decode a tick of which ``fields`` are written as in JSON."""
    return decode(f'{{"symbol":"INDA","price":1,{fields}}}'.encode())


def test_every_field_is_read() -> None:
    """A whole tick's fields come out as fixed-point integers, normal time and folded symbol."""
    payload = (
        b'{"symbol":"brk.b","timestamp":"2023-07-10T10:10:00+02:00","price":43.58,"open":43.5,"high":44,'
        b'"low":0.000000001,"previous_close":4.3e1,"change":"wrong","change_percent":7,"volume":250.0,'
        b'"source":"yahoo","extra":{"a":[1,null]}}'
    )
    assert decode(payload) == Tick(
        symbol="BRK.B",
        timestamp="2023-07-10T08:10:00.000000Z",
        price=43_580_000_000,
        open=43_500_000_000,
        high=44_000_000_000,
        low=1,
        previous_close=43_000_000_000,
        volume=250,
        source="yahoo",
    )


def test_only_symbol_and_price_are_required() -> None:
    """Everything else may be absent or null; the time is then the record's arrival."""
    bare = decode(b'{"symbol":"A","price":1}')
    nulls = b'"timestamp":null,"open":null,"high":null,"low":null,"previous_close":null,"volume":null,"source":null'
    assert bare == Tick("A", ARRIVED, 1_000_000_000)
    assert decode(b'{"symbol":"A","price":1,' + nulls + b"}") == bare


def test_zero_means_not_known() -> None:
    """Feeds write 0 for an open, high, low or previous close that they do not know."""
    tick = tick_with('"open":0,"high":0.0,"low":0e5,"previous_close":0.00')
    assert (tick.open, tick.high, tick.low, tick.previous_close) == (None, None, None, None)


@pytest.mark.parametrize(("payload", "reason"), NOT_TICKS.values(), ids=NOT_TICKS.keys())
def test_what_is_no_tick_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    """Every kind of bad record raises NotATickError, one line that names what is wrong."""
    with pytest.raises(NotATickError) as refusal:
        decode(payload)
    assert reason in str(refusal.value)
    assert str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200, "the reason must not carry the payload along"


@pytest.mark.parametrize("payload", [payload for payload, _ in NOT_TICKS.values()], ids=NOT_TICKS.keys())
def test_the_oracle_refuses_the_same(payload: bytes) -> None:
    """The oracle, written apart, takes none of these for a tick either."""
    with pytest.raises(oracle.NoTickError):
        oracle.read_tick(payload, ARRIVED_MS)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"symbol":"A","price":1,"x":"' + b"j" * (MAX_PAYLOAD_BYTES - 31) + b'"}',
        b'{"symbol":"' + b"A" * 32 + b'","price":1}',
        b'{"symbol":"A","price":1,"source":"' + "é".encode() * 64 + b'"}',
        b'{"symbol":"A","price":9199999999.999999999}',
        b'{"symbol":"A","price":9199999999.9999999994}',
        b'{"symbol":"A","price":0.000000001}',
        b'{"symbol":"A","price":1,"volume":9223372036854775807}',
        b'{"symbol":"A","price":1,"volume":9223372036854775807.4}',
        b'{"symbol":"A","price":1,"volume":0}',
        b'{"symbol":"A","price":1,"volume":-0.0}',
        b'{"symbol":"A","price":1,"timestamp":"0001-01-01T00:00:00Z"}',
        b' \r\n{ "symbol" :\t"A", "price" : 1 }\n',
        b'{"symbol":"A","price":1,"x":1e999,"y":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_just_within_the_limits_is_a_tick(payload: bytes) -> None:
    """Limits are inclusive where the contract says so: 64 KiB, 32 and 64 characters, prices below 9.2e9."""
    assert_same(payload)


def assert_same(payload: bytes, arrived_ms: int = ARRIVED_MS) -> None:
    """The decoder and the oracle read the payload alike: as the same tick, or both as none."""
    try:
        expected = oracle.read_tick(payload, arrived_ms)
    except oracle.NoTickError:
        with pytest.raises(NotATickError):
            decode(payload, arrived_ms)
        return
    tick = decode(payload, arrived_ms)
    for name in ("symbol", "timestamp", "volume", "source"):
        assert getattr(tick, name) == getattr(expected, name)
    for name in ("price", "open", "high", "low", "previous_close"):
        units, value = getattr(tick, name), getattr(expected, name)
        assert units == (None if value is None else value * 10**9), name


_NAMES = {"TICKER": "symbol", "PRICE": "price", "EVENT_TIME": "timestamp", "Vol": "volume", "price": "open"}


@pytest.mark.parametrize(
    ("payload", "tick"),
    [
        (
            b'{"EVENT_TIME":"2023-07-10T10:10:00.5","TICKER":"amzn","PRICE":87.120000000500000001,"Vol":7,"CHANGE":1}',
            Tick("AMZN", "2023-07-10T10:10:00.500000Z", 87_120_000_001, volume=7),
        ),
        (b'{"TICKER":"A","PRICE":2,"price":1,"high":3}', Tick("A", ARRIVED, 2 * 10**9, 10**9, 3 * 10**9)),
        (b'{"symbol":"A","PRICE":2,"volume":7}', Tick("A", ARRIVED, 2 * 10**9, volume=7)),
        (b'{"symbol":7,"timestamp":7,"TICKER":"A","PRICE":2,"EVENT_TIME":null}', Tick("A", ARRIVED, 2 * 10**9)),
        (b'{"TICKER":"A","PRICE":2,"volume":1,"Vol":2}', Tick("A", ARRIVED, 2 * 10**9, volume=2)),
        (b'{"TICKER":"A","PRICE":2,"Vol":2,"volume":1}', Tick("A", ARRIVED, 2 * 10**9, volume=2)),
    ],
)
def test_fields_of_other_producers_are_read_by_their_names(payload: bytes, tick: Tick) -> None:
    """A name of the map stands for a field, to the last digit; the contract's own names are read where it is absent."""
    assert TickDecoder(300, _NAMES).decode(payload, ARRIVED_MS) == tick


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"TICKER":"A","price":1}', "price"),
        (b'{"ticker":"A","PRICE":1}', "symbol"),
        (b'{"TICKER":"A","PRICE":"1"}', 'it is "1"'),
        (b'{"TICKER":"A","PRICE":1,"EVENT_TIME":1689000000}', "the number 1689000000 is an epoch or digits only"),
        (b'{"TICKER":"A","PRICE":NaN}', "PRICE is NaN"),
        (b'{"TICKER":"A","PRICE":1,"x":"\xff"}', "utf-8"),
        (b'{"TICKER":"A","PRICE":1,"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "nested too deeply"),
        (b'{"TICKER":"A","PRICE":1,"x":"' + b"x" * MAX_PAYLOAD_BYTES + b'"}', "more than 65536"),
        (b"[]", "array"),
        (b"", "truncated"),
    ],
)
def test_what_is_no_tick_is_refused_by_any_names(payload: bytes, reason: str) -> None:
    """The map changes names and nothing else."""
    with pytest.raises(NotATickError, match=reason):
        TickDecoder(300, _NAMES).decode(payload, ARRIVED_MS)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("1.0000000005", 1_000_000_000),
        ("1.0000000015", 1_000_000_002),
        ("1.00000000150000000000000000001", 1_000_000_002),
        ("1.00000000049999999999999999999", 1_000_000_000),
        ("1.00000000050000000000000000001", 1_000_000_001),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("0.00000000050000000000000000001", 1),
        ("4503599.6273704955", 4_503_599_627_370_496),
        ("4503599.6273704965", 4_503_599_627_370_496),
        ("9007199.254740993", 9_007_199_254_740_993),
        ("9199999999.9999999985", 9_199_999_999_999_999_998),
        ("43580000000e-9", 43_580_000_000),
        ("0.1", 100_000_000),
    ],
)
def test_prices_round_half_to_even_at_exact_ties(text: str, units: int) -> None:
    """A price's decimal text, not the double nearest to it, is what is rounded to 1e-9."""
    assert decode(f'{{"symbol":"A","price":{text}}}'.encode()).price == units
    assert tick_with(f'"open":{text}').open == units


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("0.5", 0),
        ("1.5", 2),
        ("2.5", 2),
        ("0.5000000000000000000001", 1),
        ("2.4999999999999999999999", 2),
        ("1e3", 1000),
        ("4503599627370496.5", 4_503_599_627_370_496),
        ("4503599627370497.5", 4_503_599_627_370_498),
        ("9007199254740993.0", 9_007_199_254_740_993),
        ("9007199254740993", 9_007_199_254_740_993),
    ],
)
def test_volumes_round_half_to_even_to_whole_units(text: str, volume: int) -> None:
    """A fraction of a share is rounded by its decimal text, whatever its size."""
    assert tick_with(f'"volume":{text}').volume == volume


_digits = st.text("0123456789", min_size=1, max_size=15)
_decimals = st.builds(lambda whole, rest: f"{int(whole)}.{rest}", _digits, _digits)
_near_ties = st.builds(
    lambda whole, nano, tail: f"{whole}.{nano:09d}5{tail}",
    st.integers(0, 9_300_000_000),
    st.integers(0, 999_999_999),
    st.sampled_from(["", "0", "00000001", "000000000000001"]),
)
_with_exponents = st.builds(
    lambda digits, point, exponent: f"{digits}.{point}e{exponent}",
    st.integers(0, 10**6),
    st.integers(0, 10**12),
    st.integers(-20, 12),
)


@settings(max_examples=1000, deadline=None)
@given(text=_decimals | _near_ties | _with_exponents)
@example(text="9199999999.9999999995")
@example(text="2147483.6484999999985")
def test_decoding_is_exact_for_any_decimal(text: str) -> None:
    """For random decimals of up to 31 digits the decoder equals exact decimal arithmetic, refusals included."""
    units = round(Fraction(text) * 10**9)  # half to even
    payload = f'{{"symbol":"A","price":{text}}}'.encode()
    if 0 < units < 9_200_000_000 * 10**9:
        assert decode(payload).price == units
    else:
        with pytest.raises(NotATickError):
            decode(payload)


@settings(max_examples=500, deadline=None)
@given(text=_decimals | _with_exponents)
def test_volumes_are_exact_for_any_decimal(text: str) -> None:
    """For random decimals the volume is the exact decimal rounded half to even."""
    assert_same(f'{{"symbol":"A","price":1,"volume":{text}}}'.encode())


_session_prices = st.sampled_from(["", "0", "43.5", "44", "44.0", "1.0000000005", "-1", "1e300"])


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["AAPL", "aapl", "KO"]),
            st.sampled_from(["43.58", "0", "0.1234567885"]),
            *[_session_prices] * 4,
        ),
        max_size=20,
    )
)
@example(
    lines=[("KO", "43.58", "43.5", "", "", ""), ("KO", "43.58", "", "", "", "43.5"), ("KO", "43.58", *["43.5"] * 4)]
)
@example(lines=[("KO", "43.58", "43.5", "44", "1e300", ""), ("KO", "43.58", "43.5", "44", "", "")])
def test_what_came_before_changes_no_tick(lines: list[tuple[str, ...]]) -> None:
    """A decoder that has seen a symbol, whatever its session's prices were, reads the next tick like a new one."""
    decoder = TickDecoder(300)
    for symbol, price, *session in lines:
        names = ("open", "high", "low", "previous_close")
        fields = "".join(f',"{name}":{text}' for name, text in zip(names, session, strict=True) if text)
        payload = f'{{"symbol":"{symbol}","price":{price}{fields}}}'.encode()
        results: list[Tick | str] = []
        for one in (decoder, TickDecoder(300)):
            try:
                results.append(one.decode(payload, ARRIVED_MS))
            except NotATickError as error:
                results.append(str(error))
        assert results[0] == results[1]


def test_symbols_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of symbols is forgotten when there are too many, and their ticks are read all the same."""
    monkeypatch.setattr("common.tick._MOST_SYMBOLS", 3)
    decoder = TickDecoder(300)
    for number in range(20):
        for symbol in (f"s{number}", "ko"):
            tick = decoder.decode(f'{{"symbol":"{symbol}","price":2,"open":{number + 1}}}'.encode(), ARRIVED_MS)
            assert (tick.symbol, tick.open) == (symbol.upper(), (number + 1) * 10**9)
        assert len(decoder._known) <= 3


_values = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: value == 0 or abs(value) > 1e-300)
    | st.text(max_size=70)
    | st.lists(st.integers(), max_size=2)
)
_names = (
    "symbol",
    "timestamp",
    "price",
    "open",
    "high",
    "low",
    "previous_close",
    "volume",
    "source",
    "change",
    "extra",
)


@settings(max_examples=700, deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(["A", "brk.b", "^GSPC", "EURUSD=X", "BTC/USD", "M&M.NS", "A_B", "a b", "A$"]),
            "price": _values,
        },
        optional=dict.fromkeys(_names[3:], _values) | {"timestamp": st.sampled_from(["2023-07-10", "x"])},
    )
)
def test_decoder_and_oracle_agree_on_any_object(fields: dict[str, object]) -> None:
    """Whatever stands in an object's fields, decoder and oracle both refuse it or read the same tick."""
    assert_same(json.dumps(fields).encode())


@settings(max_examples=300, deadline=None)
@given(payload=st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_tick_or_refused(payload: bytes) -> None:
    """No payload makes the decoder raise anything but NotATickError."""
    with pytest.raises(NotATickError):
        decode(payload)  # a tick by chance is out of reach


@pytest.mark.parametrize(
    ("sent", "normal"),
    [
        ("2023-07-10T10:10:00.123456Z", "2023-07-10T10:10:00.123456Z"),
        ("2023-07-10", "2023-07-10T00:00:00.000000Z"),
        ("20230710", "2023-07-10T00:00:00.000000Z"),
        ("2023-07-10T10", "2023-07-10T10:00:00.000000Z"),
        ("2023-07-10 10:10:00", "2023-07-10T10:10:00.000000Z"),
        ("2023-07-10T10:10Z", "2023-07-10T10:10:00.000000Z"),
        ("20230710T101000Z", "2023-07-10T10:10:00.000000Z"),
        ("2023-07-10T10:10:00,5Z", "2023-07-10T10:10:00.500000Z"),
        ("2023-07-10T10:10:00.1Z", "2023-07-10T10:10:00.100000Z"),
        ("2023-07-10T10:10:00.123456789Z", "2023-07-10T10:10:00.123456Z"),
        ("2023-07-10T10:10:00.999999999Z", "2023-07-10T10:10:00.999999Z"),
        ("2023-07-10T10:10:00+05:30", "2023-07-10T04:40:00.000000Z"),
        ("2023-07-10T10:10:00+0530", "2023-07-10T04:40:00.000000Z"),
        ("2023-07-10T10:10:00-05", "2023-07-10T15:10:00.000000Z"),
        ("2023-07-10T23:59:59.999999-00:01", "2023-07-11T00:00:59.999999Z"),
        ("2023-W28-1T10:10:00Z", "2023-07-10T10:10:00.000000Z"),
        ("2023-W28-1T10:10:00.123456Z", "2023-07-10T10:10:00.123456Z"),
        ("2023W281T101000Z", "2023-07-10T10:10:00.000000Z"),
        ("2023-07-10t10:10:00.5z", "2023-07-10T10:10:00.500000Z"),
        ("0001-01-01", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_any_iso_8601_form_is_normalised_to_utc(sent: str, normal: str) -> None:
    """Times of any form and offset come out in one form that sorts as text."""
    assert normalise_timestamp(sent) == normal
    assert oracle.parse_moment(sent).isoformat(timespec="microseconds").replace("+00:00", "Z") == normal


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " 2023-07-10",
        "2023",
        "10/07/2023",
        "2023-13-01",
        "2023-07-10T25:00:00",
        "2023-07-10T10:10:61",
        "2023-07-10T10:10:00+24:00",
        "2023-07-10T10.5Z",
        "2023-07-10T10:10.5",
        "2023-07-10T1010,5",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٣-07-10",
        "1689000000",
        "1701010112000",
        "2023-07-10T24:00:00",
        "2023-07-10T24:00:00.000000Z",
        "2023-07-10X10:10:00",
        "2023-07-10_10:10:00",
        "2023-07-10-10:10:00",
        "2023-07-10110:10:00",
        "2023071010",
        "20230710101000",
        "2023-07-10+05:00",
        "2023-07-10Z",
        "2023-07-10T10:10:00.Z",
        "2023-07-10T10:10:00+05:30:15",
        "2023-07-10T10:10:00 +05:30",
        "2023-07-10T10:10:00Z\n",
        "2023.07.10 10:10:00",
        "2023-191",
        "Mon, 10 Jul 2023 10:10:00 GMT",
    ],
)
def test_what_is_no_time_is_refused(sent: str) -> None:
    """Other texts are refused; so are fractions of an hour or minute, which would be misread as seconds."""
    with pytest.raises(NotATickError, match="timestamp is not ISO 8601"):
        normalise_timestamp(sent)


@pytest.mark.parametrize(
    ("timestamp", "is_tick"),
    [
        ("2023-07-10T14:45:00.122999Z", True),
        ("2023-07-10T14:45:00.123000Z", True),
        ("2023-07-10T14:45:00.123001Z", False),
        ("2023-07-10T16:45:00.123001+02:00", False),
    ],
)
def test_clock_skew_boundary(timestamp: str, is_tick: bool) -> None:
    """A tick exactly MAX_CLOCK_SKEW_SECONDS after its arrival is one, a microsecond later it is not."""
    payload = f'{{"symbol":"A","price":1,"timestamp":"{timestamp}"}}'.encode()
    assert_same(payload, ARRIVED_MS + 123)
    if is_tick:
        assert decode(payload, ARRIVED_MS + 123).timestamp == timestamp
    else:
        with pytest.raises(NotATickError, match="more than 300 s after"):
            decode(payload, ARRIVED_MS + 123)


def test_skew_is_measured_from_each_records_own_arrival() -> None:
    """One decoder serves records of different arrivals, in any order."""
    decoder = TickDecoder(max_clock_skew_seconds=0)
    payload = b'{"symbol":"A","price":1,"timestamp":"2023-07-10T14:40:00Z"}'
    assert decoder.decode(payload, ARRIVED_MS).timestamp == ARRIVED
    with pytest.raises(NotATickError):
        decoder.decode(payload, ARRIVED_MS - 1)
    assert decoder.decode(payload, ARRIVED_MS + 1).timestamp == ARRIVED


@pytest.mark.parametrize(
    ("sent", "symbol"),
    [
        ("inda", "INDA"),
        ("brk.B", "BRK.B"),
        ("^gspc", "^GSPC"),
        ("eurusd=x", "EURUSD=X"),
        ("BTC-usd/2", "BTC-USD/2"),
        ("m&m.ns", "M&M.NS"),
        ("nifty_fin_service.ns", "NIFTY_FIN_SERVICE.NS"),
        ("_&_", "_&_"),
    ],
)
def test_symbols_are_folded_to_upper_case(sent: str, symbol: str) -> None:
    """The same instrument in lower case is the same symbol."""
    assert normalise_symbol(sent) == symbol
    assert decode(json.dumps({"symbol": sent, "price": 1}).encode()).symbol == symbol


@pytest.mark.parametrize("epoch_ms", [0, 7, 999, 1000, -1, -1001, ARRIVED_MS + 123, 253_402_300_799_999])
def test_moments_are_written_to_the_microsecond(epoch_ms: int) -> None:
    """Also before 1970, and up to the last millisecond of the year 9999."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)
    assert timestamp_of(epoch_ms) == f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


_prices = st.integers(1, 9_200_000_000 * 10**9 - 1)
_ticks = st.builds(
    Tick,
    symbol=st.from_regex(r"[A-Z0-9.\-=^/&_]{1,32}", fullmatch=True),
    timestamp=st.integers(0, ARRIVED_MS).map(timestamp_of),
    price=_prices,
    open=st.none() | _prices,
    high=st.none() | _prices,
    low=st.none() | _prices,
    previous_close=st.none() | _prices,
    volume=st.none() | st.integers(0, 2**63 - 1),
    source=st.none() | st.text(st.characters(codec="utf-8"), max_size=64),
)


@settings(max_examples=300, deadline=None)
@given(tick=_ticks)
def test_encode_and_decode_are_inverse(tick: Tick) -> None:
    """Any tick that is written to the wire is read back as it was, to the last unit."""
    assert decode(encode(tick)) == tick


@pytest.mark.parametrize(
    ("units", "places", "text"),
    [
        (43_580_000_000, 9, "43.58"),
        (1, 9, "0.000000001"),
        (0, 9, "0"),
        (-35_000_000, 9, "-0.035"),
        (-1_500_000, 6, "-1.5"),
        (9_199_999_999_999_999_999, 9, "9199999999.999999999"),
        (10**9, 9, "1"),
        (100 * 10**9, 9, "100"),
    ],
)
def test_decimals_are_written_plainly(units: int, places: int, text: str) -> None:
    """Numbers in stores are ordinary decimals without exponents and trailing zeros."""
    assert decimal_text(units, places) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("103.43168", "103.43"),
        ("20.69673", "20.70"),
        ("49.996831458", "50.00"),
        ("9.99996", "10.00"),
        ("5", "5.00"),
        ("5.5", "5.50"),
        ("1.234567", "1.235"),
        ("-1.148235", "-1.148"),
        ("-364.075614", "-364.08"),
        ("0.5", "0.50"),
        ("0.123456", "0.1235"),
        ("0.000123456", "0.0001235"),
        ("0.000008092", "0.000008092"),
        ("0.00000796", "0.00000796"),
        ("0.000000001", "0.000000001"),
        ("9199999999.999999999", "9200000000.00"),
        ("0", "0.00"),
    ],
)
def test_sentences_show_significant_digits(number: str, text: str) -> None:
    """At least four digits and two decimals, at most nine decimals, never an exponent."""
    assert significant_text(Decimal(number)) == text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "0", "-1", "9200000000", "1e99", "4e-10"])
def test_fixed_refuses_what_is_no_price(number: str) -> None:
    """A decimal that is not finite, positive and below the limit is no price."""
    with pytest.raises(NotATickError):
        fixed(Decimal(number))


def test_encoded_ticks_are_json_with_plain_decimals() -> None:
    """The wire's form has the contract's names and no absent fields."""
    tick = Tick("A", ARRIVED, 43_580_000_000, volume=7, source='"\n')
    assert msgspec.json.decode(encode(tick)) == {
        "symbol": "A",
        "timestamp": ARRIVED,
        "price": 43.58,
        "volume": 7,
        "source": '"\n',
    }
