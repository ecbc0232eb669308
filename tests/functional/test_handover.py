"""A lease is given up at a planned stop by its owner alone, in moto's DynamoDB."""

from typing import Any

import boto3
import pytest
from moto import mock_aws

from consumer.handover import give_up_lease

SHARD = "shardId-000000000000"


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401  (boto3 makes tables' types at run time)
    """A lease table as the KCL makes it, with the lease of a shard."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        table = boto3.resource("dynamodb").create_table(
            TableName="app",
            KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": "leaseKey", "AttributeType": "S"},
                {"AttributeName": "leaseOwner", "AttributeType": "S"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "LeaseOwnerToLeaseKeyIndex",
                    "KeySchema": [
                        {"AttributeName": "leaseOwner", "KeyType": "HASH"},
                        {"AttributeName": "leaseKey", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        table.put_item(Item={"leaseKey": SHARD, "leaseOwner": "me", "leaseCounter": 7, "checkpoint": "42"})
        yield table


def give_up(worker_id: str, table: str = "app", shard_id: str = SHARD) -> bool:
    """Give a lease up as a shard's process does."""
    return give_up_lease(boto3.client("dynamodb"), table, shard_id, worker_id)


def test_its_owner_frees_it(leases: Any) -> None:  # noqa: ANN401  (as above)
    """The owner is gone, a renewal that is on its way meets another counter, and the checkpoint stays."""
    assert give_up("me")
    assert leases.scan()["Items"] == [{"leaseKey": SHARD, "leaseCounter": 8, "checkpoint": "42"}]
    assert not give_up("me")


@pytest.mark.parametrize("worker_id", ["other", "m", ""])
def test_nobody_else_does(leases: Any, worker_id: str) -> None:  # noqa: ANN401  (as above)
    """A lease that another worker has taken meanwhile stays as it is."""
    before = leases.scan()["Items"]
    assert not give_up(worker_id)
    assert leases.scan()["Items"] == before


@pytest.mark.usefixtures("leases")
def test_a_failure_does_not_matter(caplog: pytest.LogCaptureFixture) -> None:
    """A missing table is a warning; a missing lease is nothing, and none is made."""
    assert not give_up("me", table="other")
    assert [entry.message for entry in caplog.records if entry.levelname == "WARNING"] == ["lease_not_given_up"]
    assert not give_up("me", shard_id="shardId-000000000001")
    assert boto3.client("dynamodb").scan(TableName="app")["Count"] == 1
