"""Rows as they are written, in bulk, against the plainest way to write each value by itself."""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.detection import Column, Detector, Rules
from consumer.sinks import packing, row
from consumer.sinks.packing import ParquetRows
from consumer.sinks.row import Row, RowWriter

WRITER = RowWriter("shardId-000000000000", Detector(Rules()).columns, 30)
COLUMNS = WRITER.columns
INT64 = 2**63

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_PLAIN_TEXT = st.text("ABCabc019.-=^/&_:#", max_size=20)
_RULES = st.lists(st.sampled_from(["sma_cross", "z_score", "bollinger"]), min_size=1, unique=True).map(tuple)


def _numbers(places: int) -> st.SearchStrategy[int]:
    digits = st.integers(0, 30).flatmap(lambda digits: st.integers(-(10**digits), 10**digits))
    round_ones = st.builds(lambda number, zeros: number * 10**zeros, st.integers(-99, 99), st.integers(0, 18))
    near = st.builds(lambda edge, off: edge + off, st.sampled_from([10**15, -(10**15), 10**places]), st.integers(-3, 3))
    return st.one_of(digits, round_ones, near) if places else st.integers(0, INT64 - 1)


def _values(column: Column) -> st.SearchStrategy[Any]:
    if column.kind == "N":
        return _numbers(column.places)
    if column.kind == "SS":
        return _RULES
    if column.kind == "BOOL":
        return st.just(True)
    return _TEXT if column.name in {"source", "partition_key"} else _PLAIN_TEXT


_FULL = st.tuples(*map(_values, COLUMNS))
_GAPPY = st.tuples(*(_values(c) if c.name in {"symbol", "timestamp"} else st.none() | _values(c) for c in COLUMNS))
_ROWS = st.lists(_FULL | _GAPPY, max_size=6)
_ONES: Row = tuple(
    {"N": 10**column.places, "SS": ("z_score",), "BOOL": True}.get(column.kind, "x") for column in COLUMNS
)


def _number(units: int, places: int) -> Decimal:
    return Decimal(f"{units}e-{places}")


def _text(units: int, places: int) -> str:
    """Digit by digit: no trailing zeros, no exponent."""
    text = f"{_number(units, places):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _item(row: Row) -> dict[str, Any]:
    values = zip(COLUMNS, row, strict=True)
    return {
        column.name: {column.kind: _text(value, column.places) if column.kind == "N" else value}
        for column, value in values
        if value is not None
    }


_TWOS: Row = tuple("y" if one == "x" else 2 * one if type(one) is int else None for one in _ONES)
_NONES: Row = ("x", "x", *[None] * (len(COLUMNS) - 2))


@settings(max_examples=100, deadline=None)
@given(rows=_ROWS | _ROWS.map(lambda rows: rows + rows[:1]) | _ROWS.map(lambda rows: rows[:1] * 3))
@example(rows=[])
@example(rows=[_ONES])
@example(rows=[_ONES, _TWOS, _ONES])
@example(rows=[_NONES, _TWOS, _NONES])
@example(rows=[_ONES, _ONES, _NONES])
def test_items_are_written_as_one_would_by_hand(rows: list[Row]) -> None:
    """Each number to its last digit, whatever its neighbours are; what is absent is left out; text is escaped."""
    written = WRITER.items_json(rows)

    assert [json.loads(item) for item in written] == [json.loads(json.dumps(_item(row))) for row in rows]
    assert [WRITER.item(row) for row in rows] == [_item(row) for row in rows]


@pytest.mark.parametrize("units", [0, 1, -1, 999_999, 10**15 - 1, 10**15, 10**15 + 1, 9_200_000_000 * 10**9 - 1])
def test_each_size_of_a_number(units: int) -> None:
    """Numbers that a double's text has with an exponent, or not to the last digit, are no exceptions."""
    row = tuple(units if column.places else value for column, value in zip(COLUMNS, _ONES, strict=True))
    [item] = map(json.loads, WRITER.items_json([row]))
    assert {c.name: item[c.name]["N"] for c in COLUMNS if c.places} == {
        c.name: _text(units, c.places) for c in COLUMNS if c.places
    }


def test_texts_of_prices_that_were_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """More prices of sessions than are remembered: each is written as it was the first time."""
    monkeypatch.setattr(row, "_MOST_TEXTS", 5)
    writer, rows = (
        RowWriter("shardId-000000000000", Detector(Rules()).columns, 30),
        [_ONES, _TWOS, _NONES, *_changed("open", range(20))],
    )
    written = writer.items_json(rows + rows)
    assert [json.loads(item) for item in written] == [json.loads(json.dumps(_item(each))) for each in rows + rows]


def _changed(name: str, values: Iterable[Any]) -> Iterator[Row]:
    for value in values:
        yield tuple(value if column.name == name else one for column, one in zip(COLUMNS, _ONES, strict=True))


def _archived(column: Column, value: Any) -> Any:  # noqa: ANN401  (whatever a column has)
    if column.kind == "SS":
        return list(value or ())
    return _number(value, column.places) if column.places and value is not None else value


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(_FULL | _GAPPY, min_size=1, max_size=8), block=st.integers(1, 4), cut=st.integers(0, 8))
@example(rows=[_ONES, _ONES], block=1, cut=1)
def test_archived_rows_are_what_they_were(rows: list[Row], block: int, cut: int) -> None:
    """Whatever the values, and in however many blocks they waited, the file has all rows in their order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_BLOCK", block)
        waiting = ParquetRows(COLUMNS)
        waiting.extend(rows[:cut])
        waiting.extend(rows[cut:])
        table = pq.read_table(pa.BufferReader(waiting.finish()))

    assert table.column_names == [column.archived_name or column.name for column in COLUMNS]
    for column, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        archived = table[column.archived_name or column.name]
        assert archived.to_pylist() == [_archived(column, value) for value in values]
        if column.kind == "N":
            assert archived.type == (pa.decimal128(38, column.places) if column.places else pa.int64())
    counted = waiting.counted
    assert counted["late"].total() == sum(bool(row[[c.name for c in COLUMNS].index("late")]) for row in rows)
