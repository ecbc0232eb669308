"""The state that has the KCL's workers take leases without a leader, in moto's DynamoDB."""

import boto3
import pytest
from moto import mock_aws

from consumer.leasing import take_leases_without_leader

TABLE = "app-CoordinatorState"


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@mock_aws
def test_a_new_application_is_told() -> None:
    """The table is made as the KCL makes it, and the state is in it; a second worker's start changes nothing."""
    for _ in range(2):
        take_leases_without_leader("app")
        table = boto3.resource("dynamodb").Table(TABLE)
        assert table.key_schema == [{"AttributeName": "key", "KeyType": "HASH"}]
        (item,) = table.scan()["Items"]
        assert (item["key"], item["cv"]) == ("Migration3.0", "CLIENT_VERSION_2X")


@mock_aws
def test_an_application_with_a_leader_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    """What runs with a leader is not switched over under its feet: a warning says where to read on."""
    take_leases_without_leader("app")
    boto3.resource("dynamodb").Table(TABLE).put_item(Item={"key": "Migration3.0", "cv": "CLIENT_VERSION_3X"})
    take_leases_without_leader("app")
    (item,) = boto3.resource("dynamodb").Table(TABLE).scan()["Items"]
    assert item["cv"] == "CLIENT_VERSION_3X"
    assert [entry.message for entry in caplog.records if entry.levelname == "WARNING"] == ["leases_need_a_leader"]
