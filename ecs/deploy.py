"""`make deploy`: what is kept, then what runs, and before anything is created everything that can be checked."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from botocore.exceptions import ClientError

from common.errors import SettingsError, UserError
from ecs import image
from ecs.account import Account, code_of, say
from ecs.request import PLATFORMS, Request
from ecs.sizes import SIZES, Size
from ecs.stack import Stack
from ecs.stores import Stores, names
from ecs.tasks import check_settings
from ecs.template import TemplateFile
from infra.templates import BUDGET, STACK, RefusedError, Template


class Stacks(NamedTuple):
    """The stacks of one deployment."""

    stores: Stack
    budget: Stack
    services: Stack

    @classmethod
    def of(cls, account: Account, name: str) -> "Stacks":
        """Give those whose first one has this name."""
        return cls(*(Stack(account, name + suffix) for suffix in ("", "-budget", "-services")))


class Plan(NamedTuple):
    """What each template gets; all of it has been checked."""

    stores: dict[str, str]
    budget: dict[str, str]
    services: dict[str, str]
    template: Path
    """Of the services."""


def deploy(account: Account, request: Request) -> None:
    """Create or change all stacks.

    Raises
    ------
    UserError
        Something that was asked for cannot be, or AWS could not do it. Nothing is created before all is checked.

    """
    stacks = Stacks.of(account, request.stack)
    stores = Stores(account, names(stacks.stores, TemplateFile.read(STACK), account, request.stores))
    plan = _plan(account, request, stacks)
    _check_urls_are_there(account, plan.stores.get("NotifyUrls"))
    for stack in stacks:
        stack.remove_failed_creation()
        stack.check_is_idle()
    if not stacks.stores.exists:
        stores.check_free()
    _ensure_service_role(account)
    _deploy_stores(stacks.stores, stores, plan.stores)
    outputs = stacks.stores.outputs
    _deploy_budget(stacks.budget, plan.budget)
    services = TemplateFile.read(plan.template)
    stacks.services.apply(services, {**_taken(services, outputs), **plan.services})
    if stacks.stores.parameters.get("RetrievalMode") == "POLLING":  # now that no task reads by fan-out any more
        stores.deregister_consumers(outputs["ApplicationName"])
    shown = stacks.services.outputs
    say(shown.get("Dashboard") or shown["Logs"])


def _plan(account: Account, request: Request, stacks: Stacks) -> Plan:
    """Decide on all parameters, and have none that any template would refuse."""
    current = stacks.services.outputs.get("Size", "full")
    size = SIZES[request.size or current]
    becomes = size if size is not SIZES[current] else Size(size.template, {}, {})
    template, budget = TemplateFile.read(STACK), TemplateFile.read(BUDGET)
    services = TemplateFile.read(size.template)
    _check_they_exist("STORES", request.stores, {**template.parameters, **budget.parameters}, services)
    _check_they_exist("SERVICES", request.services, services.parameters, template)
    given = {
        **becomes.stores,
        **({} if stacks.stores.exists else names(stacks.stores, template, account, request.stores)),
        **_repository_of(account, request),
        **_boundary(account, request.stack),
        **_taken(template, request.stores),
    }
    image = {"Image": request.image, **_architecture_of(request.image)}
    for_services = _taken(services, {**becomes.services, **image, **request.services})
    plan = Plan(given, _for_budget(stacks, request.stores), for_services, size.template)
    _check(plan, stacks)
    return plan


def _check(plan: Plan, stacks: Stacks) -> None:
    """Have each template look at what it would get."""
    current = stacks.stores.parameters if stacks.stores.exists else {}
    _check_stream_is_the_same(current, plan.stores)
    stores = _checked(STACK, {**current, **plan.stores})
    outputs = {name: str(output["Value"]) for name, output in stores.outputs.items()}
    services = {**outputs, **stacks.services.parameters, **plan.services}
    check_settings(_checked(plan.template, services))
    if plan.budget:
        _checked(BUDGET, {**stacks.budget.parameters, **plan.budget})


def _for_budget(stacks: Stacks, given: Mapping[str, str]) -> dict[str, str]:
    """Give the budget's parameters; none if there is to be none: it is for operators, by e-mail."""
    operator = given.get("OperatorEmail", stacks.stores.parameters.get("OperatorEmail", ""))
    amount = given.get("MonthlyBudget", stacks.budget.parameters.get("MonthlyBudget"))
    had_none = stacks.stores.exists and not stacks.budget.exists and "OperatorEmail" not in given
    if amount == "0" or (amount is None and (had_none or not operator)):
        return {}
    if not operator:
        raise SettingsError("MonthlyBudget needs somebody to warn: STORES=OperatorEmail=me@example.org")
    return {"OperatorEmail": operator, **({} if amount is None else {"MonthlyBudget": amount})}


