"""What the stack's Glue tables and named queries make of an archive that the consumer has written."""

import base64
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any, NamedTuple
from unittest.mock import patch

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from common.tick import Tick
from consumer.config import ShardConfig
from consumer.rule_settings import read_with_numbers
from consumer.settings import ConsumerSettings
from infra.local.processes import Child, await_line
from infra.local.stack import Stack, deploy, use_endpoint
from infra.templates import STACK, Template
from tests.bad_records import NOT_TICKS
from tests.functional.shard_process import Stores, batch, quote, record, run
from tests.trino import server

pytestmark = pytest.mark.timeout(1200)  # the first time, Trino is fetched

DATABASE = "tickertape"
WINDOWS = {"sma_3": "sma_fast", "sma_7": "sma_slow"}
QUERIES = {name: query["QueryString"] for name, query in Template(STACK).of_type("Athena::NamedQuery").items()}
TEXTS = {"symbol", "timestamp", "source"}
ODD = {
    "a derived field that is an object": b'"change":{"a":1},"change_percent":[1]',
    "derived fields that are text": b'"change":"much","change_percent":"more"',
    "symbol in other letters": b'"Symbol":"Apple Inc."',
    "all in other letters": b'"PRICE":{},"Volume":[1],"Timestamp":1,"SOURCE":2,"Open":"x"',
    "price twice": b'"price":187.25',
    "price four times": b'"price":1,"price":2e0,"price":2.5',
    "volume twice and once in other letters": b'"Volume":1000,"volume":999,"volume":1000',
    "an unknown field twice": b'"x":1,"x":{"y":2,"y":3,"Y":4}',
    "volume a float": b'"volume":1500.5',
    "volume with an exponent": b'"volume":1e18',
    "volume at its limit": b'"volume":9223372036854775807',
    "volume next to nothing": b'"volume":1e-999999999',
    "prices not known": b'"open":0,"high":0.0,"low":null,"previous_close":-0',
    "prices with all digits": b'"open":0.000000001,"high":9199999999.999999999,"low":1e-9,"previous_close":1E+9',
    "text with everything in it": '"source":"\\u0000\\ud83d\\ude00é \\" \\\\ \\/ \\n\u2028\u0085 // /* #"'.encode(),
    "an unknown number of 5,000 digits": b'"x":' + b"9" * 5000 + b',"y":-1e999999999,"z":1e-999999999',
    "an unknown field deep inside": b'"x":' + b'[{"a":' * 200 + b"null" + b"}]" * 200,
    "names that are none": b'"":1,"a.b":2,"null":3,"dt":4,"hour":"x","$path":5,"mapping.x":6,"e\xcc\x81":7',
    "a long field": b'"x":"' + b"j" * 60_000 + b'"',
    "line breaks between": b'\r\n"x"\n:\r1\n',
}
"""Fields of ticks that the consumer accepts, after symbol, timestamp and price, by what is odd about them."""


class Archive(NamedTuple):
    """What was sent, and who answers questions about what became of it."""

    payloads: list[bytes]
    stack: Stack
    stores: Stores
    trino: server.Trino


@pytest.fixture(scope="module")
def command() -> list[str]:
    """What starts Trino."""
    try:
        return server.command()
    except UserError as error:
        pytest.exit(str(error), 1)


