"""The consumer's settings, and what becomes of them: the shards' configuration and the KCL's properties."""

from decimal import Decimal

import pytest

from common.errors import SettingsError
from consumer import config
from consumer.daemon import kcl_properties
from consumer.detection import RULES, Rules
from consumer.rule_settings import read_with_numbers
from consumer.settings import ConsumerSettings

REQUIRED = ["--archive-bucket", "bucket", "--alert-topic-arn", "arn:aws:sns:eu-central-1:1:alerts"]


def read(*arguments: str) -> ConsumerSettings:
    """Read settings as the command does."""
    return read_with_numbers(ConsumerSettings, [*REQUIRED, *arguments], "consume")


def test_defaults_are_the_rules_defaults() -> None:
    """The numbers of the rules stand in two places that must agree."""
    assert read().shard_config().rules == Rules()


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One name is both: --sma-fast beats SMA_FAST, which beats the default."""
    monkeypatch.setenv("SMA_FAST", "7")
    monkeypatch.setenv("SMA_SLOW", "30")
    assert read("--sma-fast", "9").chosen_rules().numbers == {"sma_fast": 9, "sma_slow": 30}


def test_levels_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symbols are folded to upper case, levels keep their decimals."""
    monkeypatch.setenv("PRICE_LEVELS", '{"aapl": 200.05, "m&m.ns": 98, "nifty_fin_service.ns": 0.5}')
    (rule,) = (rule for rule in RULES if rule.name == "price_level")
    assert read().chosen_rules().numbers_of(rule) == rule.numbers(
        price_levels={
            "AAPL": Decimal("200.05"),
            "M&M.NS": Decimal(98),
            "NIFTY_FIN_SERVICE.NS": Decimal("0.5"),
        }
    )


def test_names_of_other_producers_reach_the_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """FIELD_MAP is JSON, and part of what the process of a shard is told; without it all names are the contract's."""
    assert read().shard_config().field_map == {}
    monkeypatch.setenv("FIELD_MAP", '{"TICKER": "symbol", "price": "open", "PRICE": "price"}')
    assert read().shard_config().field_map == {"TICKER": "symbol", "price": "open", "PRICE": "price"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sma-fast", "abc"], ["SMA_FAST", "abc"]),
        (["--row-seconds", "61"], ["ROW_SECONDS (61) must not be above ARCHIVE_SECONDS (60)"]),
        (["--row-seconds", "-1"], ["ROW_SECONDS", "greater than or equal to 0"]),
        (["--sma-fast", "20"], ["SMA_FAST (20) must be below SMA_SLOW (20)"]),
        (["--price-move-reset-percent", "6"], ["PRICE_MOVE_RESET_PERCENT must not be above"]),
        (["--alert-cooldown-seconds", "-1"], ["ALERT_COOLDOWN_SECONDS", "-1"]),
        (["--alert-threshold", "-5"], ["ALERT_THRESHOLD", "above 0"]),
        (["--price-levels", '{"A B": 1}'], ["PRICE_LEVELS", "symbol"]),
        (["--price-levels", '{"A": '], ["price_levels"]),
        (["--field-map", '{"TICKER": "ticker"}'], ["FIELD_MAP", "'ticker' is no field of a tick", "symbol, price"]),
        (["--field-map", '{"P": "price", "PRICE": "price"}'], ["FIELD_MAP", "both 'P' and 'PRICE' stand for 'price'"]),
        (["--field-map", '{"change": "change_percent"}'], ["FIELD_MAP", "'change_percent' is no field"]),
        (["--field-map", '{"TICKER": 1}'], ["FIELD_MAP"]),
        (["--field-map", '["TICKER"]'], ["field_map"]),
        (["--field-map", '{"TICKER": '], ["field_map"]),
        (["--alert-topic-arn", "nonsense"], ["ALERT_TOPIC_ARN"]),
        (["--z-score-threshold", "0"], ["Z_SCORE_THRESHOLD"]),
        (["--no-such-flag"], ["--no-such-flag"]),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(arguments: list[str], words: list[str]) -> None:
    """The message names the setting and what is wrong with it."""
    with pytest.raises(SettingsError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_required_settings_are_named_when_missing() -> None:
    """Without a bucket and a topic nothing can start."""
    with pytest.raises(SettingsError, match=r"ARCHIVE_BUCKET.*ALERT_TOPIC_ARN"):
        read_with_numbers(ConsumerSettings, [], "consume")


def test_a_shards_process_receives_what_was_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration survives the way through the environment, decimals and all."""
    monkeypatch.setenv("TICKERTAPE_SHARD_CONFIG", "")
    sent = read("--price-levels", '{"AAPL": 200.05}', "--z-score-threshold", "3.5").shard_config()
    config.pass_on(sent)
    assert config.received() == sent


def test_kcl_variables_become_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any property of the KCL can be set, and wins over ours; what is meant for kclpy's installation is left out."""
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    environment = {
        "KCL_FAILOVER_TIME_MILLIS": "3000",
        "KCL_INITIAL_POSITION_IN_STREAM": "LATEST",
        "KCL_MVN_REPO_SEARCH_URL": "somewhere",
        "OTHER": "1",
    }
    properties = kcl_properties(read("--stream-name", "quotes"), environment)
    assert properties["failoverTimeMillis"] == "3000"
    assert properties["initialPositionInStream"] == "LATEST"
    assert properties["streamName"] == "quotes"
    assert properties["regionName"] == "eu-west-3"
    assert "mvnRepoSearchUrl" not in properties
    assert "other" not in properties
