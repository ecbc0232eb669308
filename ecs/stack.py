"""One CloudFormation stack: what it is like, and how it is created, changed and deleted."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from common.errors import UserError
from ecs.account import Account, code_of, say
from ecs.template import TemplateFile

Described = Mapping[str, Any]

_NEVER_THERE = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"}
"""Of a first creation that failed: CloudFormation takes no update to such a stack."""

_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_LONGEST_PAUSE_SECONDS = 3


class Stack:
    """A stack by its name, which may not exist.

    Parameters
    ----------
    account
        Where it is.
    name
        Its name.

    """

    def __init__(self, account: Account, name: str) -> None:
        self.name = name
        self._cloudformation = account.client("cloudformation")

    def describe(self) -> Described | None:
        """Give what CloudFormation says of it; None if there is no such stack."""
        return self._described(self.name)

    @property
    def exists(self) -> bool:
        """Tell whether there is anything of it; a change set that nobody executed is nothing."""
        described = self.describe()
        return described is not None and described["StackStatus"] != "REVIEW_IN_PROGRESS"

    @property
    def outputs(self) -> dict[str, str]:
        """Values by their names; none if it does not exist."""
        return {output["OutputKey"]: output["OutputValue"] for output in (self.describe() or {}).get("Outputs", [])}

    @property
    def parameters(self) -> dict[str, str]:
        """Values by their names; none if it does not exist."""
        return _parameters(self.describe() or {})

    def last_parameters(self) -> dict[str, str]:
        """Give its parameters or, if it was deleted, those that it had: CloudFormation remembers them for 90 days."""
        described = self.describe()
        return _parameters(described or self._last_deleted() or {})

    def remove_failed_creation(self) -> None:
        """Delete it if its first creation failed, as nothing else can be done with it; what it retains is kept."""
        described = self.describe()
        if described is not None and described["StackStatus"] in _NEVER_THERE:
            say(f"Removing stack {self.name}: its creation had failed ({described['StackStatus']})")
            self.delete()

    def check_is_idle(self) -> None:
        """See that it can be changed now.

        Raises
        ------
        UserError
            It cannot; the message says what to do.

        """
        status = (self.describe() or {}).get("StackStatus", "")
        if status == "UPDATE_ROLLBACK_FAILED":
            raise UserError(
                f"stack {self.name} could not return to what it was: see its events, then "
                f"`aws cloudformation continue-update-rollback --stack-name {self.name}`"
            )
        if status == "DELETE_FAILED":
            raise UserError(f"stack {self.name} was not deleted whole: see its events, then `make destroy`")
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise UserError(f"stack {self.name} is being changed ({status}): try again when that is over")

    def apply(self, template: TemplateFile, given: Mapping[str, str]) -> None:
        """Create or update it; parameters that are not given stay as they are.

        Raises
        ------
        UserError
            CloudFormation refuses, or could not do it and has undone it.

        """
        described = self.describe()
        is_new = described is None or described["StackStatus"] == "REVIEW_IN_PROGRESS"
        current = {} if is_new else _parameters(described or {})
        parameters: list[Mapping[str, str | bool]] = []
        for name in template.parameters:
            if name in given:
                parameters.append({"ParameterKey": name, "ParameterValue": given[name]})
            elif name in current:
                parameters.append({"ParameterKey": name, "UsePreviousValue": True})
        self._change("CREATE" if is_new else "UPDATE", template.body, parameters)

    def take_over(
        self, template: TemplateFile, given: Mapping[str, str], existing: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Create it of resources that exist already and belong to no stack; `apply` then adds all else.

        Parameters
        ----------
        template
            The stack's whole template.
        given
            Values of its parameters.
        existing
            By logical name, what identifies each resource: ``{"TicksTable": {"TableName": "ticks"}}``.

        """
        alone = template.only(existing)
        parameters = [
            {"ParameterKey": name, "ParameterValue": given[name]} for name in alone.parameters if name in given
        ]
        resources = [
            {
                "LogicalResourceId": name,
                "ResourceType": alone.resource_type(name),
                "ResourceIdentifier": identifier,
            }
            for name, identifier in existing.items()
        ]
        self._change("IMPORT", alone.body, parameters, ResourcesToImport=resources)

    def delete(self) -> None:
        """Delete it and wait until it is gone; what it retains is kept.

        Raises
        ------
        UserError
            Something of it could not be deleted.

        """
        described = self.describe()
        if described is not None:
            identity = described["StackId"]  # of a stack that is gone, only this finds anything
            self._cloudformation.delete_stack(StackName=identity)
            status = self._settled(identity)
            if status not in {"", "DELETE_COMPLETE"}:
                raise UserError(f"stack {self.name} could not be deleted: {self._reason(identity)}")

    def _change(
        self, kind: str, body: str, parameters: Sequence[Mapping[str, str | bool]], **more: Sequence[Mapping[str, Any]]
    ) -> None:
        created = self._cloudformation.create_change_set(
            StackName=self.name,
            ChangeSetName=f"tickertape-{time.time_ns()}",
            ChangeSetType=kind,
            TemplateBody=body,
            Parameters=parameters,
            Capabilities=["CAPABILITY_IAM"],
            **more,
        )
        change_set, identity = created["Id"], created["StackId"]
        said = _settle(lambda: self._change_set(change_set))
        if said["Status"] == "FAILED":
            self._discard(change_set, kind)
            reason = said.get("StatusReason", "no reason given")
            if any(words in reason for words in _NO_CHANGES):
                return
            raise UserError(f"CloudFormation refuses what is asked of stack {self.name}: {reason}")
        before = self._events(identity)
        self._cloudformation.execute_change_set(ChangeSetName=change_set)
        status = self._settled(identity)
        if "ROLLBACK" in status or status.endswith("FAILED"):
            raise UserError(f"stack {self.name} is {status}: {self._reason(identity, before)}")

    def _discard(self, change_set: str, kind: str) -> None:
        """Delete a change set, and the empty stack that CloudFormation makes for the first one."""
        self._cloudformation.delete_change_set(ChangeSetName=change_set)
        if kind != "UPDATE":
            self._cloudformation.delete_stack(StackName=self.name)

    def _change_set(self, identity: str) -> dict[str, Any]:
        said: dict[str, Any] = self._cloudformation.describe_change_set(ChangeSetName=identity)
        return said

    def _settled(self, identity: str) -> str:
        """Wait until nothing goes on any more; give the status, or an empty one if nothing is left."""
        status: str = _settle(lambda: self._described(identity) or {"Status": ""}, key="StackStatus").get(
            "StackStatus", ""
        )
        return status

    def _reason(self, identity: str, before: Sequence[Mapping[str, Any]] = ()) -> str:
        """Give the first failure among a stack's newest events: what follows are its consequences."""
        known = {event["EventId"] for event in before}
        for event in reversed(self._events(identity)):
            if event["EventId"] not in known and event["ResourceStatus"].endswith("FAILED"):
                what = f"{event['LogicalResourceId']} ({event.get('ResourceType', '')})"
                return f"{what}: {event.get('ResourceStatusReason', 'no reason given')}"
        return "see its events in CloudFormation"

    def _events(self, identity: str) -> list[Mapping[str, Any]]:
        """Give all events, the newest first."""
        pages = self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=identity)
        return [event for page in pages for event in page["StackEvents"]]

    def _described(self, identity: str) -> Described | None:
        try:
            (described,) = self._cloudformation.describe_stacks(StackName=identity)["Stacks"]
        except ClientError as error:
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
        found: Described = described
        return None if found["StackStatus"] == "DELETE_COMPLETE" and identity == self.name else found

    def _last_deleted(self) -> Described | None:
        pages = self._cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
        deleted = [summary for page in pages for summary in page["StackSummaries"] if summary["StackName"] == self.name]
        if not deleted:
            return None
        newest = max(deleted, key=lambda summary: summary["CreationTime"])
        return self._described(newest["StackId"])


def owner(account: Account, physical_id: str) -> str | None:
    """Name the stack that a resource belongs to, if there is one."""
    cloudformation = account.client("cloudformation")
    try:
        found = cloudformation.describe_stack_resources(PhysicalResourceId=physical_id)["StackResources"]
    except ClientError as error:
        if code_of(error) == "ValidationError":
            return None
        raise
    # Of a stack that was deleted, it tells what it retained for a while.
    names = [
        resource["StackName"]
        for resource in found
        if resource.get("PhysicalResourceId") == physical_id and not resource["ResourceStatus"].startswith("DELETE")
    ]
    return names[0] if names else None


def _parameters(described: Described) -> dict[str, str]:
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described.get("Parameters", [])}


def _settle(ask: Callable[[], Mapping[str, Any]], key: str = "Status") -> Mapping[str, Any]:
    """Ask until nothing is pending or in progress."""
    pause = 0.25
    while (said := ask()).get(key, "").endswith(("PENDING", "IN_PROGRESS")):
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
    return said
