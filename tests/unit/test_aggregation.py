"""Aggregated records: ours are those of an encoder and of a decoder that were written apart from it."""

from hypothesis import given
from hypothesis import strategies as st

from producer.aggregation import PAYLOAD_OVERHEAD, aggregate
from tests.integration import aggregation as independent

KEYS = st.text(min_size=1, max_size=200)
PAYLOADS = st.lists(st.one_of(st.binary(max_size=300), st.integers(1, 70_000).map(bytes)), min_size=1, max_size=20)


@given(KEYS, PAYLOADS)
def test_an_aggregate_is_the_same_to_the_byte(key: str, payloads: list[bytes]) -> None:
    """The bytes are those of the other encoder, and the other decoder gives the payloads back, whatever they are."""
    data = aggregate(key, payloads)
    assert data == independent.aggregate([(key, payload) for payload in payloads])
    assert independent.split_up("outer", data) == [(key, payload) for payload in payloads]


@given(KEYS, PAYLOADS)
def test_an_aggregate_is_not_larger_than_reckoned(key: str, payloads: list[bytes]) -> None:
    """The size by which requests are filled is never below the true one."""
    reckoned = 32 + len(key.encode()) + sum(PAYLOAD_OVERHEAD + len(payload) for payload in payloads)
    assert len(aggregate(key, payloads)) <= reckoned
