"""SQL over what a shard's process archived into moto's S3: exact, read-only, and of the time that was asked for."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from consumer.config import ShardConfig
from desk import athena, sql
from desk.system import System
from tests.functional.shard_process import START, Stores, batch, config, in_batches, quote, record, run, stores
from tests.functional.shard_process import ticks as records_of_two

__all__ = ["config", "stores"]  # fixtures

Rows = list[tuple[Any, ...]]


@pytest.fixture
def system(config: ShardConfig) -> System:
    """The system whose shard is processed."""
    return System(
        is_local=False, stream="stream", ticks_table="ticks", alerts_table="alerts", application="a", bucket="archive"
    )


@pytest.fixture
def archived(config: ShardConfig) -> Iterator[None]:
    """Two minutes of two symbols, a price of many digits, odd payloads, and a record that is no tick."""
    odd = [
        b'{"symbol":"ODD","price":1234567890.123456789,"timestamp":"2026-11-20T14:32:00Z","note":"\\u00e9\\ttab"}',
        b'{"symbol":"ODD","price":1.10,"price":2.50,"Price":9,"timestamp":"2026-11-20T14:32:01Z","volume":7}',
        b"nonsense",
    ]
    later = [record(data, 130 + number, START + timedelta(seconds=125)) for number, data in enumerate(odd)]
    last = record(quote(1, START + timedelta(hours=1)), 200, START + timedelta(hours=1))
    run(config, *in_batches(records_of_two(120), 60), batch(later), batch([last]))
    return iter(())


def _ask(system: System, query: str, since: str | None = None, until: str | None = None) -> Rows:
    with sql.ask(system, query, since, until) as answer:
        return list(answer.rows)


def test_ticks_are_the_rows_with_all_their_digits(system: System, stores: Stores, archived: None) -> None:
    """What SQL says of ticks equals the table's rows, decimals to the last digit."""
    query = 'SELECT symbol, "timestamp", price, sma_slow, anomalies FROM ticks ORDER BY 1, 2'
    expected = [
        (symbol, timestamp, row["price"], row.get("sma_20"), sorted(row.get("anomalies", ())))
        for (symbol, timestamp), row in sorted(stores.rows().items())
        if not timestamp.startswith("2026-11-20T15:30")
    ]
    assert len(expected) == 122
    assert [(*row[:4], sorted(row[4])) for row in _ask(system, query)] == expected
    ((total,),) = _ask(system, "SELECT max(price) FROM ticks")
    assert total == Decimal("1234567890.123456789")


def test_partitions_are_columns(system: System, archived: None) -> None:
    """The day and the hour of arrival are columns of their types, as in Athena."""
    (row,) = _ask(system, "SELECT DISTINCT dt, hour FROM ticks WHERE dt >= DATE '2026-11-20' AND hour = 14")
    assert row == (date(2026, 11, 20), 14)


def test_raw_data_is_text_as_it_was_received(system: System, archived: None) -> None:
    """Numbers keep the digits that were sent; of a name that comes twice the last counts; the payload is there, too."""
    query = "SELECT symbol, price, volume, payload->>'note' FROM raw_data WHERE symbol = 'ODD' ORDER BY \"timestamp\""
    assert _ask(system, query) == [("ODD", "1234567890.123456789", None, "é\ttab"), ("ODD", "2.50", "7", None)]
    assert _ask(system, "SELECT count(*), count(hour), count(dt) FROM raw_data") == [(122, 122, 122)]


def test_quarantine_has_reasons_and_bytes(system: System, archived: None) -> None:
    """What is no tick is a row with its reason, and its bytes in base64."""
    query = "SELECT reason, sub_sequence_number, decode(from_base64(data)), dt FROM quarantine"
    ((reason, sub, data, day),) = _ask(system, query)
    assert "JSON" in reason
    assert (sub, data, day) == (0, "nonsense", date(2026, 11, 20))


def test_tables_can_be_joined(system: System, archived: None) -> None:
    """Each table that a query names is there, in sub-queries and common table expressions, too."""
    query = """
        WITH prices AS (SELECT symbol, max(price) AS highest FROM Ticks GROUP BY symbol)
        SELECT symbol, highest, (SELECT count(*) FROM quarantine) FROM prices JOIN raw_data USING (symbol)
        WHERE symbol = 'ODD'
    """
    assert _ask(system, query) == [("ODD", Decimal("1234567890.123456789"), 1)] * 2


def test_time_picks_objects(system: System, archived: None) -> None:
    """Bounds of arrival leave out objects; those whose window might reach into the time are read."""
    count = "SELECT count(*) FROM ticks"
    assert _ask(system, count, since="2026-11-20T15:31:00.000000Z") == [(62,)]
    assert _ask(system, count, until="2026-11-20T14:30:59.000000Z") == [(60,)]
    with pytest.raises(UserError, match="no ticks in the archive of this time"):
        _ask(system, count, since="2026-12-20T00:00:00.000000Z")


