"""The export: exact numbers, the same bytes, and a directory that is checked first."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto import mock_aws

from common.errors import UserError
from infra.local import once
from infra.local.export import Export
from infra.local.stack import Stack, deploy
from infra.local.stores import Stores

OBJECT = "quarantine/dt=2026-01-02/a.json.gz"


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The stack in moto, in this process."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield deploy(shards=1)


def _put_tick(stack: Stack, symbol: str, **attributes: Any) -> None:  # noqa: ANN401  (whatever a table may hold)
    item = {"symbol": {"S": symbol}, "timestamp": {"S": "2026-01-02T00:00:00.000000Z"}, **attributes}
    boto3.client("dynamodb").put_item(TableName=stack.ticks_table, Item=item)


def test_numbers_keep_all_their_digits(stack: Stack, tmp_path: Path) -> None:
    """A number in a table is the same number in the file, digit for digit, and no string."""
    _put_tick(stack, "KO", price={"N": "9199999999.123456789"}, expires_at={"N": "1798848000"})
    Export(tmp_path).finish(Stores(stack, "none"))
    (line,) = (tmp_path / "ticks.jsonl").read_text().splitlines()
    row = json.loads(line, parse_float=Decimal)
    assert row["price"] == Decimal("9199999999.123456789")
    assert row["expires_at"] == 1798848000


def test_sets_and_flags_keep_their_types(stack: Stack, tmp_path: Path) -> None:
    """A set is a sorted list and a flag a boolean."""
    _put_tick(stack, "KO", anomalies={"SS": ["z_score", "bollinger"]}, late={"BOOL": True})
    Export(tmp_path).finish(Stores(stack, "none"))
    row = json.loads((tmp_path / "ticks.jsonl").read_text())
    assert (row["anomalies"], row["late"]) == (["bollinger", "z_score"], True)


def test_objects_are_written_under_their_keys(stack: Stack, tmp_path: Path) -> None:
    """Each object is a file of the same bytes, and quarantined records are lines of their own as well."""
    body = gzip.compress(b'{"reason":"a"}\n{"reason":"b"}\n')
    boto3.client("s3").put_object(Bucket=stack.archive_bucket, Key=OBJECT, Body=body)
    Export(tmp_path).finish(Stores(stack, "none"))
    assert (tmp_path / "s3" / OBJECT).read_bytes() == body
    assert (tmp_path / "quarantine.jsonl").read_text() == '{"reason":"a"}\n{"reason":"b"}\n'


def test_messages_are_written_as_they_come(stack: Stack, tmp_path: Path) -> None:
    """Messages keep their order and their numbers, and a second delivery is a second line."""
    export = Export(tmp_path)
    export.add_messages([{"symbol": "KO", "value": Decimal("4.100000")}])
    export.add_messages([{"symbol": "KO", "value": Decimal("4.100000")}])
    export.finish(Stores(stack, "none"))
    assert (tmp_path / "messages.jsonl").read_text() == '{"symbol":"KO","value":4.100000}\n' * 2


def test_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    """Objects and messages of an earlier run do not mix with the new one's."""
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "old").touch()
    (tmp_path / "messages.jsonl").write_text("old\n")
    Export(tmp_path)
    assert not (tmp_path / "s3").exists()
    assert (tmp_path / "messages.jsonl").read_text() == ""


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """A directory with something else in it is refused before anything is written."""
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="choose another"):
        Export(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file in the directory's place is an error for people."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        Export(tmp_path / "file" / "out")


def test_counts_come_from_tables_and_bucket(stack: Stack) -> None:
    """Stored, late and suppressed are counted from rows; the rest from the bucket."""
    _put_tick(stack, "KO", late={"BOOL": True})
    _put_tick(stack, "PEP", suppressed={"SS": ["z_score", "bollinger"]})
    body = gzip.compress(b"{}\n{}\n{}\n")
    boto3.client("s3").put_object(Bucket=stack.archive_bucket, Key=OBJECT, Body=body)
    boto3.client("s3").put_object(Bucket=stack.archive_bucket, Key="raw-data/dt=1/a.json.gz", Body=body)
    for name, columns in (
        ("a", {"conflict": [True, None, None], "late": [None, None, True]}),
        ("old", {"price": [1.0]}),
    ):
        parquet = BytesIO()
        pq.write_table(pa.table(columns), parquet)
        key = f"ticks/dt=1/{name}.parquet"
        boto3.client("s3").put_object(Bucket=stack.archive_bucket, Key=key, Body=parquet.getvalue())
    boto3.client("s3").put_object(Bucket=stack.archive_bucket, Key="raw-data/dt=1/b.json.gz", Body=body)
    boto3.client("s3").put_object(Bucket=stack.archive_bucket, Key="snapshots/application/shard/1-0", Body=body)
    assert once.count(Stores(stack, "none"), published=6, skipped=2, seconds=1.23456) == {
        "published": 6,
        "skipped": 2,
        "stored": 2,
        "alerts": 0,
        "suppressed": 2,
        "duplicates": 2,
        "conflicts": 1,
        "late": 1,
        "quarantined": 3,
        "archive_objects": 5,
        "seconds": 1.235,
    }
