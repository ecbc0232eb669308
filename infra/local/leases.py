"""Saves the local run the KCL's wait at a first start.

A worker that finds an empty lease table waits, for a random time of up to 30 s, whether another worker fills it. Here
we know that none will, and fill it with what the worker would write.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import ShardTypeDef


def create_leases(
    kinesis: "KinesisClient", dynamodb: "DynamoDBClient", *, stream_name: str, application_name: str
) -> None:
    """Create the application's lease table with an unowned lease for every shard of the stream, unless it is there."""
    if application_name in dynamodb.list_tables()["TableNames"]:
        return
    dynamodb.create_table(
        TableName=application_name,
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for page in kinesis.get_paginator("list_shards").paginate(StreamName=stream_name):
        for shard in page["Shards"]:
            dynamodb.put_item(TableName=application_name, Item=_lease(shard))


def _lease(shard: "ShardTypeDef") -> "dict[str, AttributeValueTypeDef]":
    hash_keys = shard["HashKeyRange"]
    return {
        "leaseKey": {"S": shard["ShardId"]},
        "leaseCounter": {"N": "0"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "checkpointSubSequenceNumber": {"N": "0"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "startingHashKey": {"S": hash_keys["StartingHashKey"]},
        "endingHashKey": {"S": hash_keys["EndingHashKey"]},
    }
