"""The oracle itself, against numbers worked out by hand, and the comparison, which must not let anything pass."""

import base64
import gzip
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumer.protocol import Record as RecordOfShard
from consumer.unpacking import unpack
from tests.compare import Tally, compare, differences, tally
from tests.oracle import Expected, Record, Row, bars, expect, expect_replay, main, nine, parts_of, payload_of, six

DATA = Path(__file__).parents[1] / "data"
ARRIVED_MS = 1_689_000_000_000


def records(*ticks: dict[str, Any]) -> list[Record]:
    """Write ticks as records of one arrival."""
    return [Record(json.dumps({"symbol": "A"} | tick).encode(), ARRIVED_MS) for tick in ticks]


def at(second: int, price: float, **fields: Any) -> dict[str, Any]:  # noqa: ANN401  (any field of a tick)
    """Write a tick of a second of 2023-07-10."""
    return {"timestamp": f"2023-07-10T10:{second // 60:02}:{second % 60:02}Z", "price": price} | fields


@pytest.mark.parametrize(
    ("mean", "sign", "squared", "rounded"),
    [
        (Fraction(1, 3), 0, Fraction(0), "0.333333"),
        (Fraction(5, 10**7), 0, Fraction(0), "0.000000"),
        (Fraction(15, 10**7), 0, Fraction(0), "0.000002"),
        (Fraction(-15, 10**7), 0, Fraction(0), "-0.000002"),
        (Fraction(0), 1, Fraction(2), "1.414214"),
        (Fraction(0), -1, Fraction(2), "-1.414214"),
        (Fraction(1, 7), 1, Fraction(36, 49), "1.000000"),
        (Fraction(1, 7), 1, (Fraction(6, 7) + Fraction(5, 10**7)) ** 2, "1.000000"),
        (Fraction(1, 7), 1, (Fraction(6, 7) + Fraction(15, 10**7)) ** 2, "1.000002"),
        (Fraction(1, 7), -1, (Fraction(1, 7) + Fraction(5, 10**7)) ** 2, "0.000000"),
        (Fraction(10**19), 1, Fraction(1, 10**40), "10000000000000000000.000000"),
    ],
)
def test_rounding_of_roots_is_exact(mean: Fraction, sign: int, squared: Fraction, rounded: str) -> None:
    """Sums with square roots round half to even, at exact ties too."""
    assert six(mean, sign, squared) == Decimal(rounded)
    assert nine(mean / 1000, sign, squared / 10**6) == Decimal(rounded) / 1000


def test_identity_decides_what_becomes_of_a_record() -> None:
    """Later is accepted, earlier late; the same time again is a duplicate, or a conflict if the price is another."""
    expected = expect(records(at(0, 10), at(10, 11), at(10, 12), at(5, 9), at(5, 8), at(0, 10), at(11, 12), at(5, 9)))
    assert [row["price"] for row in expected.ticks.values()] == [10, 11, 9, 12]
    assert (expected.duplicates, expected.late, len(expected.archived)) == (2, 1, 8)
    assert [(row["timestamp"][14:19], row["price"]) for row in expected.conflicts] == [("00:10", 12), ("00:05", 8)]
    assert all(row["conflict"] for row in expected.conflicts)
    assert [name for name, row in expected.ticks.items() if row.get("late")] == [("A", "2023-07-10T10:00:05.000000Z")]


