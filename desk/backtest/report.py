"""What was found, as tables."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping

from desk.backtest.findings import Findings
from desk.output import Column, Format, is_table, output
from desk.rows import Row

_BY = ("rule", "kind", "severity", "symbol")
_MOST_SYMBOLS = 20
"""Of a table on a terminal: those with the most alerts."""


def write(found: Mapping[str, Findings], microseconds: Mapping[str, float], form: Format | None) -> None:
    """Write the counts to stdout, and the newest alerts and failures of rules to where people look.

    Parameters
    ----------
    found
        What was found, by the change of numbers that it was found with: the first is empty.
    microseconds
        What each rule costs a tick.
    form
        How rows are written.

    """
    names = ["alerts", "per_day", "worst", "worst_day", "suppressed"]
    columns = [
        Column("by"),
        Column("name"),
        *(Column(name, right=name != "worst_day", header=name.replace("_", " ")) for name in names),
        Column("us_a_tick", right=True, header="µs a tick"),
    ]
    if len(found) > 1:
        columns.insert(0, Column("settings"))
    shown = output(form, columns, [column.name for column in columns])
    shown.write(_rows(found, microseconds, whole=not is_table(form)))
    shown.end()
    if is_table(form):
        _tell(next(iter(found.values())))


def _rows(found: Mapping[str, Findings], microseconds: Mapping[str, float], *, whole: bool) -> Iterator[Row]:
    for place, by in enumerate(_BY):
        for change, findings in found.items():
            yield from _counted(findings, place, by, change or "as set", microseconds, whole=whole)


def _counted(
    findings: Findings, place: int, by: str, settings: str, microseconds: Mapping[str, float], *, whole: bool
) -> Iterator[Row]:
    sent, suppressed = Counter[str](), Counter[str]()
    days: dict[str, Counter[str]] = {}
    for (key, day), count in findings.sent.items():
        sent[key[place]] += count
        days.setdefault(key[place], Counter())[day] += count
    for key, count in findings.suppressed.items():
        suppressed[key[place]] += count
    names = [*microseconds] if by == "rule" else []
    ranked = sorted({*sent, *suppressed, *names}, key=lambda name: (-sent[name], name))
    for name in ranked if whole or by != "symbol" else ranked[:_MOST_SYMBOLS]:
        worst_day, worst = max(days.get(name, {"": 0}).items(), key=lambda each: (each[1], each[0]))
        yield {
            "settings": settings,
            "by": by,
            "name": name,
            "alerts": sent[name],
            "per_day": round(sent[name] / max(1, len(findings.days)), 2),
            "worst": worst,
            "worst_day": worst_day,
            "suppressed": suppressed[name],
            "us_a_tick": round(microseconds[name], 2) if name in microseconds and by == "rule" else None,
        }


def _tell(findings: Findings) -> None:
    sys.stdout.write(f"\n{findings.ticks:,} ticks on {len(findings.days):,} days.")
    if findings.newest:
        sys.stdout.write(" The newest alerts:\n")
    for _, _, alert in sorted(findings.newest, key=lambda one: one[:2]):
        sys.stdout.write(f"{alert.timestamp}  {alert.severity:8}  {alert.sentence}\n")
    for rule, count in findings.failed.items():
        sys.stdout.write(f"\nRule {rule} failed on {count:,} ticks, first on {findings.first_failure[rule]}\n")
    sys.stdout.write("\n")
