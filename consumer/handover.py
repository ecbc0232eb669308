"""Gives a shard's lease up at a planned stop, so that another worker need not wait until it expires.

It is the update that the KCL makes where it gives up a lease by itself (evictLease): without an owner a lease is free
for whichever worker looks for leases next, and the old owner's next renewal is refused.
"""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient  # development dependencies: types only

log = logging.getLogger(__name__)


def give_up_lease(dynamodb: "DynamoDBClient", table: str, shard_id: str, worker_id: str) -> bool:
    """Free the lease of ``shard_id``, if ``worker_id`` owns it; tells whether it did.

    It is tried once, and no failure is worth more than a warning: the lease then expires by itself.
    """
    try:
        dynamodb.update_item(
            TableName=table,
            Key={"leaseKey": {"S": shard_id}},
            UpdateExpression="REMOVE leaseOwner ADD leaseCounter :one",
            ConditionExpression="leaseOwner = :owner",
            ExpressionAttributeValues={":one": {"N": "1"}, ":owner": {"S": worker_id}},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False  # another worker has it by now
    except Exception as error:
        log.warning("lease_not_given_up", extra={"shard_id": shard_id, "table": table, "error": str(error)})
        return False
    return True