@pytest.fixture(scope="module")
def archive(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The archive of a window of today, with the stack's catalog over it."""
    folder = tmp_path_factory.mktemp("athena")
    aws = Child("embedded-aws", [sys.executable, "-m", "infra.local.embedded_aws"], folder)
    try:
        with patch.dict(os.environ):
            url = await_line(aws, 60)
            use_endpoint(url)
            stack = deploy(1)
            _create_catalog(stack)
            config, payloads = _config(stack), _payloads(datetime.now(UTC) - timedelta(minutes=5))
            _consume(config, payloads)
            with server.running(command, folder, url, DATABASE) as trino:
                yield Archive(payloads, stack, Stores(config, stack.queue_url), trino)
    finally:
        aws.kill()


def _create_catalog(stack: Stack) -> None:
    """Do what CloudFormation does and moto's passes over."""
    glue = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": DATABASE})
    for table in _table_inputs(stack).values():
        glue.create_table(DatabaseName=DATABASE, TableInput=table)


def _table_inputs(stack: Stack) -> dict[str, Any]:
    template = Template(STACK, {"ArchiveBucketName": stack.archive_bucket})
    inputs = (table["TableInput"] for table in template.of_type("Glue::Table").values())
    return {table["Name"]: table for table in inputs}


def _config(stack: Stack) -> ShardConfig:
    os.environ.update(stack.environment())
    flags = ["--archive-seconds=60", "--sma-fast=3", "--sma-slow=7"]
    return read_with_numbers(ConsumerSettings, flags, "consume").shard_config()


def _payloads(start: datetime) -> list[bytes]:
    """Accepted ticks, odd ones among them; some come twice, and the last comes late."""
    waves = [
        quote(100 + number % 7 + 50 * (number % 10 == 9), start + timedelta(seconds=number), "MSFT", previous_close=100)
        for number in range(40)
    ]
    odd = [
        quote(187.23, start + timedelta(seconds=number))[:-1] + b"," + fields + b"}"
        for number, fields in enumerate(ODD.values())
    ]
    bare = [b'{"symbol":"bare","price":1}', b' {"price":2,"symbol":"null","timestamp":null,"source":null} ']
    late = quote(99, start - timedelta(hours=1), "msft", volume=10)
    return [*waves, *odd, *bare, *waves[:3], odd[0], late]


def _consume(config: ShardConfig, payloads: list[bytes]) -> None:
    """Have the process of a shard take them, and what is no tick, in one window; the record after it completes it."""
    window = datetime.now(UTC).replace(second=0, microsecond=0)
    sent = [*payloads, *(payload for payload, _ in NOT_TICKS.values())]
    records = [record(payload, number, window) for number, payload in enumerate(sent)]
    after = window + timedelta(minutes=1)
    run(config, batch([*records, record(quote(1, after, "AFTER"), len(records), after)]))


def test_what_was_received_can_be_read(archive: Archive) -> None:
    """Each accepted tick is a row that says what was sent, the last of a doubled field, and nothing of other fields."""
    found = archive.trino.query("SELECT * FROM raw_data WHERE dt = current_date")
    fields = Tick.__struct_fields__
    sent = [json.loads(payload, parse_float=Decimal, parse_int=Decimal) for payload in archive.payloads]
    assert len(sent) > 60
    assert Counter(_received(row, fields) for row in found) == Counter(_received(row, fields) for row in sent)


def _received(row: dict[str, Any], fields: tuple[str, ...]) -> tuple[Any, ...]:
    values = {name: row.get(name) for name in fields}
    return tuple(v if v is None or name in TEXTS else Decimal(v) for name, v in values.items())


def test_ticks_are_the_rows_of_the_table(archive: Archive) -> None:
    """Every column of every tick is what DynamoDB has, whatever the windows' sizes are."""
    found = archive.trino.query("SELECT * FROM ticks WHERE dt = current_date")
    rows = {key: row for key, row in archive.stores.rows().items() if row["symbol"] != "AFTER"}
    assert {"sma_3", "sma_7", "bollinger_upper", "anomalies", "late", "volume"} <= {
        name for r in rows.values() for name in r
    }
    assert len(found) == len(rows)
    for row in found:
        item = rows[row["symbol"], row["timestamp"]]
        expected = {WINDOWS.get(name, name): value for name, value in item.items()}
        del row["dt"], row["hour"]
        assert {
            name: _like(expected.get(name), value) for name, value in row.items() if value not in (None, [])
        } == expected


def _like(expected: object, value: Any) -> object:  # noqa: ANN401  (a column's value)
    """Give a value that Trino's JSON tells in the type that DynamoDB's has."""
    if isinstance(expected, Decimal):
        return Decimal(value)
    return set(value) if isinstance(expected, set) else value


def test_quarantine_can_be_read(archive: Archive) -> None:
    """Each record that is no tick is there with its reason and bytes."""
    found = archive.trino.query("SELECT * FROM quarantine WHERE dt = current_date")
    assert Counter(base64.b64decode(row["data"]) for row in found) == Counter(data for data, _ in NOT_TICKS.values())
    assert all(row["reason"] and row["partition_key"] == "key" and row["arrived_at"] for row in found)


@pytest.mark.parametrize("name", QUERIES)
def test_named_queries_have_an_answer(archive: Archive, name: str) -> None:
    """Every query that the stack saves finds something."""
    assert archive.trino.query(QUERIES[name])


def test_named_queries_count_right(archive: Archive) -> None:
    """Queries that count agree with what was sent and with DynamoDB."""
    rows = archive.stores.rows().values()
    bars = archive.trino.query(QUERIES["MinuteBarsQuery"])
    assert sum(bar["ticks"] for bar in bars) == sum(row["symbol"] == "AAPL" for row in rows) == len(ODD)
    for name, attribute in (("fired", "anomalies"), ("suppressed", "suppressed")):
        counted = Counter(rule for row in rows for rule in row.get(attribute, ()))
        told = {row["rule"]: row[name] for row in archive.trino.query(QUERIES["AnomaliesQuery"]) if row[name]}
        assert told == counted
    reasons = archive.trino.query(QUERIES["QuarantineQuery"])
    assert sum(row["records"] for row in reasons) == len(NOT_TICKS)
    repeated = archive.trino.query(QUERIES["DuplicatesQuery"])
    assert Counter((row["symbol"], row["times"]) for row in repeated) == {("MSFT", 2): 3, ("AAPL", 2): 1}
    received = archive.trino.query(QUERIES["ReceivedQuery"])
    assert len(received) == len(ODD) + 1
    assert {row["volume"] for row in received} >= {1000, 1500.5, 1e18, 2.0**63, 0}


def test_a_line_that_cannot_be_read_is_an_empty_row(archive: Archive) -> None:
    """Where another engine's SerDe is stricter, as with doubled fields, its table has a row of nulls and no error."""
    key = "raw-data/dt=2025-01-02/hour=03/cut-off.json"
    lines = b'{"symbol":"A","price":1}\n{"symbol":"A","price":\n{"symbol":"A","price":2}\n'
    boto3.client("s3").put_object(Bucket=archive.stack.archive_bucket, Key=key, Body=lines)
    found = archive.trino.query("SELECT price FROM raw_data WHERE dt = DATE '2025-01-02' AND hour = 3")
    assert [row["price"] for row in found] == ["1", None, "2"]


def test_older_archives_can_be_read(archive: Archive) -> None:
    """Files from when averages had their windows' sizes in their names, and bands six decimals, are no error."""
    band = pa.array([Decimal("104.612345")], pa.decimal128(38, 6))
    file = BytesIO()
    pq.write_table(pa.table({"symbol": ["OLD"], "sma_5": band, "bollinger_upper": band}), file)
    key = "ticks/dt=2025-01-02/hour=03/old.parquet"
    boto3.client("s3").put_object(Bucket=archive.stack.archive_bucket, Key=key, Body=file.getvalue())
    (row,) = archive.trino.query("SELECT * FROM ticks WHERE dt = DATE '2025-01-02' AND hour = 3")
    assert (row["symbol"], row["bollinger_upper"], row["sma_fast"]) == ("OLD", "104.612345000", None)


def test_other_columns_would_fail(archive: Archive) -> None:
    """The odd ticks are odd indeed: a table with a number for `change`, and one without the SerDe's settings, fail."""
    received = _table_inputs(archive.stack)["raw_data"]
    storage = received["StorageDescriptor"]
    change = {"Name": "change", "Type": "double"}
    with_number = {**storage, "Columns": [*storage["Columns"], change]}
    without_settings = {**storage, "SerdeInfo": {**storage["SerdeInfo"], "Parameters": {}}}
    for name, other in (("with_number", with_number), ("without_settings", without_settings)):
        boto3.client("glue").create_table(
            DatabaseName=DATABASE, TableInput={**received, "Name": name, "StorageDescriptor": other}
        )
    with pytest.raises(server.QueryError):
        archive.trino.query("SELECT * FROM with_number WHERE dt = current_date")
    found = archive.trino.query("SELECT * FROM without_settings WHERE dt = current_date")
    assert "Apple Inc." in {row["symbol"] for row in found}
