"""What AWS answers to `!Ref` and `!GetAtt`, type by type: a topic's `!Ref` is its ARN, a bucket's its name."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ARN = "arn:{partition}:{service}:{region}:{account}:"


@dataclass(frozen=True)
class _Answers:
    """Of one type: which property names it, what `!Ref` is, and the attributes that `!GetAtt` may ask for."""

    ref: str
    named_by: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def _named(named_by: str, arn: str = "", **attributes: str) -> _Answers:
    """`!Ref` is the name."""
    return _Answers("{name}", named_by, {**({"Arn": arn} if arn else {}), **attributes})


def _numbered(prefix: str, *ids: str, **attributes: str) -> _Answers:
    """`!Ref` is an id that AWS makes up."""
    number = prefix + "-{number}"
    return _Answers(number, "", {**dict.fromkeys(ids, number), **attributes})


_TOPIC = _ARN + "{name}"
_SERVICE = _ARN + "service/{properties[Cluster]}/{name}"
_TASK_DEFINITION = _ARN + "task-definition/{name}:1"
_SCALING_POLICY = _ARN + "scalingPolicy:{uuid}:policyName/{name}"
_KEY = _ARN + "key/{uuid}"
_QUEUE = "https://sqs.{region}.amazonaws.com/{account}/{name}"
_ROUTE = "{properties[RouteTableId]}|{properties[DestinationCidrBlock]}"
_TARGET = "{properties[ResourceId]}|{properties[ScalableDimension]}|{properties[ServiceNamespace]}"
_GLOBAL_ARN = "arn:{partition}:{service}::{account}:"

_ANSWERS: Mapping[str, _Answers] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": _Answers(_TARGET),
    "AWS::ApplicationAutoScaling::ScalingPolicy": _Answers(_SCALING_POLICY, "PolicyName"),
    "AWS::Athena::NamedQuery": _Answers("{uuid}", "", {"NamedQueryId": "{uuid}"}),
    "AWS::Athena::WorkGroup": _named("Name"),
    "AWS::Budgets::Budget": _named("Budget.BudgetName"),
    "AWS::CloudFormation::WaitConditionHandle": _Answers(
        "https://cloudformation-waitcondition-{region}.s3.amazonaws.com/?a=1"
    ),
    "AWS::CloudWatch::Alarm": _named("AlarmName", _ARN + "alarm:{name}"),
    "AWS::CloudWatch::Dashboard": _named("DashboardName"),
    "AWS::DynamoDB::Table": _named("TableName", _ARN + "table/{name}"),
    "AWS::EC2::InternetGateway": _numbered("igw", "InternetGatewayId"),
    "AWS::EC2::Route": _Answers(_ROUTE, "", {"CidrBlock": "{properties[DestinationCidrBlock]}"}),
    "AWS::EC2::RouteTable": _numbered("rtb", "RouteTableId"),
    "AWS::EC2::SecurityGroup": _numbered("sg", "GroupId", "Id", VpcId="{properties[VpcId]}"),
    "AWS::EC2::Subnet": _numbered("subnet", "SubnetId", AvailabilityZone="{properties[AvailabilityZone]}"),
    "AWS::EC2::SubnetRouteTableAssociation": _numbered("rtbassoc", "Id"),
    "AWS::EC2::VPC": _numbered("vpc", "VpcId", CidrBlock="{properties[CidrBlock]}"),
    "AWS::EC2::VPCEndpoint": _numbered("vpce", "Id"),
    "AWS::EC2::VPCGatewayAttachment": _Answers("IGW|{properties[VpcId]}", "", {"AttachmentType": "IGW"}),
    "AWS::ECR::Repository": _named(
        "RepositoryName",
        _ARN + "repository/{name}",
        RepositoryUri="{account}.dkr.ecr.{region}.amazonaws.com/{name}",
    ),
    "AWS::ECS::Cluster": _named("ClusterName", _ARN + "cluster/{name}"),
    "AWS::ECS::Service": _Answers(_SERVICE, "ServiceName", {"Name": "{name}", "ServiceArn": _SERVICE}),
    "AWS::ECS::TaskDefinition": _Answers(_TASK_DEFINITION, "Family", {"TaskDefinitionArn": _TASK_DEFINITION}),
    "AWS::Events::Rule": _named("Name", _ARN + "rule/{name}"),
    "AWS::Glue::Database": _named("DatabaseInput.Name"),
    "AWS::Glue::Table": _named("TableInput.Name"),
    "AWS::IAM::ManagedPolicy": _Answers(
        _GLOBAL_ARN + "policy/{name}", "ManagedPolicyName", {"PolicyArn": _GLOBAL_ARN + "policy/{name}"}
    ),
    "AWS::IAM::OIDCProvider": _Answers(
        _GLOBAL_ARN + "oidc-provider/{name}", "Url", {"Arn": _GLOBAL_ARN + "oidc-provider/{name}"}
    ),
    "AWS::IAM::Policy": _named("PolicyName"),
    "AWS::IAM::Role": _named("RoleName", _GLOBAL_ARN + "role/{name}", RoleId="AROA{NUMBER}"),
    "AWS::KMS::Alias": _named("AliasName"),
    "AWS::KMS::Key": _Answers("{uuid}", "", {"Arn": _KEY, "KeyId": "{uuid}"}),
    "AWS::Kinesis::Stream": _named("Name", _ARN + "stream/{name}"),
    "AWS::Logs::LogGroup": _named("LogGroupName", _ARN + "log-group:{name}:*"),
    "AWS::Logs::MetricFilter": _named("FilterName"),
    "AWS::Logs::ResourcePolicy": _named("PolicyName"),
    "AWS::S3::Bucket": _named(
        "BucketName", "arn:{partition}:s3:::{name}", RegionalDomainName="{name}.s3.{region}.amazonaws.com"
    ),
    "AWS::S3::BucketPolicy": _Answers("{properties[Bucket]}"),
    "AWS::SNS::Subscription": _Answers("{properties[TopicArn]}:{uuid}", "", {"Arn": "{properties[TopicArn]}:{uuid}"}),
    "AWS::SNS::Topic": _Answers(_TOPIC, "TopicName", {"TopicArn": _TOPIC, "TopicName": "{name}"}),
    "AWS::SNS::TopicPolicy": _Answers("{stack}-{logical}-{NUMBER}", "", {"Id": "{uuid}"}),
    "AWS::SQS::Queue": _Answers(
        _QUEUE, "QueueName", {"Arn": _ARN + "{name}", "QueueName": "{name}", "QueueUrl": _QUEUE}
    ),
    "AWS::SQS::QueuePolicy": _Answers("{stack}-{logical}-{NUMBER}", "", {"Id": "{uuid}"}),
}

_LOWER_CASE = {"AWS::S3::Bucket", "AWS::ECR::Repository"}
_SERVICES = {"ApplicationAutoScaling": "autoscaling", "CloudWatch": "cloudwatch"}
"""What a service is called in ARNs, where that is not its name in lower-case letters."""


class UnknownAnswerError(AssertionError):
    """Nobody has written down what AWS answers: a guess would make tests worthless."""


def answer(
    kind: str, logical: str, attribute: str | None, properties: Mapping[str, Any], pseudo: Mapping[str, str]
) -> str:
    """Give what AWS answers to `!Ref` (no attribute) or `!GetAtt` of a resource.

    Parameters
    ----------
    kind
        Its type.
    logical
        Its name in the template.
    attribute
        What `!GetAtt` asks for; None is `!Ref`.
    properties
        Its properties, resolved.
    pseudo
        `AWS::Region` and the like.

    Raises
    ------
    UnknownAnswerError
        The type or its attribute is not written down here.

    """
    answers = _ANSWERS.get(kind)
    if answers is None:
        raise UnknownAnswerError(f"write down in infra/answers.py what AWS answers to !Ref and !GetAtt of {kind}")
    template = answers.ref if attribute is None else answers.attributes.get(attribute)
    if template is None:
        raise UnknownAnswerError(f"{kind} has no attribute {attribute!r}, or it is missing in infra/answers.py")
    number = hashlib.sha256(logical.encode()).hexdigest()[:17]
    service = kind.split("::")[1]
    return template.format(
        name=_name(kind, answers, logical, number, properties, pseudo["AWS::StackName"]),
        number=number,
        NUMBER=number.upper(),
        uuid=uuid.uuid5(uuid.NAMESPACE_OID, logical),
        logical=logical,
        properties=properties,
        service=_SERVICES.get(service, service.lower()),
        account=pseudo["AWS::AccountId"],
        partition=pseudo["AWS::Partition"],
        region=pseudo["AWS::Region"],
        stack=pseudo["AWS::StackName"],
    )


def _name(kind: str, answers: _Answers, logical: str, number: str, properties: Mapping[str, Any], stack: str) -> str:
    """Give the name that the template gives it, else one that CloudFormation makes up."""
    given: Any = properties
    for part in filter(None, answers.named_by.split(".")):
        given = given.get(part, {})
    if answers.named_by and given:
        return str(given).removeprefix("https://")
    made_up = f"{stack[:24]}-{logical[:24]}-{number[:12].upper()}"
    return made_up.lower() if kind in _LOWER_CASE else made_up
