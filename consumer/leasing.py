"""Has every worker of the KCL take leases by itself, so that nobody's death stops the others.

By itself KCL 3 elects a leader, which alone hands out leases. A leader that is killed stays in office until its lock is
two minutes old (in newer versions for ever: KCL issue 1803), and until then nobody takes over its shards. As KCL 2 did
it, each worker takes what has expired and what it is short of. KCL 3 still does so in an application whose recorded
state is that of version 2; here we record it, before the application's first worker starts.
"""

import logging
from contextlib import suppress
from typing import Any

from common import aws

log = logging.getLogger(__name__)

_KEY = {"key": {"S": "Migration3.0"}}
_VERSION = {"S": "CLIENT_VERSION_2X"}
_STATE = {**_KEY, "cv": _VERSION, "mb": {"S": "tickertape"}, "mts": {"N": "0"}}


def take_leases_without_leader(application_name: str) -> None:
    """Record the state, unless the application has one.

    Raises
    ------
    UserError
        The table of the KCL's coordinator may not be created, read or written.

    """
    dynamodb = aws.client("dynamodb")
    table = f"{application_name}-CoordinatorState"
    aws.persist(lambda: _ensure_table(dynamodb, table), about=f"table {table}")
    state = aws.persist(lambda: _put_or_get(dynamodb, table), about=f"table {table}")
    if state["cv"] != _VERSION:
        log.warning("leases_need_a_leader", extra={"table": table, "see": "docs/operate.md"})


def _ensure_table(dynamodb: Any, table: str) -> None:  # noqa: ANN401  (a boto3 client)
    try:
        status = dynamodb.describe_table(TableName=table)["Table"]["TableStatus"]
    except dynamodb.exceptions.ResourceNotFoundException:
        with suppress(dynamodb.exceptions.ResourceInUseException):  # another worker is quicker
            dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        status = "CREATING"
    if status == "CREATING":
        raise aws.UnfinishedError(f"table {table} is being created")


def _put_or_get(dynamodb: Any, table: str) -> dict[str, Any]:  # noqa: ANN401  (a boto3 client)
    with suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(TableName=table, Item=_STATE, ConditionExpression="attribute_not_exists(cv)")
    item: dict[str, Any] = dynamodb.get_item(TableName=table, Key=_KEY, ConsistentRead=True)["Item"]
    return item