def test_no_quarantine_is_an_empty_table(system: System, config: ShardConfig) -> None:
    """Where nothing was amiss, questions after it are answered with nothing; so are those after what was received."""
    run(config, *in_batches(records_of_two(61), 61))
    assert _ask(system, "SELECT count(*) FROM quarantine, ticks WHERE quarantine.dt = ticks.dt") == [(0,)]
    assert _ask(system, "SELECT symbol, payload, hour FROM raw_data", until="2026-11-19T00:00:00.000000Z") == []


def test_bars_are_a_table_when_there_are_some(system: System) -> None:
    """Bars are read from their folder, whatever columns the versions that wrote them gave them."""
    with pytest.raises(UserError, match="no bars in the archive"):
        _ask(system, "SELECT * FROM bars")
    files: dict[str, dict[str, list[Any]]] = {
        "2026-11-19": {"symbol": ["A"]},
        "2026-11-20": {"symbol": ["B"], "close": [Decimal("1.5")]},
    }
    for day, columns in files.items():
        file = BytesIO()
        pq.write_table(pa.table(columns), file)
        boto3.client("s3").put_object(Bucket="archive", Key=f"bars/dt={day}/x.parquet", Body=file.getvalue())
    query = "SELECT symbol, close, dt FROM bars ORDER BY symbol"
    assert _ask(system, query) == [("A", None, date(2026, 11, 19)), ("B", Decimal("1.5"), date(2026, 11, 20))]
    assert len(_ask(system, query, since="2026-11-20T12:00:00.000000Z")) == 1


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 1", "names no table: there are ticks, raw_data, quarantine, bars"),
        ("SELECT * FROM tick", "names no table"),
        ("SELECT * FROM read_csv('/etc/passwd')", "names no table"),
        ("SELECT * FROM query('SELECT 1 FROM ticks')", "names no table"),
        ("SHOW TABLES", "names no table"),
        ("INSERT INTO ticks VALUES (1)", "only one SELECT"),
        ("DELETE FROM ticks", "only one SELECT"),
        ("CREATE TABLE x AS SELECT * FROM ticks", "only one SELECT"),
        ("COPY (SELECT * FROM ticks) TO '/tmp/x.csv'", "only one SELECT"),
        ("SELECT * FROM ticks; DROP TABLE ticks", "only one SELECT"),
        ("ATTACH 'x.db'", "only one SELECT"),
        ("SET threads = 1", "only one SELECT"),
        ("INSTALL httpfs", "only one SELECT"),
        ("PRAGMA version", "only one SELECT"),
        ("", "only one SELECT"),
        ("SELEC symbol FROM ticks", "cannot be read: syntax error at or near"),
    ],
)
def test_what_is_no_question_is_refused(query: str, reason: str) -> None:
    """What writes, names no table or is no SQL gets one line, before anything is read."""
    with pytest.raises(UserError, match=reason) as refusal:
        sql.tables_in(query)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT * FROM ticks -- ; DELETE FROM bars", ["ticks"]),
        ("FROM main.Ticks LIMIT 1;", ["ticks"]),
        ("SUMMARIZE raw_data", ["raw_data"]),
        (
            "SELECT (SELECT count(*) FROM bars) FROM quarantine UNION ALL SELECT 1 FROM ticks",
            ["ticks", "quarantine", "bars"],
        ),
        ("SELECT 'ticks' FROM bars", ["bars"]),
    ],
)
def test_tables_are_those_that_a_query_names(query: str, tables: list[str]) -> None:
    """Only the objects of tables that a query really reads are fetched."""
    assert sql.tables_in(query) == tables


def test_a_query_reads_nothing_but_the_archive(system: System, archived: None) -> None:
    """Files and addresses are out of reach, and what DuckDB has to say is one line."""
    for query, reason in {
        "SELECT * FROM ticks, read_text('/etc/hostname')": "disabled by configuration",
        "SELECT * FROM ticks, glob('/etc/*')": "disabled by configuration",
        "SELECT * FROM ticks, 'https://example.com/x.parquet'": "disabled by configuration|httpfs|not exist",
        "SELECT nothing FROM ticks": '"nothing" not found',
        "SELECT symbol::INT FROM ticks": "Could not convert",
        "SELECT * FROM ticks JOIN tock USING (symbol)": "tock does not exist",
    }.items():
        with pytest.raises(UserError, match=reason) as refusal:
            _ask(system, query)
        assert "\n" not in str(refusal.value)


