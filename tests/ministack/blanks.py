"""What MiniStack does not see of a request, its IAM above all, and AWS does."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_actions
from ministack.services import kinesis
from ministack.services.cloudformation import _stacks, handlers

_HEADERS, _BODY = 2, 3  # their places among what extract_resource_arn gets after the service


def fill() -> None:
    """Patch it, once, before it serves."""
    iam_actions.extract_resource_arn = _of_kinesis(iam_actions.extract_resource_arn)
    iam_actions.extract_iam_action = _of_batches(iam_actions.extract_iam_action)
    iam_actions.request_tag_context = _of_metrics(iam_actions.request_tag_context)
    handlers._ACTION_HANDLERS["DescribeStackResources"] = _by_resource(handlers._describe_stack_resources)


def _of_kinesis(resource_of: Callable[..., str]) -> Callable[..., str]:
    """It looks for a stream's name only; an iterator has its stream, and consumers are resources of their own."""

    def resource(service: str, *request: Any) -> str:  # noqa: ANN401  (whatever it passes on)
        if service != "kinesis":
            return resource_of(service, *request)
        said = json.loads(request[_BODY])
        if "ConsumerARN" in said:
            return str(said["ConsumerARN"])
        if request[_HEADERS]["x-amz-target"].endswith(".DescribeStreamConsumer"):
            return f"{said['StreamARN']}/consumer/{said['ConsumerName']}:0"
        if said.get("ShardIterator") in kinesis._shard_iterators:
            return str(kinesis._shard_iterators[said["ShardIterator"]]["stream_arn"])
        return resource_of(service, *request)

    return resource


def _of_batches(action_of: Callable[..., str | None]) -> Callable[..., str | None]:
    """It takes PublishBatch for an action, and SQS's batches: who may do a thing once may do several at once."""

    def action(*request: Any) -> str | None:  # noqa: ANN401  (likewise)
        found = action_of(*request)
        return found.removesuffix("Batch") if found and found.startswith(("sns:", "sqs:")) else found

    return action


def _of_metrics(context_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """It knows no condition on a namespace."""

    def context(service: str, action: str, body: bytes, *more: Any) -> dict[str, Any]:  # noqa: ANN401  (likewise)
        found = context_of(service, action, body, *more)
        if action == "cloudwatch:PutMetricData":
            found = {**found, "cloudwatch:namespace": _namespace(body)}
        return found

    return context


def _namespace(body: bytes) -> str:
    """Read it as Java says it, or as boto3 does."""
    said = parse_qs(body.decode())["Namespace"][0] if body.startswith(b"Action=") else json.loads(body)["Namespace"]
    return str(said)


def _by_resource(describe: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """It wants a stack's name: AWS also finds the stack that a resource belongs to."""

    def resources(params: dict[str, Any]) -> Any:  # noqa: ANN401  (likewise)
        (wanted,) = params.get("PhysicalResourceId", [""])
        holders = [
            stack["StackName"]
            for stack in _stacks.values()
            if stack["StackStatus"] != "DELETE_COMPLETE"
            and wanted in {resource.get("PhysicalResourceId") for resource in stack.get("_resources", {}).values()}
        ]
        return describe({**params, "StackName": holders[:1]} if wanted and holders else params)

    return resources
