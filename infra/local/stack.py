"""Deploys infra/stack.yaml into the embedded AWS, and a queue that hears what the topic says."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import botocore.session

from common import aws

TEMPLATE = Path(__file__).parents[1] / "stack.yaml"
_STACK_NAME = "tickertape"
_QUEUE_NAME = "tickertape-local"


@dataclass(frozen=True)
class Stack:
    """Names of what was deployed."""

    stream: str
    ticks_table: str
    alerts_table: str
    archive_bucket: str
    alert_topic_arn: str
    queue_url: str

    def environment(self) -> dict[str, str]:
        """Give the names to the two commands."""
        return {
            "STREAM_NAME": self.stream,
            "TICKS_TABLE": self.ticks_table,
            "ALERTS_TABLE": self.alerts_table,
            "ARCHIVE_BUCKET": self.archive_bucket,
            "ALERT_TOPIC_ARN": self.alert_topic_arn,
        }


def use_endpoint(url: str) -> None:
    """Have this process and those that it starts talk to the AWS at ``url``, and never to anybody's account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_ENDPOINT_URL=url,
        AWS_REGION="us-east-1",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="embedded",
        AWS_SECRET_ACCESS_KEY="embedded",  # noqa: S106  (the embedded AWS asks for none)
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        CBOR_ENABLED="false",  # moto's Kinesis speaks JSON only
    )


def own_account() -> dict[str, str]:
    """Give what the environment says of an account of the user's; nothing if there are no credentials of one.

    Ask before `use_endpoint`, which hides it.
    """
    if botocore.session.get_session().get_credentials() is None:
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def environment_in(account: Mapping[str, str]) -> dict[str, str] | None:
    """Give the environment of a producer whose feed is in an account: Kinesis alone is the embedded AWS's."""
    if not account:
        return None
    rest = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ours = {"AWS_ENDPOINT_URL_KINESIS": os.environ["AWS_ENDPOINT_URL"], "AWS_REGION": os.environ["AWS_REGION"]}
    return {**rest, **account, **ours}


def deploy(shards: int) -> Stack:
    """Create the stack, unless it is there, and the queue."""
    cloudformation = aws.client("cloudformation")
    with suppress(cloudformation.exceptions.AlreadyExistsException):
        cloudformation.create_stack(
            StackName=_STACK_NAME,
            TemplateBody=TEMPLATE.read_text(),
            Parameters=[{"ParameterKey": "ShardCount", "ParameterValue": str(shards)}],
        )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=_STACK_NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    return deployed()


def deployed() -> Stack:
    """Look up the names of the stack's parts; the queue is created if it is not there."""
    cloudformation = aws.client("cloudformation")
    described = cloudformation.describe_stacks(StackName=_STACK_NAME)["Stacks"][0]["Outputs"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described}
    return Stack(
        stream=outputs["StreamName"],
        ticks_table=outputs["TicksTableName"],
        alerts_table=outputs["AlertsTableName"],
        archive_bucket=outputs["ArchiveBucketName"],
        alert_topic_arn=outputs["AlertTopicArn"],
        queue_url=subscribe_queue(outputs["AlertTopicArn"], _QUEUE_NAME),
    )


def subscribe_queue(topic_arn: str, name: str) -> str:
    """Create a queue that gets what is published, unless it is there; gives its URL."""
    sqs, sns = aws.client("sqs"), aws.client("sns")
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    may_send = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may_send]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    return url
