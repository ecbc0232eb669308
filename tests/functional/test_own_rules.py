"""A rule that somebody adds: one file, found on PYTHONPATH; what it does wrong harms nothing but itself."""

import json
import logging
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from common.errors import SettingsError
from consumer import config as shard_config
from consumer.config import ShardConfig
from consumer.detection import Rules
from consumer.rule_settings import read_with_numbers
from consumer.settings import ConsumerSettings
from desk.backtest.__main__ import main as backtest
from tests.detecting import example
from tests.functional.shard_process import Stores, config, in_batches, initialize, run, stores, ticks

__all__ = ["config", "stores"]  # fixtures

ROOT = Path(__file__).parents[2]
_REQUIRED = ["--archive-bucket", "bucket", "--alert-topic-arn", "arn:aws:sns:eu-central-1:1:alerts"]

_FAILING = '''
from consumer.detection import UP, Column, Rule


class Thirds(Rule):
    """Up on odd ticks; raises on each third, and when asked for the evidence of the fifth."""

    name = "thirds"
    severity = "info"
    remembers = ("count",)

    def __init__(self, numbers, history):
        self.count = 0

    @classmethod
    def columns(cls, numbers):
        return (Column("seen", "N"),)

    def update(self, tick):
        self.count += 1
        if self.count % 3 == 0:
            raise ZeroDivisionError("a third")
        self.values = (self.count,)
        return UP if self.count % 2 else 0

    def evidence(self, tick, side):
        return (tick.price, "high") if self.count == 5 else (tick.price, tick.price)

    @staticmethod
    def sentence(alert):
        return f"{alert.symbol} is odd."


class Unborn(Thirds):
    """Cannot be made."""

    name = "unborn"

    def __init__(self, numbers, history):
        raise KeyError(history.symbol)

    @classmethod
    def columns(cls, numbers):
        return (Column("unborn", "N"),)


class Forgetful(Thirds):
    """Remembers what cannot be remembered, and cannot go on."""

    name = "forgetful"
    remembers = ("count", "word")
    word = "text"

    @classmethod
    def columns(cls, numbers):
        return (Column("forgotten", "N"),)

    def resume(self):
        raise LookupError("nothing")


class Priced(Thirds):
    """Its column is one of every row."""

    name = "priced"

    @classmethod
    def columns(cls, numbers):
        return (Column("price", "N"),)


class Columnless(Thirds):
    name = "columnless"

    @classmethod
    def columns(cls, numbers):
        return (Column(cls.nothing, "N"),)


class Doubled(Thirds):
    name = "doubled"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PYTHONPATH with rules of somebody's own."""
    (tmp_path / "my_rules.py").write_text(example())
    (tmp_path / "failing_rules.py").write_text(_FAILING)
    (tmp_path / "broken_rules.py").write_text("import nothing_that_is_there\n")
    (tmp_path / "raising_rules.py").write_text("1 / 0\n")
    (tmp_path / "other_rules.py").write_text(
        "from consumer.detection import Rule\nclass Nameless(Rule): pass\n"
        "class Loud(Rule):\n name, severity = 'loud', 'deafening'\n"
        "class Twin(Rule):\n name, severity = 'z_score', 'info'\n"
    )
    for name in ("my_rules", "failing_rules", "broken_rules", "raising_rules", "other_rules"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_documents_example_works(config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no longer than promised, its number is a flag, its column is in rows, and its alerts are sent."""
    assert len(example().splitlines()) <= 25
    flags = ["--rules", "sma_cross,my_rules:Breakout", "--breakout-ticks", "12"]
    settings = read_with_numbers(ConsumerSettings, [*_REQUIRED, *flags], "consume")
    rules = settings.chosen_rules()
    assert rules.numbers == {"breakout_ticks": 12}
    monkeypatch.setenv("TICKERTAPE_SHARD_CONFIG", "")
    shard_config.pass_on(replace(config, rules=rules))
    run(shard_config.received(), initialize(), *in_batches(ticks(120), 50))
    alerts = [alert for alert in stores.alerts().values() if alert["rule"] == "breakout"]
    assert alerts
    assert all(str(alert["message"]).startswith(str(alert["symbol"])) for alert in alerts)
    assert {alert["kind"] for alert in alerts} == {"signal"}
    assert {"breakout"} <= {rule for row in stores.rows().values() for rule in row.get("anomalies", ())}


@pytest.mark.usefixtures("folder")
def test_a_rule_of_somebodys_survives_a_crash(config: ShardConfig, stores: Stores) -> None:
    """Its memory is in the snapshot: with and without a restart, the rows are the same."""
    thirds = replace(config, rules=Rules.of("failing_rules:Thirds", "z_score"))
    records = ticks(150)
    daemon = run(thirds, initialize(), *in_batches(records[:100], 40))
    run(thirds, *in_batches([*daemon.uncovered(), *records[100:]], 40), after=daemon)
    seen = [(row["symbol"], int(row["seen"])) for row in stores.rows().values() if "seen" in row]
    assert sorted(seen) == sorted((name, n) for name in ("AAPL", "MSFT") for n in range(1, 76) if n % 3 and n != 5)


@pytest.mark.usefixtures("folder")
def test_a_rule_that_fails_is_off_for_that_tick(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is quarantined, others go on; it is counted with each chunk, and told once a minute with its name."""
    with caplog.at_level(logging.INFO):
        run(
            replace(config, rules=Rules.of("failing_rules:Thirds", "price_move")),
            initialize(),
            *in_batches(ticks(90), 45),
        )
    assert len(stores.rows()) == 90
    assert not [key for key in stores.objects() if key.startswith("quarantine/")]
    assert {alert["rule"] for alert in stores.alerts().values()} == {"thirds", "price_move"}
    told = [record.__dict__ for record in caplog.records if record.msg == "rule_failed"]
    assert 1 <= len(told) <= 2  # where the test goes over a minute's end
    assert {(line["rule"], line["error"]) for line in told} == {("thirds", "ZeroDivisionError('a third')")}
    counted = [record.__dict__["rule_failures"] for record in caplog.records if record.msg == "archived"]
    assert counted
    assert all(failures["thirds"] > 1 for failures in counted)


@pytest.mark.usefixtures("folder")
def test_a_rule_that_cannot_begin_or_go_on_is_off(config: ShardConfig, stores: Stores) -> None:
    """Neither one that cannot be made, nor one whose memory cannot be written or read, stops the shard."""
    broken = replace(config, rules=Rules.of("failing_rules:Unborn", "failing_rules:Forgetful", "price_move"))
    records = ticks(120)
    daemon = run(broken, initialize(), *in_batches(records[:100], 40))
    run(broken, *in_batches([*daemon.uncovered(), *records[100:]], 40), after=daemon)
    assert len(stores.rows()) == 120
    assert {"price_move", "forgetful"} == {alert["rule"] for alert in stores.alerts().values()}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("failing_rules:Priced", "cannot be named price"),
        ("failing_rules:Columnless", "a rule does not say what its columns are: AttributeError"),
        ("failing_rules:Thirds,failing_rules:Doubled", "more than one rule has a column seen"),
        ("nowhere:Rule", "there is no module nowhere on PYTHONPATH"),
        ("my_rules:Breakin", "module my_rules has no Breakin"),
        ("json:dumps", "must be a class derived from consumer.detection.Rule"),
        ("broken_rules:X", "there is no module nothing_that_is_there"),
        ("raising_rules:X", "importing raising_rules fails: ZeroDivisionError"),
        ("other_rules:Nameless", "its name is None"),
        ("other_rules:Loud", "its severity is 'deafening'"),
        ("other_rules:Twin", "has the name of another rule, z_score"),
        ("my_rules", "there is no rule 'my_rules'"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_no_rule_is_one_line(rules: str, said: str) -> None:
    """Each says what is wrong with it."""
    with pytest.raises(SettingsError) as caught:
        read_with_numbers(ConsumerSettings, [*_REQUIRED, "--rules", rules], "consume")
    assert str(caught.value).startswith("RULES: ")
    assert said in str(caught.value)


def test_a_backtest_tells_what_a_rule_costs_and_that_it_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules of somebody's own are tried before they run for months."""
    bars = folder / "bars.csv"
    bars.write_text("".join((ROOT / "tests/data/inda_1min.csv").read_text().splitlines(keepends=True)[:200]))
    flags = ["--rules", "failing_rules:Thirds", "--symbol", "INDA"]
    assert backtest([str(bars), *flags, "--format", "json"]) == 0
    (row,) = (row for row in json.loads(capsys.readouterr().out, parse_float=Decimal) if row["by"] == "rule")
    assert row["name"] == "thirds"
    assert row["us_a_tick"] > 0
    assert backtest([str(bars), *flags, "--format", "table"]) == 0
    assert "Rule thirds failed on 67 ticks, first on INDA 2023-" in " ".join(capsys.readouterr().out.split())


def overrides(text: str) -> dict[str, Any]:
    """What becomes of RULE_OVERRIDES."""
    settings = read_with_numbers(ConsumerSettings, [*_REQUIRED, "--rule-overrides", text], "consume")
    return settings.chosen_rules().overrides


def test_overrides_are_of_symbols(tmp_path: Path) -> None:
    """As JSON or as a file; symbols are folded to upper case, numbers are what JSON has."""
    text = '{"btc-usd": {"price_move_percent": 8.5}, "^VIX": {"rules": ["price_level"], "alert_threshold": 30}}'
    expected = {"BTC-USD": {"price_move_percent": "8.5"}, "^VIX": {"rules": ["price_level"], "alert_threshold": "30"}}
    assert overrides(text) == expected
    (tmp_path / "overrides.json").write_text(text)
    assert overrides(str(tmp_path / "overrides.json")) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"BTC-USD": {"price_move_percnt": 8}}', "BTC-USD: price_move_percnt is no number of a rule"),
        ('{"BTC-USD": {"price_move_percent": -8}}', "BTC-USD: price_move_percent: Input should be greater than 0"),
        ('{"BTC-USD": {"sma_slow": 3}}', "BTC-USD: SMA_FAST (5) must be below SMA_SLOW (3)"),
        ('{"BTC-USD": {"rules": "price_level"}}', "it is not a list of rules"),
        ('{"BTC-USD": {"rules": ["prize_level"]}}', "there is no rule 'prize_level'"),
        ('{"BTC-USD": 8}', "BTC-USD: it is not an object"),
        ('{"B T C": {}}', "symbol is not"),
        ('{"BTC-USD": ', "it is no JSON"),
        ("nowhere.json", "nowhere.json cannot be read"),
        ('{"*": {"sma_fast": 1}}', "*: sma_fast: Input should be greater than or equal to 2"),
    ],
)
def test_overrides_that_cannot_be(text: str, said: str) -> None:
    """The line names the symbol and the field."""
    with pytest.raises(SettingsError) as caught:
        overrides(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_count_for_their_symbols(config: ShardConfig, stores: Stores) -> None:
    """A symbol has its own rules and numbers, and others none of it."""
    flags = ["--rule-overrides", '{"AAPL": {"rules": ["z_score"]}, "*": {"rules": ["sma_cross", "z_score"]}}']
    rules = read_with_numbers(ConsumerSettings, [*_REQUIRED, *flags], "consume").chosen_rules()
    run(replace(config, rules=rules), initialize(), *in_batches(ticks(200), 70))
    rows = stores.rows()
    assert {name for name, row in ((key[0], row) for key, row in rows.items()) if "sma_5" in row} == {"MSFT"}
    fired = {(symbol, rule) for (symbol, _), row in rows.items() for rule in row.get("anomalies", ())}
    assert {("MSFT", "sma_cross"), ("AAPL", "z_score")} <= fired
    assert ("AAPL", "sma_cross") not in fired