@pytest.mark.parametrize(
    ("payload", "parts"),
    [
        (b'{"a":1}', None),
        (b'{\n"a":\n{}\n}', None),
        (b"[1]", None),
        (b"[]", None),
        (b'{"a":1}{"b":1}', None),
        (b'[{"a":1},{"b":1}', None),
        (b'[{"a":1}]', [b'{"a":1}']),
        (b' [ {"a":[1,"],{"]} ,7,\n"x\\",{", {"b":NaN}]\n', [b'{"a":[1,"],{"]}', b"7", b'"x\\",{"', b'{"b":NaN}']),
        (b'{"a":1}\r\n\n{"b":\n', [b'{"a":1}', b'{"b":']),
        (b'\xff\n{"a":1}', [b"\xff", b'{"a":1}']),
    ],
)
def test_records_of_several_ticks_are_cut(payload: bytes, parts: list[bytes] | None) -> None:
    """Arrays and lines are cut where an object is among them, each part with its own bytes; the rest is left whole."""
    record = RecordOfShard(payload, "key", "7", 0, ARRIVED_MS)
    assert parts_of(payload) == (parts or [payload])
    assert [(part.data, part.record_index, part.position) for part in unpack(record)] == [
        (part, index, record.position) for index, part in enumerate(parts or [])
    ]


def test_what_is_no_tick_is_quarantined() -> None:
    """A record that breaks the contract is kept aside and changes nothing else."""
    good = records(at(0, 10), at(1, 11))
    bad = [Record(b"{", ARRIVED_MS), Record(b'{"symbol":"A","price":-1}', ARRIVED_MS)]
    expected = expect([good[0], bad[0], bad[1], good[1]])
    assert expected.quarantined == [record.payload for record in bad]
    assert expected.ticks == expect(good).ticks


def test_rows_of_a_known_series() -> None:
    """Averages, bands, z-score and change of 1, 2, ... 22 are what a pocket calculator says."""
    expected = expect(records(*(at(second, second + 1, previous_close=1) for second in range(22))))
    row = list(expected.ticks.values())[-1]
    assert row["sma_5"] == 20
    assert row["sma_20"] == Decimal("12.5")
    assert row["bollinger_upper"] == Decimal("24.032562595")  # 12.5 + 2·√33.25
    assert row["bollinger_lower"] == Decimal("0.967437405")
    assert row["change"] == 21
    assert row["change_percent"] == 2100
    assert row["trend"] == "up"
    assert row["z_score"] == Decimal("-0.607214")  # of 1/21 against 1, 1/2, ... 1/20


def test_alerts_and_cooldown_of_a_known_series() -> None:
    """Moves beyond five per cent fire at their edges; within 300 s of the last one sent they are held back."""
    prices = [(0, 105), (10, 100), (299, 105), (300, 103), (310, 105), (320, 95)]
    expected = expect(records(*(at(second, price, previous_close=100) for second, price in prices)))
    assert [(alert["timestamp"][11:19], alert["direction"]) for alert in expected.alerts.values()] == [
        ("10:00:00", "up"),
        ("10:05:10", "up"),
        ("10:05:20", "down"),
    ]
    assert expected.suppressed == 1
    assert expected.ticks["A", "2023-07-10T10:04:59.000000Z"]["suppressed"] == ["price_move"]


def test_bars_become_ticks() -> None:
    """A bar's close is its price, volumes add up over the day, previous_close is of the day before."""
    ticks = list(bars(DATA / "inda_1min.csv", "INDA"))
    first, second = ticks[:2]
    assert (first["price"], first["volume"], "previous_close" in first) == (Decimal("43.58"), 250, False)
    assert (second["volume"], second["timestamp"]) == (500, "2023-07-10T11:10:00.000000Z")
    next_day = next(index for index, tick in enumerate(ticks) if tick["timestamp"] > "2023-07-11")
    assert ticks[next_day]["previous_close"] == ticks[next_day - 1]["price"]
    assert ticks[next_day]["volume"] < ticks[next_day - 1]["volume"]


def test_real_bars_make_every_rule_fire() -> None:
    """The test data reach all rules but price_level, suppressed alerts, and rows that are no ticks."""
    minutes, days = expect_replay(DATA / "inda_1min.csv", "INDA"), expect_replay(DATA / "sp500_daily.csv")
    fired = {alert["rule"] for alert in (*minutes.alerts.values(), *days.alerts.values())}
    assert fired == {"sma_cross", "price_move", "z_score", "bollinger", "volume_spike", "unusual"}
    assert minutes.suppressed > 0
    assert (len(minutes.ticks), len(minutes.quarantined)) == (3500, 0)
    assert (len(days.ticks), len(days.quarantined)) == (9941, 59)


