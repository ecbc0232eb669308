"""`make destroy`: what runs, then what is kept but for the records, and those only if it is said that they may go."""

from collections.abc import Sequence

from common.errors import SettingsError
from ecs.account import Account, say
from ecs.deploy import Stacks
from ecs.request import Request
from ecs.stack import owner
from ecs.stores import Stores, names
from ecs.template import TemplateFile
from infra.templates import STACK


def destroy(account: Account, request: Request) -> None:
    """Delete all stacks and what the KCL has made; with ``EMPTY=yes`` what was recorded, too.

    Raises
    ------
    UserError
        There is nothing of that name, or something cannot be deleted.

    """
    stacks = Stacks.of(account, request.stack)
    stores = Stores(account, names(stacks.stores, TemplateFile.read(STACK), account, request.stores))
    existing = [stack for stack in reversed(stacks) if stack.describe() is not None]
    _check_there_is_something(account, request, stores, is_deployed=bool(existing))
    for stack in existing:
        if stack is stacks.stores:
            stores.deregister_consumers()
        stack.delete()
        say(f"Deleted stack {stack.name}")
    _delete_leases(account, stores)
    if request.empties:
        _empty(account, stores)
    else:
        _tell_what_is_kept(stores)


def _check_there_is_something(account: Account, request: Request, stores: Stores, *, is_deployed: bool) -> None:
    where = f"in {account.region} of account {account.number}"
    if not is_deployed:
        if not stores.kept() and not any(map(stores.has_table, stores.lease_tables)):
            raise SettingsError(f"there is no stack '{request.stack}' {where}, and nothing that one has left")
        say(f"There is no stack '{request.stack}' {where}")


def _delete_leases(account: Account, stores: Stores) -> None:
    """Of a stream that is gone; one that is still there is somebody else's."""
    if not stores.has_stream():
        for table in _ours(account, [table for table in stores.lease_tables if stores.has_table(table)]):
            stores.delete_table(table)


def _empty(account: Account, stores: Stores) -> None:
    if not stores.has_bucket():
        say(f"There is no bucket {stores.bucket}")
    elif _ours(account, [stores.bucket]):
        stores.delete_bucket()
    for table in stores.tables:
        if not stores.has_table(table):
            say(f"There is no table {table}")
        elif _ours(account, [table]):
            stores.delete_table(table)


def _ours(account: Account, resources: Sequence[str]) -> list[str]:
    """Leave out what belongs to a stack that still is there, and say so."""
    ours = []
    for name in resources:
        if another := owner(account, name):
            say(f"Kept {name}: it belongs to stack {another}")
        else:
            ours.append(name)
    return ours


def _tell_what_is_kept(stores: Stores) -> None:
    kept = [next(iter(identifier.values())) for identifier in stores.kept().values()]
    if kept:
        say(f"Kept, with all that is in them: {', '.join(kept)}. EMPTY=yes deletes them, make deploy takes them over")
