"""Payloads of every kind, for hypothesis: ticks, nearly ticks, JSON, bytes, and several of them in one record."""

import json

from hypothesis import strategies as st

from tests.bad_records import NOT_TICKS

_texts = st.sampled_from(["A", "M&M.NS", "2026-11-20T14:30:00Z", "2026-11-20 14:00", "1763649000000", "NaN", "", "é\n"])
_numbers = st.sampled_from(
    ["0", "1", "-1", "1.5", "1e-9", "4e-10", "1e400", "9200000000", "9" * 400, "NaN", "-Infinity"]
)
_values = st.recursive(
    _numbers | _texts.map(json.dumps) | st.sampled_from(["null", "true", "", "{", '"\\ud800"']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    max_leaves=4,
)
_names = st.sampled_from(["symbol", "price", "timestamp", "volume", "previous_close", "source", "Price", "x"])
_seconds = st.integers(0, 3).map(lambda second: f'"timestamp":"2026-11-20T14:29:0{second}Z"')
good = st.builds(
    lambda symbol, price, second: f'{{"symbol":"{symbol}","price":{price},{second}}}'.encode(),
    st.sampled_from("AB"),
    st.integers(1, 2),
    _seconds,
)
_objects = st.lists(st.tuples(_names, _values), max_size=5).map(
    lambda fields: f"{{{','.join(f'{json.dumps(name)}:{value}' for name, value in fields)}}}".encode()
)
_nearly = st.builds(  # a tick of which some bytes are lost or others
    lambda tick, at, gone, put: tick[:at] + put + tick[at + gone :],
    good,
    st.integers(0, 60),
    st.integers(0, 2),
    st.binary(max_size=2) | st.sampled_from([b"9", b"\n", b"}{", b"NaN", b"\xff"]),
)
anything = (
    good | good | _objects | _nearly | st.binary(max_size=40) | st.sampled_from([p for p, _ in NOT_TICKS.values()])
)
_blanks = st.sampled_from([b"", b" ", b"\r\n"])
several = st.builds(
    lambda parts, mark, ends, blank: ends[:1] + blank + (blank + mark).join(parts) + blank + ends[1:],
    st.lists(anything, max_size=5),
    st.sampled_from([b",", b"\n", b"\n\n", b" "]),
    st.sampled_from([b"[]", b"", b"[", b"{}"]),
    _blanks,
)
