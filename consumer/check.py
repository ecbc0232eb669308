"""`tickertape check`: says in a table what of all that is needed is there and may be used, and changes nothing."""

import os
import sys
from collections.abc import Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

from common import aws
from common.errors import UserError, run_command
from common.telemetry import configure_logging
from consumer import daemon, preflight
from consumer.preflight import Call, Need, UntriedError
from consumer.rule_settings import read_with_numbers
from consumer.settings import ConsumerSettings

_OK, _UNTRIED, _FAILED = "ok", "not checked", "FAILED"


class _Row(NamedTuple):
    state: str
    about: str
    actions: str
    remark: str = ""


class CheckSettings(ConsumerSettings):
    """Look for everything that consume and produce need, and change nothing; the settings are those of consume."""


def main(arguments: list[str]) -> int:
    """Print the table; 0 if nothing failed."""
    return run_command(lambda: _check(arguments))


def _check(arguments: list[str]) -> None:
    settings = read_with_numbers(CheckSettings, arguments, "check")
    configure_logging()
    print(_identity())  # noqa: T201  (what the command is for)
    polls = daemon.kcl_properties(settings, os.environ)["retrievalMode"] == "POLLING"
    needs = [*preflight.stores(settings, polls=polls), *preflight.kcl(settings)]
    rows = [*_installed(), *chain.from_iterable(map(_rows, needs))]
    print(_table(rows))  # noqa: T201  (as above)
    if any(row.state == _FAILED for row in rows):
        raise UserError("not all is well: the table says what to do")


def _identity() -> str:
    """Say whose account this is and where: the wrong one is the usual reason for what is missing."""
    answer = aws.ask("identity", aws.client("sts").get_caller_identity)
    endpoint = aws.client("kinesis").meta.endpoint_url
    return f"account {answer['Account']} as {answer['Arn']}\nregion {aws.region()}, Kinesis at {endpoint}\n"


def _installed() -> Iterator[_Row]:
    for about, find in (("KCL's jars", daemon.class_path), ("Java", daemon.find_java)):
        try:
            yield _Row(_OK, about, find())
        except UserError as error:
            yield _Row(_FAILED, about, "", str(error))


def _rows(need: Need) -> Iterator[_Row]:
    """One row for neighbouring calls that ended the same way."""
    for (state, remark), tried in groupby(_try_all(need), key=itemgetter(0, 1)):
        yield _Row(state, need.about, ", ".join(action for _, _, action in tried), remark)


def _try_all(need: Need) -> Iterator[tuple[str, str, str]]:
    """State, remark and action of each call; of the first one only, if that is where it ends."""
    for number, (action, call) in enumerate(need.calls.items()):
        state, remark = _try(need.about, call)
        yield state, remark, action
        if number == 0 and state != _OK:
            return


def _try(about: str, call: Call) -> tuple[str, str]:
    try:
        aws.ask(about, call)
    except UntriedError as reason:
        return _UNTRIED, str(reason)
    except UserError as error:
        return _FAILED, str(error).removeprefix(f"{about}: ")
    return _OK, ""


def _table(rows: list[_Row]) -> str:
    width = max(len(row.about) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row.state:11}  {row.about:{width}}  {row.actions}".rstrip())
        if row.remark:
            lines.append(f"{'':11}  {row.remark}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