# --- the comparison -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected() -> Expected:
    """A small run with everything in it: alerts, a suppressed one, a duplicate, a conflict, a late tick, quarantine."""
    moves = [(0, 105), (10, 100), (20, 105), (400, 100), (500, 95)]
    ticks = [at(second, price, previous_close=100, volume=second, source="x") for second, price in moves]
    ticks += [at(500, 95), at(500, 96), at(450, 99)]
    return expect([*records(*ticks), Record(b"{\xff", ARRIVED_MS)])


@pytest.fixture
def export(tmp_path: Path, expected: Expected) -> Path:
    """An export that is as it must be."""
    write_export(tmp_path, expected)
    return tmp_path


_ORIGIN = {
    "shard_id": "shardId-000000000000",
    "sequence_number": "1",
    "sub_sequence_number": 0,
    "arrived_at": "2023-07-10T14:40:00.000000Z",
}


def write_export(directory: Path, expected: Expected) -> None:
    """Write an export that agrees with ``expected``."""
    rows = [row | _ORIGIN | {"expires_at": 1_691_592_000} for row in expected.ticks.values()]
    alerts = [
        alert | {"status": "sent", "published_at": "now", "expires_at": 1, "message": f"{alert['symbol']} moved"}
        for alert in expected.alerts.values()
    ]
    rejects = [
        _ORIGIN
        | {"record_index": None, "reason": "bad", "partition_key": "A", "data": base64.b64encode(payload).decode()}
        for payload in expected.quarantined
    ]
    write_lines(directory / "ticks.jsonl", rows)
    write_lines(directory / "alerts.jsonl", alerts)
    write_lines(directory / "messages.jsonl", alerts)
    write_lines(directory / "quarantine.jsonl", rejects)
    raw, ticks, quarantine = (
        directory / "s3" / name
        for name in (
            "raw-data/dt=2023-07-10/hour=14/a.json.gz",
            "ticks/dt=2023-07-10/hour=14/a.parquet",
            "quarantine/dt=2023-07-10/a.json.gz",
        )
    )
    for path in (raw, ticks, quarantine):
        path.parent.mkdir(parents=True)
    raw.write_bytes(gzip.compress(b"".join(payload + b"\n" for payload in expected.archived)))
    quarantine.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rejects).encode()))
    archived = [row | _ORIGIN for row in expected.conflicts] + rows
    table = pa.table({name: [row.get(name) for row in archived] for name in {name for row in archived for name in row}})
    archived_names = {"sma_5": "sma_fast", "sma_20": "sma_slow"}
    pq.write_table(table.rename_columns([archived_names.get(name, name) for name in table.column_names]), ticks)


def write_lines(path: Path, rows: list[Row]) -> None:
    """Write rows as JSON lines, decimals as they are."""
    path.write_text("".join(_json_line(row) for row in rows))


def _json_line(row: Row) -> str:
    return payload_of(row).decode() + "\n"


def test_what_is_as_expected_passes(export: Path, expected: Expected) -> None:
    """An export that says what the oracle says has no differences."""
    compare(export, expected)


def _change_lines(name: str, change: Callable[[list[Row]], object]) -> Callable[[Path], None]:
    def apply(export: Path) -> None:
        path = export / name
        rows = [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]
        change(rows)
        write_lines(path, rows)

    return apply


def _change_gzip(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(export: Path) -> None:
        (path,) = (export / "s3" / name).rglob("*.gz")
        path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))

    return apply


