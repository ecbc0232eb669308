"""infra/stack.yaml: what the local run makes of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from common import aws
from infra.local.stack import Stack, deploy, use_endpoint
from infra.local.stores import Stores

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The stack, deployed with four shards into an embedded AWS of its own."""
    before = dict(os.environ)
    command = [sys.executable, "-m", "infra.local.embedded_aws"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        use_endpoint(process.stdout.readline().strip())
        yield deploy(shards=4)
        os.environ.clear()
        os.environ.update(before)
        process.terminate()


def test_stream_has_the_shards_that_were_asked_for(stack: Stack) -> None:
    """The number of shards is a parameter."""
    summary = aws.client("kinesis").describe_stream_summary(StreamName=stack.stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 4


def test_names_are_the_commands_defaults(stack: Stack) -> None:
    """Deployed without parameters, the stack has the names that the containers look for."""
    assert (stack.stream, stack.ticks_table, stack.alerts_table) == (
        "stock-market-stream",
        "stock-market-data",
        "stock-alerts",
    )
    assert stack.archive_bucket.startswith("tickertape-")
    assert stack.alert_topic_arn.startswith("arn:aws:sns:")


@pytest.mark.parametrize(("name", "recovery"), [("ticks_table", "DISABLED"), ("alerts_table", "ENABLED")])
def test_tables_expire_rows(stack: Stack, name: str, recovery: str) -> None:
    """Both tables expire rows by expires_at; that of alerts, which are not archived, can be restored to any second."""
    dynamodb, table = aws.client("dynamodb"), getattr(stack, name)
    time_to_live = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert time_to_live == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == recovery


def test_bucket_is_encrypted(stack: Stack) -> None:
    """What is archived is encrypted without asking for it."""
    answer = aws.client("s3").get_bucket_encryption(Bucket=stack.archive_bucket)
    (rule,) = answer["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_queue_receives_a_published_alert(stack: Stack) -> None:
    """An alert that is published to the topic arrives in the queue as the JSON that was meant for queues, once."""
    alert = {"symbol": "KO", "alert_id": "2026-01-02T00:00:00.000000Z#z_score", "value": 4.123456}
    message = json.dumps({"default": json.dumps(alert), "email": "a sentence"})
    sns = aws.client("sns")
    for _ in range(12):
        sns.publish(TopicArn=stack.alert_topic_arn, Message=message, MessageStructure="json")
    stores = Stores(stack, "none")
    messages = stores.take_messages()
    assert messages == [alert | {"value": Decimal("4.123456")}] * 12
    assert stores.take_messages() == []
