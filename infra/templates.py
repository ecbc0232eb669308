"""What CloudFormation would make of a template: parameters checked, conditions decided, functions put into place."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types

from infra import answers

ROOT = Path(__file__).parents[1]
STACK = ROOT / "infra" / "stack.yaml"
SERVICES = ROOT / "ecs" / "services.yaml"
SMALL = ROOT / "ecs" / "small.yaml"
BUDGET = ROOT / "infra" / "budget.yaml"
BOOTSTRAP = ROOT / "infra" / "bootstrap.yaml"
TEMPLATES = (STACK, SERVICES, SMALL, BUDGET, BOOTSTRAP)
"""All that there are."""

_STACK_NAMES = {
    STACK: "tickertape",
    SERVICES: "tickertape-services",
    SMALL: "tickertape-services",
    BUDGET: "tickertape-budget",
    BOOTSTRAP: "tickertape-bootstrap",
}
_GIVEN = {"Image": "tickertape:1", "OperatorEmail": "a@b.example", "GitHubRepository": "owner/repository"}
"""Parameters without a default that no other stack's outputs tell."""

_PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "tickertape",
    "AWS::URLSuffix": "amazonaws.com",
}
_ABSENT = object()


class RefusedError(Exception):
    """CloudFormation would not begin: a parameter or a rule says no."""


