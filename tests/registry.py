"""What AWS would refuse of a resource: by CloudFormation's registry, and by rules of services that it leaves out."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import regex
from jsonschema import Draft7Validator, ValidationError
from jsonschema.validators import extend

Json = Any
_ID = "[0-9a-f]{8}([0-9a-f]{9})?"
_ARN = r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(\d{12})?:.+"
_NAME = r"[a-zA-Z0-9_-]{1,255}"
_TOPIC_ARN = r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]{1,256}"
_ROLE_ARN = r"arn:aws[a-z-]*:iam::\d{12}:role/.+"
_LOG_GROUP = r"[.\-_/#A-Za-z0-9]{1,512}"
_PRINTED = r"[ -~]"

_FORMATS: Mapping[str, str] = {
    "AWS::EC2::SecurityGroup.Id": f"sg-{_ID}",
    "AWS::EC2::SecurityGroup.Ids": f"sg-{_ID}",
    "AWS::EC2::SecurityGroup.Name": ".{1,255}",
    "AWS::EC2::Subnet.Id": f"subnet-{_ID}",
    "AWS::EC2::Subnet.Ids": f"subnet-{_ID}",
    "AWS::EC2::VPC.Id": f"vpc-{_ID}",
    "AWS::IAM::Role.Arn": _ROLE_ARN,
    "AWS::KMS::Alias.AliasName": "alias/.+",
    "AWS::KMS::Key.Arn": r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/.+",
    "AWS::KMS::Key.Id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-.+",
    "AWS::Logs::LogGroup.Name": _LOG_GROUP,
    "AWS::S3::Bucket.Name": r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    "AWS::SNS::Topic.Arn": _TOPIC_ARN,
    "ipv4-network": r"\d+(\.\d+){3}/\d+",
    "ipv6-network": r"[0-9a-f:]+/\d+",
    "uri": r"https?://.+",
}
_ANY_REGION = "us-east-1"  # it knows every type
_FORMATS_OF_NUMBERS = {"int64", "double", "json", "date-time", "timestamp"}


@dataclass(frozen=True)
class _Rule:
    """A text that AWS takes: where it stands, and what it may be.

    A place is the property's name, in any type of resource and at any depth, or `Type/property` for one type alone.
    """

    places: tuple[str, ...]
    pattern: str

    def covers(self, kind: str, name: str) -> bool:
        return name in self.places or f"{kind.removeprefix('AWS::')}/{name}" in self.places


_RULES = (
    _Rule(("RouteTableId", "RouteTableIds"), f"rtb-{_ID}"),
    _Rule(("InternetGatewayId",), f"igw-{_ID}"),
    _Rule(("EC2::Route/GatewayId",), f"(igw|vgw)-{_ID}"),
    _Rule(("VpcId",), f"vpc-{_ID}"),
    _Rule(("SubnetId", "SubnetIds", "Subnets"), f"subnet-{_ID}"),
    _Rule(("SecurityGroupIds", "SecurityGroups", "SourceSecurityGroupId"), f"sg-{_ID}"),
    _Rule(("EC2::VPCEndpoint/ServiceName",), r"(cn\.)?com\.amazonaws\.[a-z0-9-]+\.[a-z0-9.-]+"),
    _Rule(
        ("EC2::SecurityGroup/GroupDescription", "EC2::SecurityGroup/Description"),
        r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    ),
    _Rule(("EC2::SecurityGroup/GroupName",), r"(?!sg-)[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}"),
    _Rule(("AlarmActions", "OKActions", "InsufficientDataActions"), _ARN),
    _Rule(("Topics", "TopicArn", "SNSTopicArn"), _TOPIC_ARN),
    _Rule(("TaskRoleArn", "ExecutionRoleArn", "RoleArn"), _ROLE_ARN),
    _Rule(("ECS::Cluster/ClusterName", "ECS::TaskDefinition/Family", "ECS::Service/ServiceName"), _NAME),
    _Rule(("ECS::Service/Cluster",), rf"{_NAME}|arn:aws[a-z-]*:ecs:[a-z0-9-]+:\d{{12}}:cluster/{_NAME}"),
    _Rule(("ECS::Service/TaskDefinition",), rf"arn:aws[a-z-]*:ecs:[a-z0-9-]+:\d{{12}}:task-definition/{_NAME}:\d+"),
    _Rule(("ECS::TaskDefinition/SourceVolume", "awslogs-stream-prefix"), _NAME),
    _Rule(("awslogs-group", "LogGroupName"), _LOG_GROUP),
    _Rule(("awslogs-region",), r"[a-z]{2,4}(-[a-z]+)+-\d"),
    _Rule(
        ("ApplicationAutoScaling::ScalableTarget/ResourceId",),
        rf"service/{_NAME}/{_NAME}|table/[a-zA-Z0-9_.-]+",
    ),
    _Rule(("ApplicationAutoScaling::ScalingPolicy/PolicyName",), r"\p{Print}{1,256}"),
    _Rule(("Description",), r"(?s).{0,2048}"),
    _Rule(("IAM::Role/Description", "IAM::ManagedPolicy/Description"), r"[\t\n\r\x20-\x7e\xa1-\xff]{0,1000}"),
    _Rule(("RoleName",), r"[\w+=,.@-]{1,64}"),
    _Rule(("ManagedPolicyName",), r"[\w+=,.@-]{1,128}"),
    _Rule(("IAM::Role/PolicyName",), r"[\w+=,.@-]{1,128}"),
    _Rule(("Sid",), "[A-Za-z0-9]*"),
    _Rule(("AlarmName",), r"[\x20-\uffff]{1,255}"),
    _Rule(("AlarmDescription",), r"(?s).{0,1024}"),
    _Rule(("DashboardName",), r"[0-9A-Za-z_-]{1,255}"),
    _Rule(("Namespace", "MetricNamespace"), r"[.\-_/#0-9A-Za-z]{1,255}"),
    _Rule(("MetricName",), rf"[!-~]({_PRINTED}{{0,254}})"),
    _Rule(("CloudWatch::Alarm/Id", "ApplicationAutoScaling::ScalingPolicy/Id"), "[a-z][a-zA-Z0-9_]{0,254}"),
    _Rule(("Expression",), r"(?s).{1,1024}"),
    _Rule(("FilterPattern",), r"(?s).{0,1024}"),
    _Rule(("Logs::MetricFilter/FilterName",), "[^:*]{1,512}"),
    _Rule(("TopicName",), r"[A-Za-z0-9_-]{1,256}(\.fifo)?"),
    _Rule(("SNS::Topic/DisplayName",), rf"{_PRINTED}{{0,100}}"),
    _Rule(("KmsMasterKeyId", "KeyId"), r"alias/.+|arn:aws[a-z-]*:kms:.+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    _Rule(("TableName", "Kinesis::Stream/Name"), r"[a-zA-Z0-9_.-]{1,255}"),
    _Rule(
        ("S3::Bucket/BucketName", "S3::BucketPolicy/Bucket"),
        r"(?!xn--|sthree-|.*\.\.|\d+\.\d+\.\d+\.\d+$)(?!.*(-s3alias|--ol-s3)$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    ),
    _Rule(("S3::Bucket/Id",), ".{1,255}"),
    _Rule(("Glue::Database/Name", "Glue::Table/DatabaseName", "Athena::NamedQuery/Database"), "[a-z0-9_]{1,255}"),
    _Rule(("CatalogId",), r"\d{12}"),
    _Rule(("Location", "OutputLocation"), r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.*"),
    _Rule(("Athena::WorkGroup/Name", "WorkGroup"), r"[a-zA-Z0-9._-]{1,128}"),
    _Rule(("Athena::NamedQuery/Name",), ".{1,128}"),
    _Rule(("Budgets::Budget/BudgetName",), r"[^:\\]{1,100}"),
    _Rule(("Events::Rule/Name",), r"[.\-_A-Za-z0-9]{1,64}"),
    _Rule(("ECR::Repository/RepositoryName",), r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"),
)

_TAG_TEXT = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*"
_TAG_PROPERTIES = ("Tags", "ResourceTags", "TagSpecifications")

_DIMENSIONS: Mapping[str, str] = {
    "BucketName": r"[a-z0-9.-]{3,63}",
    "ClusterName": _NAME,
    "LogGroupName": _LOG_GROUP,
    "Operation": "[A-Za-z]+",
    "QueueName": r"[a-zA-Z0-9_-]{1,80}(\.fifo)?",
    "RuleName": r"[.\-_A-Za-z0-9]{1,64}",
    "ServiceName": _NAME,
    "StreamName": r"[a-zA-Z0-9_.-]{1,128}",
    "TableName": r"[a-zA-Z0-9_.-]{3,255}",
    "TopicName": r"[A-Za-z0-9_-]{1,256}",
}
"""Values of dimensions: whoever gives an ARN watches a metric that nobody publishes."""

_FARGATE_MEMORY: Mapping[int, Iterable[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
}


def faults(kind: str, properties: Mapping[str, Json], *, region: str, partition: str = "aws") -> list[str]:
    """Tell what AWS would refuse of a resource, or take and never match.

    Parameters
    ----------
    kind
        Its type, as `AWS::S3::Bucket`.
    properties
        Its properties as AWS sees them: without any functions.
    region, partition
        Where it is to be created.

    """
    errors = _validator(region, kind).iter_errors(properties)
    found = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    for check in (_set_by_aws, _texts, _tags, _dimensions, _policies, _environments, *_BY_TYPE.get(kind, ())):
        found += check(kind, properties)
    found += [f"{path}: {text!r} is in another partition" for path, text in _strangers(properties, partition)]
    return found


# ------------------------------------------------------------ the registry


@cache
def schemas() -> Any:  # noqa: ANN401  (cfn-lint has no types)
    """Give the registry as cfn-lint has it, which takes a second to import."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    return PROVIDER_SCHEMA_MANAGER