def _change_parquet(change: Callable[[list[Row]], object]) -> Callable[[Path], None]:
    def apply(export: Path) -> None:
        (path,) = (export / "s3" / "ticks").rglob("*.parquet")
        schema, rows = pq.read_schema(path), pq.read_table(path).to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema), path)

    return apply


HARM: dict[str, tuple[Callable[[Path], None], str]] = {
    "a row is missing": (_change_lines("ticks.jsonl", list.pop), "ticks.jsonl: missing (1)"),
    "a row too many": (
        _change_lines("ticks.jsonl", lambda rows: rows.append(rows[0] | {"symbol": "B"})),
        "ticks.jsonl: not expected (1)",
    ),
    "a row twice": (_change_lines("ticks.jsonl", lambda rows: rows.append(rows[0])), "share a key"),
    "a number differs": (
        _change_lines("ticks.jsonl", lambda rows: rows[1].update(change_percent=Decimal("0.000001"))),
        "change_percent is 0.000001, expected 0",
    ),
    "an attribute too many": (
        _change_lines("ticks.jsonl", lambda rows: rows[0].update(sma_5=100)),
        "sma_5 is 100, expected absent",
    ),
    "an attribute is missing": (
        _change_lines("ticks.jsonl", lambda rows: rows[0].pop("source")),
        "source is absent, expected x",
    ),
    "no origin": (_change_lines("ticks.jsonl", lambda rows: rows[0].pop("shard_id")), "lacks shard_id"),
    "a wrong expiry": (_change_lines("ticks.jsonl", lambda rows: rows[0].update(expires_at=1)), "expires"),
    "an alert is missing": (_change_lines("alerts.jsonl", list.pop), "alerts.jsonl: missing (1)"),
    "an alert not sent": (
        _change_lines("alerts.jsonl", lambda rows: rows[0].update(status="pending")),
        "not marked as sent",
    ),
    "an alert's value": (_change_lines("alerts.jsonl", lambda rows: rows[0].update(value=6)), "value is 6"),
    "a message is missing": (_change_lines("messages.jsonl", list.pop), "messages.jsonl (against"),
    "a message twice": (
        _change_lines("messages.jsonl", lambda rows: rows.append(rows[0])),
        "delivered more than once (1)",
    ),
    "a message says otherwise": (
        _change_lines("messages.jsonl", lambda rows: rows[0].update(price=1)),
        "price is 1",
    ),
    "a payload is missing": (
        _change_gzip("raw-data", lambda lines: lines[lines.index(b"\n") + 1 :]),
        "s3/raw-data: missing (1)",
    ),
    "a payload twice": (
        _change_gzip("raw-data", lambda lines: lines + lines[: lines.index(b"\n") + 1]),
        "s3/raw-data: too many (1)",
    ),
    "a payload changed": (_change_gzip("raw-data", lambda lines: lines.replace(b"105", b"105.0")), "s3/raw-data"),
    "quarantine is missing": (_change_gzip("quarantine", lambda _: b""), "s3/quarantine: missing (1)"),
    "quarantine without a reason": (
        _change_gzip("quarantine", lambda lines: lines.replace(b'"bad"', b'""')),
        "without their reason",
    ),
    "quarantine is not exported": (_change_lines("quarantine.jsonl", list.clear), "quarantine.jsonl"),
    "an archived row is missing": (_change_parquet(list.pop), "s3/ticks (against ticks.jsonl): missing (1)"),
    "an archived row twice": (
        _change_parquet(lambda rows: rows.append(rows[1])),
        "s3/ticks: rows in more than one place (1)",
    ),
    "an archived number became null": (
        _change_parquet(lambda rows: rows[1].update(change_percent=None)),
        "change_percent is absent",
    ),
    "a conflict is not archived": (_change_parquet(lambda rows: rows.pop(0)), "s3/ticks, conflicts: missing (1)"),
    "a conflict is not flagged": (
        _change_parquet(lambda rows: rows[0].update(conflict=None)),
        "s3/ticks: rows in more than one place (1)",
    ),
}