def test_nothing_is_left_behind(
    system: System, archived: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of objects are gone after the answer, and after a failure."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with sql.ask(system, "SELECT * FROM ticks") as answer:
        assert next(answer.rows)
        assert list(tmp_path.glob("tickertape-sql-*/ticks/dt=2026-11-20/hour=14/*.parquet"))
    with pytest.raises(UserError):
        _ask(system, "SELECT nothing FROM ticks")
    assert not list(tmp_path.iterdir())


def test_too_much_is_refused(system: System, archived: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would fill the disk is told, with how to ask for less, before any of it is read."""
    monkeypatch.setattr(sql, "_MOST_BYTES", 100)
    with pytest.raises(UserError, match=r"3 objects of 0.0 GB.*--since.*--athena"):
        _ask(system, "SELECT * FROM ticks")


def test_columns_of_one_name_are_told_apart(system: System, archived: None) -> None:
    """Formats that name values would else lose some."""
    with sql.ask(system, "SELECT price, price, symbol, price FROM ticks LIMIT 1") as answer:
        assert answer.names == ["price", "price_1", "symbol", "price_2"]


@pytest.fixture
def workgroup(config: ShardConfig) -> str:
    """Athena's workgroup in moto, with a result for the next query."""
    boto3.client("athena").create_work_group(
        Name="tickertape", Configuration={"ResultConfiguration": {"OutputLocation": "s3://archive/athena-results/"}}
    )
    return "tickertape"


def _next_result(rows: list[list[Any]], kinds: list[str]) -> None:
    from moto.athena.models import QueryResults, athena_backends

    data = [{"Data": [{} if text is None else {"VarCharValue": text} for text in row]} for row in rows]
    columns = [{"Name": name, "Type": kind} for name, kind in zip(rows[0], kinds, strict=True)]
    backend = athena_backends["123456789012"]["eu-central-1"]
    backend.query_results_queue.append(QueryResults(rows=data, column_info=columns))


def test_athena_answers_within_the_workgroup(workgroup: str) -> None:
    """The query runs in the workgroup on the catalog, and values have their types, decimals all their digits."""
    _next_result(
        [["symbol", "price", "volume", "late", "dt"], ["KO", "65.140000001", "7", "true", "2026-11-20"], [None] * 5],
        ["varchar", "decimal", "bigint", "boolean", "date"],
    )
    answer = athena.ask("SELECT * FROM ticks", workgroup)
    assert answer.names == ["symbol", "price", "volume", "late", "dt"]
    assert list(answer.rows) == [("KO", Decimal("65.140000001"), 7, True, date(2026, 11, 20)), (None,) * 5]
    client = boto3.client("athena")
    (execution_id,) = client.list_query_executions(WorkGroup=workgroup)["QueryExecutionIds"]
    execution = client.get_query_execution(QueryExecutionId=execution_id)["QueryExecution"]
    assert execution["QueryExecutionContext"]["Database"] == "tickertape"
    assert json.loads(json.dumps(execution["Query"])) == "SELECT * FROM ticks"


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO ticks VALUES (1)",
        "UNLOAD (SELECT 1) TO 's3://x'",
        "/* SELECT */ DROP TABLE ticks",
        "SELECT 1; SELECT 2",
        "",
    ],
)
def test_athena_is_not_asked_to_write(query: str) -> None:
    """What does not begin as a question, or are several statements, does not get as far as Athena."""
    with pytest.raises(UserError, match="only one SELECT"):
        athena.ask(query, "nowhere")


@pytest.mark.parametrize(
    "query", ["SELECT ';' AS x FROM ticks;", "-- why\n(SELECT 1)", "with x as (select 1) select 1"]
)
def test_questions_may_come_in_any_form(workgroup: str, query: str) -> None:
    """Comments, brackets, lower case and a semicolon at the end are no reason to refuse."""
    _next_result([["x"], ["1"]], ["varchar"])
    assert list(athena.ask(query, workgroup).rows) == [("1",)]


def test_ctrl_c_ends_a_long_query() -> None:
    """DuckDB itself would go on until it has the answer."""
    with sql._database() as database:
        database.execute("CREATE TABLE ticks AS SELECT range AS x FROM range(300000)")
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            sql._answer(database, "SELECT count(*) FROM ticks a, ticks b, ticks c WHERE a.x * b.x > c.x")


def test_ctrl_c_ends_a_query_that_has_not_begun() -> None:
    """An interrupt of DuckDB is forgotten while it has nothing to do, and the query would run for ever."""

    def ask() -> object:
        time.sleep(1.5)
        return database.execute("SELECT count(*) FROM ticks a, ticks b, ticks c WHERE a.x * b.x > c.x")

    with sql._database() as database:
        database.execute("CREATE TABLE ticks AS SELECT range AS x FROM range(300000)")
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            sql._interruptible(database, ask)