def _checked(path: Path, parameters: Mapping[str, str]) -> Template:
    try:
        return Template(path, _taken(TemplateFile.read(path), parameters))
    except RefusedError as error:
        raise SettingsError(str(error)) from None


def _taken(template: TemplateFile, values: Mapping[str, str]) -> dict[str, str]:
    """Give those values that a template has parameters for."""
    return {name: value for name, value in values.items() if name in template.parameters}


def _check_they_exist(
    variable: str, given: Mapping[str, str], declared: Mapping[str, object], other: TemplateFile
) -> None:
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        the_other = "SERVICES" if variable == "STORES" else "STORES"
        hint = f", but in {the_other} there is" if all(name in other.parameters for name in unknown) else ""
        raise SettingsError(f"{variable} has no parameter {' and no '.join(unknown)}{hint}: docs/deploy.md names all")


def _check_stream_is_the_same(current: Mapping[str, str], given: Mapping[str, str]) -> None:
    """The consumer's leases are of the stream's shards, whose names are those of any other stream's, too."""

    def changes(name: str) -> bool:
        return name in current and given.get(name, current[name]) != current[name]

    if changes("StreamName") and not changes("ApplicationName"):
        raise SettingsError("another StreamName needs another ApplicationName: the consumer's leases are of one stream")


def _check_urls_are_there(account: Account, parameter: str | None) -> None:
    """Without what its secret is read from, the notifier's task would never start; what is in it is not read here."""
    if not parameter:
        return
    try:
        unknown = account.client("ssm").get_parameters(Names=[parameter])["InvalidParameters"]
    except ClientError as error:
        if code_of(error) in {"AccessDenied", "AccessDeniedException"}:
            return  # it may be there all the same
        raise
    if unknown:
        raise SettingsError(
            f"NotifyUrls: there is no parameter {parameter} in SSM in {account.region}: first `aws ssm put-parameter "
            f"--name {parameter} --type SecureString --value file://FILE`, with a file of URLs (docs/notify.md)"
        )


def _boundary(account: Account, stack: str) -> dict[str, str]:
    """Give roles the boundary that infra/bootstrap.yaml has made, without which the workflow may make none."""
    arn = Stack(account, f"{stack}-bootstrap").outputs.get("TaskBoundaryArn")
    return {"RolesBoundary": arn.rpartition("/")[2]} if arn else {}


def _repository_of(account: Account, request: Request) -> dict[str, str]:
    """Have tasks pull from the repository that the image is in."""
    found = image.check(account, request.image)
    return {"ImageRepositoryName": found.repository} if found else {}


def _architecture_of(name: str) -> dict[str, str]:
    """`make push` ends the tag with it."""
    for architecture in PLATFORMS:
        if name.endswith(f"-{architecture.lower()}"):
            return {"CpuArchitecture": architecture}
    return {}


def _ensure_service_role(account: Account) -> None:
    """Create the role with which ECS itself works, which an account lacks until its first cluster."""
    iam = account.client("iam")
    try:
        if iam.list_roles(PathPrefix="/aws-service-role/ecs.amazonaws.com/")["Roles"]:
            return
    except ClientError as error:
        if code_of(error) in {"AccessDenied", "AccessDeniedException"}:
            return  # who may not look at roles may have this one all the same
        raise
    with suppress(iam.exceptions.InvalidInputException):  # somebody was quicker
        iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
        say("Created ECS's service-linked role: this account has not used ECS before")


def _deploy_stores(stack: Stack, stores: Stores, given: Mapping[str, str]) -> None:
    template = TemplateFile.read(STACK)
    kept = {} if stack.exists else stores.kept()
    if kept:
        resources = [f"{name} ({', '.join(identifier.values())})" for name, identifier in kept.items()]
        say(f"Taking over what an earlier deployment has left: {', '.join(resources)}")
        stack.take_over(template, given, kept)
    stack.apply(template, given)


def _deploy_budget(stack: Stack, parameters: Mapping[str, str]) -> None:
    """Budgets are not in all regions, nor for everybody: nothing else depends on there being one."""
    try:
        if parameters:
            stack.apply(TemplateFile.read(BUDGET), parameters)
        else:
            stack.delete()
    except (ClientError, UserError) as error:
        say(f"Nobody will be warned of costs: {_why_no_budget(str(error))}")


def _why_no_budget(reason: str) -> str:
    if "nrecognized resource type" in reason:
        return "this region has no AWS::Budgets::Budget; create a budget in the Billing console"
    if "denied" in reason.lower() or "not authorized" in reason.lower():
        return f"budgets may not be created here; has the root user activated IAM access to billing? ({reason})"
    return reason