@pytest.mark.parametrize(("harm", "words"), HARM.values(), ids=HARM.keys())
def test_every_difference_is_found(export: Path, expected: Expected, harm: Callable[[Path], None], words: str) -> None:
    """Whatever an export lacks, has too much or says otherwise is told, in words that name it."""
    harm(export)
    with pytest.raises(AssertionError) as failure:
        compare(export, expected)
    assert words in str(failure.value)


TALLIES: dict[str, Tally] = {
    "a row is missing": Tally(rows_lost=1),
    "a row too many": Tally(rows_doubled=1),
    "a number differs": Tally(rows_wrong=1),
    "an alert is missing": Tally(alerts_lost=1),
    "an alert's value": Tally(alerts_wrong=1),
    "a message is missing": Tally(messages_lost=1),
    "a message twice": Tally(messages_repeated=1),
    "a payload is missing": Tally(archive_records_lost=1),
    "a payload twice": Tally(archive_records_doubled=1),
    "quarantine is missing": Tally(archive_records_lost=1),
    "an archived row is missing": Tally(archive_records_lost=1),
    "an archived row twice": Tally(archive_records_doubled=1),
}


@pytest.mark.parametrize("harm", TALLIES)
def test_every_loss_is_counted(export: Path, expected: Expected, harm: str) -> None:
    """What is lost or doubled is counted where it belongs; only a repeated message leaves a run perfect."""
    assert tally(export, expected) == Tally()
    HARM[harm][0](export)
    counted = tally(export, expected)
    assert counted == TALLIES[harm]
    assert counted.is_perfect == (harm == "a message twice")


def test_a_repeated_message_can_be_allowed(export: Path, expected: Expected) -> None:
    """Where a process was killed, an alert may come twice; it may not where none was."""
    HARM["a message twice"][0](export)
    compare(export, expected, repeats_allowed=True)
    assert differences(export, expected, same_bytes=True)


def test_an_object_under_a_strange_key_is_found(export: Path, expected: Expected) -> None:
    """Objects that are not where the design puts them do not pass."""
    shutil.move(export / "s3" / "ticks", export / "s3" / "tick")
    with pytest.raises(AssertionError, match="neither raw data nor ticks nor quarantine"):
        compare(export, expected)


def test_replayed_payloads_need_the_same_meaning_only(export: Path, expected: Expected) -> None:
    """Where the product wrote the payloads itself, 105.0 is as good as 105, but 106 is not."""
    _change_gzip("raw-data", lambda lines: lines.replace(b"105", b"105.0"))(export)
    expected = Expected(**vars(expected) | {"quarantined": [b"{}"]})
    _change_gzip("quarantine", lambda lines: lines.replace(base64.b64encode(b"{\xff"), base64.b64encode(b"{}")))(export)
    _change_lines("quarantine.jsonl", lambda rows: rows[0].update(data=base64.b64encode(b"{}").decode()))(export)
    assert differences(export, expected, same_bytes=False) == []
    _change_gzip("raw-data", lambda lines: lines.replace(b"105.0", b"106"))(export)
    assert differences(export, expected, same_bytes=False)


def test_a_person_can_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command exits with 0 when all is equal, and with 1 and the differences when it is not."""
    file = tmp_path / "bars.csv"
    file.write_text("Date,Close,Volume,Name\n2023-07-10,100,5,A\n2023-07-11,106,6,A\n")
    export = tmp_path / "out"
    export.mkdir()
    write_export(export, expect_replay(file))
    monkeypatch.setattr("sys.argv", ["oracle", str(file), str(export)])
    assert main() == 0
    assert capsys.readouterr().out == "equal: 2 ticks, 1 alerts, 0 suppressed, 0 in quarantine\n"
    (export / "messages.jsonl").write_text("")
    assert main() == 1
    assert "messages.jsonl" in capsys.readouterr().out