@cache
def regions() -> list[str]:
    """Give all regions that cfn-lint knows."""
    from cfnlint.helpers import REGIONS

    return list(REGIONS)


@cache
def _validator(region: str, kind: str) -> Draft7Validator:
    schema = schemas().get_resource_schema(region, kind).schema
    return _LenientValidator(schema)


def _is_type(kind: str, value: Json) -> bool:
    """CloudFormation turns texts into numbers and back as a property needs them."""
    number = _number(value)
    return {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str | int | float),
        "boolean": isinstance(value, bool) or value in ("true", "false"),
        "integer": number is not None and number.is_integer(),
        "number": number is not None,
        "null": value is None,
    }[kind]


def _number(value: Json) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Json) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _check_type(_: Json, kinds: Json, value: Json, __: Json) -> Iterator[ValidationError]:
    if not any(_is_type(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield ValidationError(f"{value!r} is not of type {kinds}")


def _check_text(holds: Callable[[str, Json], bool], says: str) -> Callable[..., Iterator[ValidationError]]:
    def check(_: Json, limit: Json, value: Json, __: Json) -> Iterator[ValidationError]:
        if isinstance(value, str | int | float) and not holds(_text(value), limit):
            yield ValidationError(f"{value!r} {says} {limit!r}")

    return check


def _check_number(holds: Callable[[float, Json], bool], says: str) -> Callable[..., Iterator[ValidationError]]:
    def check(_: Json, limit: Json, value: Json, __: Json) -> Iterator[ValidationError]:
        number = _number(value)
        if number is not None and not holds(number, limit):
            yield ValidationError(f"{value!r} {says} {limit!r}")

    return check


def _has_format(value: str, name: Json) -> bool:
    return name in _FORMATS_OF_NUMBERS or regex.fullmatch(_FORMATS[name], value) is not None


_LenientValidator = extend(
    Draft7Validator,
    {
        "type": _check_type,
        "pattern": _check_text(lambda value, pattern: regex.search(pattern, value) is not None, "does not match"),
        "minLength": _check_text(lambda value, least: len(value) >= least, "is shorter than"),
        "maxLength": _check_text(lambda value, most: len(value) <= most, "is longer than"),
        "enum": _check_text(lambda value, members: value in map(_text, members), "is none of"),
        "format": _check_text(_has_format, "is no"),
        "minimum": _check_number(lambda value, least: value >= least, "is less than"),
        "maximum": _check_number(lambda value, most: value <= most, "is more than"),
    },
)


def _set_by_aws(kind: str, properties: Mapping[str, Json]) -> Iterator[str]:
    schema = schemas().get_resource_schema(_ANY_REGION, kind).schema
    for path in schema.get("readOnlyProperties", []):
        name = path.removeprefix("/properties/")
        if name in properties:
            yield f"{name}: AWS sets it"


# ------------------------------------------------------------ rules of the services


def _walk(value: Json, path: str = "", name: str = "") -> Iterator[tuple[str, str, Json]]:
    """Visit everything in a value: its path, the name of the property that it belongs to, itself."""
    yield path, name, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{path}/{key}", key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}/{index}", name)


def _dicts(properties: Json) -> Iterator[tuple[str, dict[str, Json]]]:
    return ((path, value) for path, _, value in _walk(properties) if isinstance(value, dict))


def _texts(kind: str, properties: Mapping[str, Json]) -> Iterator[str]:
    for path, name, value in _walk(properties):
        if isinstance(value, str | int | float):
            for rule in _RULES:
                if rule.covers(kind, name) and not regex.fullmatch(rule.pattern, _text(value)):
                    yield f"{path}: {value!r} does not match {rule.pattern!r}"


def _tags(_: str, properties: Mapping[str, Json]) -> Iterator[str]:
    for path, name, tags in _walk(properties):
        if name not in _TAG_PROPERTIES or not isinstance(tags, list):
            continue
        pairs = [(str(tag["Key"]), _text(tag["Value"])) for tag in tags if tag.keys() >= {"Key", "Value"}]
        if len({key for key, _ in pairs}) < len(pairs) or len(pairs) > 50:
            yield f"{path}: a key twice, or more than 50 tags"
        for key, value in pairs:
            if not regex.fullmatch(_TAG_TEXT, key + value):
                yield f"{path}: no tag may be {key!r}: {value!r}"
            if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
                yield f"{path}: {key!r} is too long, or AWS's own"


def _dimensions(_: str, properties: Mapping[str, Json]) -> Iterator[str]:
    for path, name, value in _walk(properties):
        if name != "Dimensions" or not isinstance(value, dict):
            continue
        pattern = _DIMENSIONS.get(value["Name"])
        if pattern is None:
            yield f"{path}: write down in tests/registry.py what a {value['Name']!r} is"
        elif not regex.fullmatch(pattern, _text(value["Value"])):
            yield f"{path}: {value['Value']!r} is no {value['Name']}"


def _policies(_: str, properties: Mapping[str, Json]) -> Iterator[str]:
    for path, document in _dicts(properties):
        if "Statement" not in document:
            continue
        if document.get("Version") != "2012-10-17":
            yield f"{path}: the version of the language of policies is 2012-10-17"
        sids = [statement["Sid"] for statement in document["Statement"] if "Sid" in statement]
        if len(set(sids)) < len(sids):
            yield f"{path}: a Sid twice"
        for number, statement in enumerate(document["Statement"]):
            yield from (f"{path}/{number}: {fault}" for fault in _statement(statement))


def _statement(statement: Mapping[str, Json]) -> Iterator[str]:
    resources, actions = statement.get("Resource", []), statement.get("Action", [])
    for resource in [resources] if isinstance(resources, str) else resources:
        if resource != "*" and not regex.fullmatch(r"arn:aws[a-z-]*:[a-z0-9-]+:.+", resource):
            yield f"{resource!r} is no ARN"
    for action in [actions] if isinstance(actions, str) else actions:
        if not regex.fullmatch(r"[a-z0-9-]+:[A-Za-z*]+|\*", action):
            yield f"{action!r} is no action"
    principals = statement.get("Principal", {})
    named = principals.get("AWS", []) if isinstance(principals, dict) else []
    for principal in [named] if isinstance(named, str) else named:
        if not regex.fullmatch(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:.+|\d{12}|\*", principal):
            yield f"{principal!r} is no principal"


def _environments(_: str, properties: Mapping[str, Json]) -> Iterator[str]:
    for path, name, variable in _walk(properties):
        if name == "Environment" and isinstance(variable, dict):
            value, is_arn = _text(variable["Value"]), variable["Name"].endswith("_ARN")
            if is_arn != (regex.fullmatch(_ARN, value) is not None):
                yield f"{path}: {variable['Name']} may not be {value!r}"


def _strangers(properties: Json, partition: str) -> Iterator[tuple[str, str]]:
    for path, _, value in _walk(properties):
        if isinstance(value, str) and any(found != partition for found in regex.findall(r"\barn:(aws[a-z-]*):", value)):
            yield path, value


# ------------------------------------------------------------ rules of one type


def _fargate(_: str, task: Mapping[str, Json]) -> Iterator[str]:
    cpu, memory = int(task["Cpu"]), int(task["Memory"])
    if memory not in _FARGATE_MEMORY.get(cpu, ()):
        yield f"Memory: Fargate has no {memory} MiB with {cpu} CPU units"
    volumes = {volume["Name"] for volume in task.get("Volumes", [])}
    for container in task["ContainerDefinitions"]:
        if not regex.fullmatch(_NAME, container["Name"]):
            yield f"ContainerDefinitions: {container['Name']!r} is no name"
        if container.get("StopTimeout", 0) > 120:
            yield f"StopTimeout: Fargate waits no longer than 120 s for {container['Name']}"
        for mount in container.get("MountPoints", []):
            if mount["SourceVolume"] not in volumes:
                yield f"MountPoints: there is no volume {mount['SourceVolume']!r}"


def _alarm(_: str, alarm: Mapping[str, Json]) -> Iterator[str]:
    queries = alarm.get("Metrics", [])
    if queries and sum(str(query.get("ReturnData", True)).lower() == "true" for query in queries) != 1:
        yield "Metrics: exactly one has to return data"
    if len({query["Id"] for query in queries}) < len(queries):
        yield "Metrics: an Id twice"
    if bool(queries) == ("MetricName" in alarm):
        yield "an alarm is about one metric, or about Metrics"
    if int(alarm.get("DatapointsToAlarm", 1)) > int(alarm["EvaluationPeriods"]):
        yield "DatapointsToAlarm: more than EvaluationPeriods"
    periods = [int(query["MetricStat"]["Period"]) for query in queries if "MetricStat" in query]
    if max([int(alarm.get("Period", 60)), *periods]) * int(alarm["EvaluationPeriods"]) > 86_400:
        yield "EvaluationPeriods: longer than a day"


def _dashboard(_: str, dashboard: Mapping[str, Json]) -> Iterator[str]:
    try:
        json.loads(dashboard["DashboardBody"])
    except json.JSONDecodeError as error:
        yield f"DashboardBody: {error}"


def _stream(_: str, stream: Mapping[str, Json]) -> Iterator[str]:
    if not 24 <= int(stream.get("RetentionPeriodHours", 24)) <= 8760:
        yield "RetentionPeriodHours: Kinesis keeps records for 24 hours to a year"


def _scan_limit(_: str, workgroup: Mapping[str, Json]) -> Iterator[str]:
    if int(workgroup["WorkGroupConfiguration"].get("BytesScannedCutoffPerQuery", 10_000_000)) < 10_000_000:
        yield "BytesScannedCutoffPerQuery: Athena asks for 10 MB at least"


def _limits(_: str, target: Mapping[str, Json]) -> Iterator[str]:
    if int(target["MinCapacity"]) > int(target["MaxCapacity"]):
        yield "MinCapacity: more than MaxCapacity"


def _inline_policies(_: str, role: Mapping[str, Json]) -> Iterator[str]:
    documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
    if sum(len(json.dumps(document, separators=(",", ":"))) for document in documents) > 10_240:
        yield "Policies: longer than IAM takes"


def _event_rule(_: str, rule: Mapping[str, Json]) -> Iterator[str]:
    for path, name, value in _walk(rule.get("EventPattern", {})):
        if isinstance(value, str | int | float) and not (path.rpartition("/")[2].isdecimal() or _is_matcher(path)):
            yield f"EventPattern{path}: {name} is matched with a list, not with {value!r}"
    for target in rule.get("Targets", []):
        transformer = target.get("InputTransformer", {"InputTemplate": "null"})
        known, used = transformer.get("InputPathsMap", {}), regex.findall("<([^>]*)>", transformer["InputTemplate"])
        if set(used) != set(known):
            yield f"InputTemplate: {sorted(set(used) ^ set(known))} is used or known, but not both"
        try:
            json.loads(transformer["InputTemplate"])
        except json.JSONDecodeError:
            yield "InputTemplate: it has to be a text in quotes"


def _is_matcher(path: str) -> bool:
    """Tell whether a value is a matcher's: `{"prefix": "Task failed"}` in a list."""
    return regex.search(r"/\d+/(prefix|suffix|anything-but|exists|wildcard|equals-ignore-case)$", path) is not None


def _topic_policy(_: str, policy: Mapping[str, Json]) -> Iterator[str]:
    for statement in policy["PolicyDocument"]["Statement"]:
        if "events.amazonaws.com" in str(statement["Principal"]) and "Condition" in statement:
            yield f"{statement.get('Sid')}: EventBridge meets no condition in a topic's policy"


def _key_policy(_: str, key: Mapping[str, Json]) -> Iterator[str]:
    for statement in key["KeyPolicy"]["Statement"]:
        if "events.amazonaws.com" in str(statement["Principal"]) and "aws:Source" in json.dumps(statement):
            yield f"{statement.get('Sid')}: EventBridge tells a key neither account nor rule"


_BY_TYPE: Mapping[str, tuple[Callable[[str, Mapping[str, Json]], Iterator[str]], ...]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": (_limits,),
    "AWS::Athena::WorkGroup": (_scan_limit,),
    "AWS::CloudWatch::Alarm": (_alarm,),
    "AWS::CloudWatch::Dashboard": (_dashboard,),
    "AWS::ECS::TaskDefinition": (_fargate,),
    "AWS::Events::Rule": (_event_rule,),
    "AWS::KMS::Key": (_key_policy,),
    "AWS::Kinesis::Stream": (_stream,),
    "AWS::IAM::Role": (_inline_policies,),
    "AWS::SNS::TopicPolicy": (_topic_policy,),
}
