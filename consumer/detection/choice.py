"""Which rules are on, with which numbers, for all symbols and for some."""

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, get_type_hints

import msgspec

from consumer.detection.rule import Number, Numbers, Rule
from consumer.detection.rules import RULES

_BY_NAME = {rule.name: rule for rule in RULES}
DEFAULT = tuple(rule.name for rule, is_on in RULES.items() if is_on)


class NoRuleError(ValueError):
    """RULES names something that is no rule; the message says why."""


def find(reference: str) -> type[Rule]:
    """Find a rule by its name, or one of a user by ``module:Class``; the module must be on PYTHONPATH.

    Raises
    ------
    NoRuleError
        There is none, or it is no rule.

    """
    if reference in _BY_NAME:
        return _BY_NAME[reference]
    module, colon, name = reference.partition(":")
    if not colon:
        raise NoRuleError(
            f"there is no rule {reference!r}; these are: {', '.join(_BY_NAME)}, and yours as module:Class"
        )
    try:
        found = getattr(import_module(module), name)
    except ModuleNotFoundError as missing:
        raise NoRuleError(f"{reference}: there is no module {missing.name} on PYTHONPATH") from None
    except AttributeError:
        raise NoRuleError(f"{reference}: module {module} has no {name}") from None
    except Exception as error:  # whatever a user's module does
        raise NoRuleError(f"{reference}: importing {module} fails: {error!r}") from None
    return _checked(reference, found)


def _checked(reference: str, found: object) -> type[Rule]:
    if not isinstance(found, type) or not issubclass(found, Rule):
        raise NoRuleError(f"{reference} is no rule: it must be a class derived from consumer.detection.Rule")
    for attribute, values in (("name", None), ("severity", ("info", "warning", "critical"))):
        value = getattr(found, attribute, None)
        if not isinstance(value, str) or (values and value not in values):
            raise NoRuleError(f"{reference} is no rule: its {attribute} is {value!r}")
    if _BY_NAME.get(found.name, found) is not found:
        raise NoRuleError(f"{reference} has the name of another rule, {found.name}")
    return found


def numbers_of(rule: type[Rule]) -> dict[str, tuple[Any, Number, Any]]:
    """List a rule's numbers: of each, its type, what is said of it, and its default."""
    hints = get_type_hints(rule.numbers, include_extras=True)
    defaults = rule.numbers()
    return {
        name: (hints[name].__origin__, hints[name].__metadata__[0], getattr(defaults, name))
        for name in rule.numbers.__struct_fields__
    }


class Rules(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What RULES and the rules' numbers say, as it goes to a shard's process and into snapshots.

    Numbers are by their names; one that is not named has its rule's default. ``overrides`` has by symbol what is
    different there: numbers, and under ``rules`` the rules that are on.
    """

    names: tuple[str, ...] = DEFAULT
    numbers: dict[str, Any] = {}
    overrides: dict[str, dict[str, Any]] = {}
    alert_cooldown_seconds: int = 300

    @classmethod
    def of(cls, *names: str, alert_cooldown_seconds: int = 300, **numbers: Any) -> "Rules":  # noqa: ANN401
        """Name rules (none: the default) and numbers, for all symbols."""
        return cls(names=names or DEFAULT, numbers=numbers, alert_cooldown_seconds=alert_cooldown_seconds)

    @cached_property
    def all_names(self) -> tuple[str, ...]:
        """All rules that are on for any symbol, as RULES names them, in its order."""
        named = (name for override in self.overrides.values() for name in override.get("rules", ()))
        return tuple(dict.fromkeys((*self.names, *named)))

    @cached_property
    def classes(self) -> tuple[type[Rule], ...]:
        """Find these rules.

        Raises
        ------
        NoRuleError
            One cannot be found.

        """
        return tuple(map(find, self.all_names))

    def names_of(self, symbol: str) -> tuple[str, ...]:
        """Name the rules that are on for a symbol, in the order of all."""
        names = self.overrides.get(symbol, {}).get("rules", self.names)
        return tuple(name for name in self.all_names if name in names)

    def numbers_of(self, rule: type[Rule], symbol: str | None = None) -> Numbers:
        """Give a rule's numbers, for a symbol or as they are for all others.

        Raises
        ------
        ValueError
            They contradict each other.

        """
        override: Mapping[str, Any] = self.overrides.get(symbol, {}) if symbol else {}
        known = {**self.numbers, **override}
        chosen = {name: known[name] for name in rule.numbers.__struct_fields__ if name in known}
        numbers = msgspec.convert(chosen, rule.numbers)
        return numbers.of(symbol) if symbol else numbers

    def agree(self, other: "Rules", rule: type[Rule], symbol: str) -> bool:
        """Tell whether a rule has the same numbers for a symbol in another choice."""
        return self.numbers_of(rule, symbol) == other.numbers_of(rule, symbol)
