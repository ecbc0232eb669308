"""The settings that say which rules are on, and with which numbers: those of the rules themselves."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec
from pydantic import Field, TypeAdapter, ValidationError, create_model, model_validator
from pydantic_settings import SettingsConfigDict

from common.errors import SettingsError
from common.settings import CommandSettings, read_settings
from common.tick import NotATickError, normalise_symbol
from consumer.detection import RULES, Detector, NoRuleError, Number, Rule, Rules
from consumer.detection.choice import DEFAULT, find, numbers_of
from consumer.sinks.row import RowWriter

OTHER_COLUMNS = {column.name for column in RowWriter("", (), 1).columns}
_ALL_SYMBOLS = "*"
DEFAULT_RULES = ",".join(DEFAULT)
_MOST_BYTES = 64 * 1024
"""The shards' processes get the overrides in an environment variable, which has at most twice as much."""

Overrides = dict[str, dict[str, Any]]


class RuleSettings(CommandSettings):
    """Which rules are on; `read_with_numbers` adds the numbers of each."""

    numbers: ClassVar[Mapping[str, Any]] = {}
    """The types of the rules' numbers, with their bounds, by name."""

    rules: str = Field(
        DEFAULT_RULES,
        description="The rules that are on, with commas between them; one of your own is module:Class (docs/rules.md).",
    )
    rule_overrides: str = Field(
        "",
        description="What is different for some symbols, as JSON or as a file's name: "
        '{"BTC-USD": {"price_move_percent": 8}, "^VIX": {"rules": ["price_level"]}}; "*" stands for all symbols.',
    )
    alert_cooldown_seconds: int = Field(
        300, ge=0, description="Event time before the same alert of a symbol is sent again; 0 sends all."
    )

    def chosen_rules(self) -> Rules:
        """Give the rules that are on, with the numbers that are not their defaults."""
        overrides = self._checked(_read_overrides(self.rule_overrides))
        for_all = overrides.pop(_ALL_SYMBOLS, {})
        names = for_all.pop("rules", None) or _split(self.rules)
        set_here = {name: getattr(self, name) for name in self.numbers}
        defaults = {name: type(self).model_fields[name].default for name in self.numbers}
        changed = {name: value for name, value in set_here.items() if value != defaults[name]}
        return Rules(
            names=tuple(names),
            numbers={**msgspec.to_builtins(changed), **for_all},
            overrides=overrides,
            alert_cooldown_seconds=self.alert_cooldown_seconds,
        )

    @model_validator(mode="after")
    def _rules_can_be_applied(self) -> Self:
        rules = self.chosen_rules()
        for rule in rules.classes:
            rules.numbers_of(rule)
            for symbol in rules.overrides:
                _check_together(rules, rule, symbol)
        try:
            columns = Detector(rules).columns
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"RULES: a rule does not say what its columns are: {error!r}") from None
        if taken := sorted({column.name for column in columns} & OTHER_COLUMNS):
            raise ValueError(f"RULES: a rule's column cannot be named {', '.join(taken)}: rows have one")
        return self

    def _checked(self, overrides: Overrides) -> Overrides:
        """Give overrides by normalised symbols, with values as JSON has them."""
        return {_symbol(name): self._checked_override(name, override) for name, override in overrides.items()}

    def _checked_override(self, symbol: str, override: object) -> dict[str, Any]:
        if not isinstance(override, dict):
            raise ValueError(f"RULE_OVERRIDES: {symbol}: it is not an object: {{...}}")  # noqa: TRY004  (pydantic wants it)
        return {name: self._checked_value(symbol, name, value) for name, value in override.items()}

    def _checked_value(self, symbol: str, name: str, value: object) -> Any:  # noqa: ANN401  (whatever a rule has)
        where = f"RULE_OVERRIDES: {symbol}: {name}"
        if name == "rules":
            return _names_in(where, value)
        if name not in self.numbers:
            raise ValueError(f"{where} is no number of a rule; these are: rules, {', '.join(self.numbers)}")
        try:
            return msgspec.to_builtins(TypeAdapter(self.numbers[name]).validate_python(value))
        except ValidationError as error:
            raise ValueError(f"{where}: {error.errors()[0]['msg']} (it is {value})") from None


