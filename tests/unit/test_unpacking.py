"""Records that hold several ticks, cut apart: as the oracle cuts them, whatever they hold."""

import pytest
from hypothesis import example, given, settings

from common.parts import MAX_TICKS
from common.tick import NotATickError, TickDecoder
from consumer.protocol import Record
from consumer.unpacking import unpack
from tests import oracle
from tests.any_payloads import anything, several

ARRIVED_MS = 1_763_649_000_000


@settings(max_examples=1000, deadline=None)
@given(payload=several | anything)
@example(payload=b'[{"symbol":"A","price":1},' + b"[" * 30_000 + b"]" * 30_000 + b"]")
@example(payload=b'[{"symbol":"A","price":' + b"9" * 5000 + b"}]")
@example(payload=b'[7,\xff,{"symbol":"A","price":1}]')
@example(payload=b'["{"]')
def test_any_record_is_cut_as_the_oracle_cuts_it(payload: bytes) -> None:
    """Product and oracle find the same parts in any bytes, and read each of them alike: as one tick, or as none."""
    try:
        tick = TickDecoder(300).decode(payload, ARRIVED_MS)
    except NotATickError:
        parts = [part.data for part in unpack(Record(payload, "key", "1", 0, ARRIVED_MS))] or [payload]
    else:
        assert tick.timestamp
        parts = [payload]
    assert parts == oracle.parts_of(payload)
    for part in parts:
        try:
            expected = oracle.read_tick(part, ARRIVED_MS)
        except oracle.NoTickError:
            with pytest.raises(NotATickError):
                TickDecoder(300).decode(part, ARRIVED_MS)
            continue
        read = TickDecoder(300).decode(part, ARRIVED_MS)
        assert (read.symbol, read.timestamp) == (expected.symbol, expected.timestamp)
        assert read.price == expected.price * 10**9


@pytest.mark.parametrize(("count", "is_cut"), [(MAX_TICKS, True), (MAX_TICKS + 1, False)])
@pytest.mark.parametrize("form", [b"[%b]", b"%b"])
def test_a_record_holds_so_many_ticks_and_no_more(form: bytes, count: int, *, is_cut: bool) -> None:
    """More than 10,000 ticks, or a record of more than 1 MiB, are refused whole: memory has an end."""
    payload = form % (b"," if b"[" in form else b"\n").join([b'{"symbol":"A","price":1}'] * count)
    assert len(unpack(Record(payload, "key", "1", 0, ARRIVED_MS))) == (count if is_cut else 0)
    assert len(oracle.parts_of(payload)) == (count if is_cut else 1)
    assert unpack(Record(payload.ljust(2**20 + 1), "key", "1", 0, ARRIVED_MS)) == []
