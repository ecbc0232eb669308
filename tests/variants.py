"""Every way in which parameters make a template create other resources."""

import json
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from infra.templates import STACK, RefusedError, Template, deployable, read

_EXAMPLES = {
    "AlertEmail": "a@b.example",
    "AlertPhone": "+4915112345678",
    "ArchiveBucketName": "an-archive",
    "KafkaBrokers": "a:9092,b:9092",
    "KafkaClusterArn": "arn:aws:kafka:eu-central-1:123456789012:cluster/quotes/0a1b2c3d-0000-4000-8000-0123456789ab-7",
    "NotifyUrls": "/tickertape/notify-urls",
    "NotifyUrlsArn": "arn:aws:ssm:eu-central-1:123456789012:parameter/tickertape/notify-urls",
    "OperatorEmail": "a@b.example",
    "QueueArn": "arn:aws:sqs:eu-central-1:123456789012:quotes",
    "RolesBoundary": "a-boundary",
    "SubnetIds": "subnet-01234567,subnet-89abcdef",
    "Symbols": "KO,PEP",
    "VpcId": "vpc-0123456789abcdef0",
}
"""Values other than the default, of parameters that may be any text."""


def variants(path: Path, **pseudo: str) -> Iterator[Template]:
    """Give a template with each combination of values that decide conditions, and with each value that is allowed.

    A condition compares a parameter with texts: each of these, and one other, decide it either way. All other
    parameters take their limits and allowed values one at a time.
    """
    template = read(path)
    deciding = _decisive_values(template)
    for values in product(*deciding.values()):
        yield from _accepted(path, dict(zip(deciding, values, strict=True)), pseudo)
    for name, about in template["Parameters"].items():
        limits = [about[limit] for limit in ("MinValue", "MaxValue") if limit in about]
        for value in about.get("AllowedValues", limits):
            yield from _accepted(path, {name: value}, pseudo)


@cache
def notifier(path: Path, *pseudo: tuple[str, str]) -> dict[str, str]:
    """Parameters of a template with which there is a notifier, as the first stack's outputs tell them."""
    outside = {name: value for name, value in pseudo if name != "AWS::StackName"}
    outputs = deployable(STACK, {"NotifyUrls": _EXAMPLES["NotifyUrls"]}, pseudo=outside).outputs
    names = (name for name in outputs if name.startswith("Notif") and name in read(path)["Parameters"])
    return {name: outputs[name]["Value"] for name in names}


def _accepted(path: Path, parameters: dict[str, Any], pseudo: dict[str, str]) -> Iterator[Template]:
    if parameters.get("NotifyUrlsArn", "NONE") != "NONE":
        parameters = parameters | notifier(path, *pseudo.items())
    parameters = {name: _here(value, pseudo) for name, value in parameters.items()}
    try:
        yield deployable(path, parameters, pseudo=pseudo)
    except RefusedError:
        return


def _here(value: Any, pseudo: dict[str, str]) -> Any:  # noqa: ANN401  (a parameter's value)
    """Move an example's ARN into the partition of the stack."""
    partition = pseudo.get("AWS::Partition", "aws")
    return value.replace("arn:aws:", f"arn:{partition}:", 1) if isinstance(value, str) else value


def _decisive_values(template: dict[str, Any]) -> dict[str, list[Any]]:
    """Values by parameter; those that a rule ties to such a parameter belong to them, as one may need the other."""
    compared = list(_comparisons(template.get("Conditions", {})))
    decide = {name for name, _ in compared}
    for rule in template.get("Rules", {}).values():
        tied = list(_comparisons(rule))
        compared += tied if decide & {name for name, _ in tied} else []
    values: dict[str, list[Any]] = {}
    for name, value in compared:
        values.setdefault(name, []).append(value)
    return {name: _with_another(name, found, template["Parameters"][name]) for name, found in values.items()}


def _comparisons(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  (anything that YAML can hold)
    if isinstance(value, list):
        for item in value:
            yield from _comparisons(item)
    elif isinstance(value, dict):
        for function, arguments in value.items():
            if function in {"Fn::Equals", "Fn::Contains"}:
                yield from _compared(arguments)
            else:
                yield from _comparisons(arguments)


def _compared(arguments: list[Any]) -> Iterator[tuple[str, Any]]:
    """Each parameter with what it is compared with."""
    (name,) = (argument["Ref"] for argument in arguments if isinstance(argument, dict))
    (others,) = (argument for argument in arguments if not isinstance(argument, dict))
    for other in others if isinstance(others, list) else [others]:
        yield name, other


def _with_another(name: str, compared: list[Any], about: dict[str, Any]) -> list[Any]:
    values = list(dict.fromkeys(map(_text, compared)))
    candidates = [about.get("Default"), *about.get("AllowedValues", []), _EXAMPLES.get(name)]
    others = [_text(other) for other in candidates if other is not None and _text(other) not in values]
    limits = [str(about[limit]) for limit in ("MinValue", "MaxValue") if limit in about]
    assert others or limits or about.get("AllowedValues"), f"give {name} an example in tests/variants.py"
    return values + [value for value in [*others, *limits] if value not in values][:1]


def _text(value: Any) -> str:  # noqa: ANN401  (a parameter's value)
    return json.dumps(value) if isinstance(value, bool) else str(value)