class _Names(RuleSettings):
    """What must be known before the numbers are: all else is ignored."""

    model_config = SettingsConfigDict(cli_ignore_unknown_args=True)

    @model_validator(mode="after")
    def _rules_can_be_applied(self) -> Self:
        return self  # not before the numbers are known

    def all_rules(self) -> Iterable[type[Rule]]:
        """All that come with Tickertape, and those of a user that are named."""
        overrides = [one for one in _read_overrides(self.rule_overrides).values() if isinstance(one, dict)]
        lists = [_names_in("RULE_OVERRIDES: rules", one["rules"]) for one in overrides if "rules" in one]
        return dict.fromkeys([*RULES, *map(find, chain(_split(self.rules), *lists))])


Settings = TypeVar("Settings", bound=RuleSettings)


def with_numbers(kind: type[Settings], rules: Iterable[type[Rule]] = RULES) -> type[Settings]:
    """Give settings with the numbers of rules."""
    numbers: dict[str, tuple[Any, Number, Any]] = {}
    for rule in rules:
        for name, number in numbers_of(rule).items():
            if numbers.setdefault(name, number) != number or name in kind.model_fields:
                raise NoRuleError(f"rule {rule.name} has a number {name}, but that name is another setting's")
    types = {name: _bounded(of_type, said) for name, (of_type, said, _) in numbers.items()}
    fields: Any = {name: (types[name], default) for name, (_, _, default) in numbers.items()}
    made: type[Settings] = create_model(kind.__name__, __base__=kind, __doc__=kind.__doc__, **fields)
    made.numbers = types
    return made


def read_with_numbers(kind: type[Settings], arguments: list[str], command: str) -> Settings:
    """Read settings with the numbers of all rules, those of a user that RULES names among them.

    Raises
    ------
    SettingsError
        A value is missing or wrong, or a rule cannot be found: one line names each.

    """
    try:
        named = read_settings(_Names, [word for word in arguments if word not in {"-h", "--help"}], command)
        numbered = with_numbers(kind, named.all_rules())
    except NoRuleError as error:
        raise SettingsError(f"RULES: {error}") from None
    except ValueError as error:
        raise SettingsError(str(error)) from None
    return read_settings(numbered, arguments, command)


def _bounded(of_type: Any, said: Number) -> Any:  # noqa: ANN401  (a type, as pydantic takes it)
    return Annotated[of_type, Field(ge=said.at_least, gt=said.above, le=said.at_most, description=said.about)]


def _read_overrides(text: str) -> Overrides:
    if not text:
        return {}
    if not text.lstrip().startswith("{"):
        text = _content(Path(text))
    if len(text.encode()) > _MOST_BYTES:
        raise ValueError(f"RULE_OVERRIDES: it has more than {_MOST_BYTES} bytes")
    try:
        read = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ValueError(f"RULE_OVERRIDES: it is no JSON: {error}") from None
    if not isinstance(read, dict):
        raise ValueError('RULE_OVERRIDES: it is not an object: {"SYMBOL": {...}}')  # noqa: TRY004  (as above)
    return read


def _content(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"RULE_OVERRIDES: {path} cannot be read: {error}") from None


def _symbol(name: str) -> str:
    if name == _ALL_SYMBOLS:
        return name
    try:
        return normalise_symbol(name)
    except NotATickError as error:
        raise ValueError(f"RULE_OVERRIDES: {error}") from None


def _names_in(where: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f'{where}: it is not a list of rules: ["price_level"]')
    for name in value:
        find(name)
    return value


def _check_together(rules: Rules, rule: type[Rule], symbol: str) -> None:
    try:
        rules.numbers_of(rule, symbol)
    except ValueError as error:
        raise ValueError(f"RULE_OVERRIDES: {symbol}: {error}") from None


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