class Template:
    """A template with values for its parameters, and with what AWS would answer for everything else.

    Parameters
    ----------
    path
        The template's file.
    parameters
        Values that are not the defaults.
    pseudo
        ``AWS::StackName``, ``AWS::Region`` and the like, where they are not the usual ones.

    Raises
    ------
    RefusedError
        A parameter or a combination of them is refused.

    """

    def __init__(
        self,
        path: Path,
        parameters: Mapping[str, str | int] | None = None,
        *,
        pseudo: Mapping[str, str] | None = None,
    ) -> None:
        self._template = read(path)
        self.pseudo = {**_PSEUDO, **(pseudo or {})}
        self._answers: dict[str, str] = {}
        self._resolved: dict[str, dict[str, Any]] = {}
        declared, given = self._template["Parameters"], parameters or {}
        if unknown := given.keys() - declared.keys():
            raise RefusedError(f"no such parameters: {unknown}")
        self._values = {name: _value(name, about, given.get(name)) for name, about in declared.items()}
        for rule in self._template.get("Rules", {}).values():
            if self._resolve(rule.get("RuleCondition", True)):
                for assertion in rule["Assertions"]:
                    if not self._resolve(assertion["Assert"]):
                        raise RefusedError(assertion["AssertDescription"])

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """What would be created: type, properties, policies, by logical name."""
        created = {name: r for name, r in self._template["Resources"].items() if self._exists(r)}
        return {name: {**self._attributes(r), "Properties": self._properties(name)} for name, r in created.items()}

    def _attributes(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Type, policies, metadata: all but the properties."""
        return {name: self._resolve(value) for name, value in resource.items() if name != "Properties"}

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of the resources of one type, by logical name."""
        found = {n: r for n, r in self._template["Resources"].items() if r["Type"] == f"AWS::{kind}"}
        return {name: self._properties(name) for name, resource in found.items() if self._exists(resource)}

    def container(self, task: str) -> dict[str, Any]:
        """Definition of the only container of a task."""
        only: dict[str, Any]
        (only,) = self.of_type("ECS::TaskDefinition")[task]["ContainerDefinitions"]
        return only

    def environment(self, task: str) -> dict[str, str]:
        """What a task's container is told."""
        return {variable["Name"]: str(variable["Value"]) for variable in self.container(task)["Environment"]}

    @property
    def outputs(self) -> dict[str, Any]:
        """Each output with its value."""
        outputs = self._template.get("Outputs", {})
        return {name: self._resolve(output) for name, output in outputs.items() if self._exists(output)}

    def _exists(self, about: Mapping[str, Any]) -> bool:
        return "Condition" not in about or self._condition(about["Condition"])

    def _condition(self, name: str) -> bool:
        return bool(self._resolve(self._template["Conditions"][name]))

    def _resolve(self, value: Any) -> Any:  # noqa: ANN401  (anything that YAML can hold)
        if isinstance(value, list):
            return [item for item in map(self._resolve, value) if item is not _ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            function = getattr(self, f"_{name.removeprefix('Fn::').lower()}", None)
            if name in {"Ref", "Condition"} or name.startswith("Fn::"):
                if function is None:
                    raise LookupError(f"{name} is not known here")
                return function(argument)
        resolved = {str(name): self._resolve(item) for name, item in value.items()}
        return {name: item for name, item in resolved.items() if item is not _ABSENT}

    def _ref(self, name: str) -> Any:  # noqa: ANN401  (a parameter's value)
        if name == "AWS::NoValue":
            return _ABSENT
        if name in self._values:
            return self._values[name]
        return self.pseudo.get(name) or self.answer(name)

    def answer(self, name: str) -> str:
        """Give what AWS would, for `!Ref` of a resource (its name) or `!GetAtt` (with a dot and the attribute)."""
        if name not in self._answers:
            logical, _, attribute = name.partition(".")
            resource = self._template["Resources"].get(logical)
            if resource is None or not self._exists(resource):
                raise LookupError(f"{name} is named, and does not exist")
            self._answers[name] = answers.answer(
                resource["Type"], logical, attribute or None, self._properties(logical), self.pseudo
            )
        return self._answers[name]

    def _properties(self, logical: str) -> dict[str, Any]:
        if logical not in self._resolved:
            properties = self._template["Resources"][logical].get("Properties", {})
            self._resolved[logical] = self._resolve(properties)
        return self._resolved[logical]

    def _getatt(self, argument: str | list[str]) -> str:
        return self.answer(argument if isinstance(argument, str) else ".".join(argument))

    def _sub(self, argument: str | list[Any]) -> str:
        text, more = argument if isinstance(argument, list) else (argument, {})
        names = {name: str(self._resolve(value)) for name, value in more.items()}
        put = re.sub(
            r"\$\{([^!}][^}]*)\}",
            lambda match: names[match[1]] if match[1] in names else str(self._ref(match[1])),
            text,
        )
        return put.replace("${!", "${")

    def _if(self, argument: list[Any]) -> Any:  # noqa: ANN401  (either of two)
        condition, true, false = argument
        return self._resolve(true if self._condition(condition) else false)

    def _equals(self, argument: list[Any]) -> bool:
        one, other = map(self._resolve, argument)
        return str(one) == str(other)

    def _not(self, argument: list[Any]) -> bool:
        return not self._resolve(argument[0])

    def _and(self, argument: list[Any]) -> bool:
        return all(map(self._resolve, argument))

    def _or(self, argument: list[Any]) -> bool:
        return any(map(self._resolve, argument))

    def _join(self, argument: list[Any]) -> str:
        separator, parts = argument
        return str(self._resolve(separator)).join(map(str, self._resolve(parts)))

    def _contains(self, argument: list[Any]) -> bool:
        members, value = map(self._resolve, argument)
        return str(value) in map(str, members)

    def _select(self, argument: list[Any]) -> Any:  # noqa: ANN401  (a member)
        index, members = map(self._resolve, argument)
        return members[int(index)]

    def _split(self, argument: list[Any]) -> list[str]:
        separator, text = map(self._resolve, argument)
        return str(text).split(separator)

    def _getazs(self, _: object) -> list[str]:
        return [self.pseudo["AWS::Region"] + letter for letter in "abc"]

    def _findinmap(self, argument: list[Any]) -> Any:  # noqa: ANN401  (what the map holds)
        name, *keys = map(self._resolve, argument)
        found: Any = self._template["Mappings"][name]
        for key in keys:
            found = found[key]
        return found


def deployable(
    path: Path,
    parameters: Mapping[str, str | int] | None = None,
    *,
    stores: Template | None = None,
    pseudo: Mapping[str, str] | None = None,
) -> Template:
    """Give a template with these parameters, and with what else it needs, as the first stack's outputs tell it."""
    pseudo = {"AWS::StackName": _STACK_NAMES.get(path, "tickertape"), **(pseudo or {})}
    needed = [name for name, about in read(path)["Parameters"].items() if "Default" not in about]
    if stores is None and needed:
        stores = _stores(*{**pseudo, "AWS::StackName": _STACK_NAMES[STACK]}.items())
    outputs = {name: output["Value"] for name, output in stores.outputs.items()} if stores else {}
    passed = {name: outputs[name] if name in outputs else _GIVEN[name] for name in needed}
    return Template(path, {**passed, **(parameters or {})}, pseudo=pseudo)


@cache
def _stores(*pseudo: tuple[str, str]) -> Template:
    return Template(STACK, pseudo=dict(pseudo))


def services(stores: Template | None = None, /, **parameters: str | int) -> Template:
    """Give the services' template with an image, and with what `make deploy` passes on from the first stack."""
    return deployable(SERVICES, parameters, stores=stores)


def listed(value: str | list[str]) -> list[str]:
    """Give a policy's actions or resources, which may be one or several."""
    return [value] if isinstance(value, str) else value


@cache
def read(path: Path) -> dict[str, Any]:
    """Read a file, whose functions are written out: ``{"Ref": "Stream"}``. Copy it before you change it."""
    template: dict[str, Any] = yaml.load(path.read_bytes(), _Loader)  # noqa: S506  (it makes nothing but plain values)
    return template


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # where it has been compiled
    """YAML with CloudFormation's tags, and dates as texts; to import the reader of the linter takes half a second."""


def _function(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.ScalarNode():
            argument = loader.construct_scalar(node)
        case yaml.SequenceNode():
            argument = loader.construct_sequence(node, deep=True)
        case _:
            argument = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(argument, str):
        argument = argument.split(".", 1)
    return {name if name in {"Ref", "Condition"} else f"Fn::{name}": argument}


_Loader.add_multi_constructor("!", _function)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_str)


def _value(name: str, about: dict[str, Any], given: str | int | None) -> str | int:
    value = about.get("Default") if given is None else given
    if value is None:
        raise RefusedError(f"{name} is missing")
    if about["Type"] == "Number":
        refused = not _is_within(str(value), about)
    else:
        refused = re.fullmatch(about.get("AllowedPattern", ".*"), str(value)) is None
    allowed = about.get("AllowedValues")
    if refused or (allowed and str(value) not in map(str, allowed)):
        raise RefusedError(f"{name} may not be {value!r}, but {_what_may(about)}")
    return value if isinstance(value, int) else str(value)


def _what_may(about: Mapping[str, Any]) -> str:
    if "AllowedValues" in about:
        return ", ".join(map(str, about["AllowedValues"]))
    if about["Type"] == "Number":
        return f"a number from {about.get('MinValue', '-inf')} to {about.get('MaxValue', 'inf')}"
    return str(about.get("ConstraintDescription", about.get("AllowedPattern")))


def _is_within(text: str, about: Mapping[str, Any]) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return bool(about.get("MinValue", number) <= number <= about.get("MaxValue", number))
