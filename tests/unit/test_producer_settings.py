"""What the producer can be told, and how it refuses."""

import math
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from common.errors import SettingsError
from common.settings import read_settings
from producer.settings import ProducerSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in ProducerSettings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)


def read(*arguments: str) -> ProducerSettings:
    """Read the settings from these flags."""
    return read_settings(ProducerSettings, list(arguments), "produce")


def test_defaults_publish_a_simulated_market_every_30_seconds() -> None:
    """Without any setting, the simulated feed goes to stock-market-stream, a quote each 30 seconds."""
    settings = read()
    assert (settings.stream_name, settings.feed, settings.symbols) == ("stock-market-stream", "simulated", ())
    assert settings.feed_interval_seconds == 30


def test_symbols_are_a_comma_list_folded_to_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """SYMBOLS is split at commas, trimmed and folded, from a flag as from the environment."""
    monkeypatch.setenv("SYMBOLS", "aapl, brk.b,^gspc")
    assert read().symbols == ("AAPL", "BRK.B", "^GSPC")
    assert read("--symbols", "BRK-B,btc-usd,EURUSD=X").symbols == ("BRK-B", "BTC-USD", "EURUSD=X")
    assert read("--symbols", "msft,KO").symbols == ("MSFT", "KO")
    yahoo = read("--feed", "yahoo", "--symbols", "M&M.NS,reliance.ns,NIFTY_FIN_SERVICE.NS")
    assert yahoo.symbols == ("M&M.NS", "RELIANCE.NS", "NIFTY_FIN_SERVICE.NS")


def test_replay_speed_is_a_number_or_max() -> None:
    """REPLAY_SPEED reads a positive number, and max as infinitely fast."""
    replay = ("--feed", "replay", "--replay-file", "bars.csv")
    assert read(*replay).replay_speed == 1
    assert read(*replay, "--replay-speed", "2.5").replay_speed == 2.5
    assert read(*replay, "--replay-speed", "max").replay_speed == math.inf
    assert read(*replay).replay_file == Path("bars.csv")


def test_ticks_do_not_linger_and_share_no_records_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """PUBLISH_LINGER_MILLISECONDS and AGGREGATE have their defaults, and can be set."""
    assert (read().publish_linger_milliseconds, read().aggregate) == (0, False)
    monkeypatch.setenv("AGGREGATE", "true")
    assert read("--publish-linger-milliseconds", "50").publish_linger_milliseconds == 50
    assert read().aggregate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--feed", "replay"], "FEED=replay needs a file: set REPLAY_FILE"),
        (["--feed", "bloomberg"], "FEED: Input should be 'simulated', 'replay', 'yahoo', 'yahoo-live'"),
        (
            ["--feed", "kafka", "--kafka-topic", "x"],
            "FEED=kafka needs brokers and a topic: set KAFKA_BROKERS",
        ),
        (["--feed", "sqs"], "FEED=sqs needs a queue: set QUEUE_URL"),
        (
            ["--field-map", '{"TICKER": "ticker"}'],
            "FIELD_MAP: 'ticker' is no field of a tick; these are: symbol, price",
        ),
        (["--publish-linger-milliseconds", "-1"], "PUBLISH_LINGER_MILLISECONDS: Input should be greater than or equal"),
        (["--feed-interval-seconds", "-1"], "FEED_INTERVAL_SECONDS: Input should be greater than 0"),
        (["--feed-interval-seconds", "0"], "FEED_INTERVAL_SECONDS: Input should be greater than 0"),
        (["--feed-interval-seconds", "inf"], "FEED_INTERVAL_SECONDS: Input should be a finite number"),
        (["--feed-interval-seconds", "soon"], "FEED_INTERVAL_SECONDS: Input should be a valid number"),
        (["--feed", "yahoo"], "FEED=yahoo needs symbols: set SYMBOLS"),
        (["--feed", "yahoo-live"], "FEED=yahoo-live needs symbols: set SYMBOLS"),
        (["--market-closed-interval-seconds", "0"], "MARKET_CLOSED_INTERVAL_SECONDS: Input should be greater than 0"),
        (["--stream-silence-seconds", "-1"], "STREAM_SILENCE_SECONDS: Input should be greater than 0"),
        (["--symbols", "AAPL,a b"], "SYMBOLS: 'a b': symbol is not 1 to 32 characters"),
        (["--symbols", "AAPL,,KO"], "SYMBOLS: '': symbol is not 1 to 32 characters"),
        (["--symbols", "AAPL,KO,aapl"], "SYMBOLS: AAPL is there more than once"),
        (["--symbol", "x" * 33], "SYMBOL: "),
        (["--replay-speed", "0"], "REPLAY_SPEED: give a positive number, or max (it is '0')"),
        (["--replay-speed", "nan"], "REPLAY_SPEED: give a positive number, or max (it is 'nan')"),
        (["--replay-speed", "fast"], "REPLAY_SPEED: give a positive number, or max (it is 'fast')"),
        (["--simulation-seed", "x"], "SIMULATION_SEED: Input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    """Each wrong setting is named in one line that says what it should be."""
    with pytest.raises(SettingsError) as refusal:
        read(*arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_every_setting_is_explained_in_a_sentence() -> None:
    """Every field has a description that --help shows, one sentence long."""
    for name, field in ProducerSettings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert ". " not in field.description, name


def test_what_is_said_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags and variables say how a file is to be read; the width of the terminal says nothing of it."""
    reading = read("--columns=-,date,close", "--separator", "tab", "--decimal", ",", "--session-start", "17:00").reading
    assert (reading.columns, reading.separator, reading.decimal) == (("-", "date", "close"), "\t", ",")
    assert reading.session_start == time(17)
    monkeypatch.setenv("TIMEZONE", "America/New_York")
    monkeypatch.setenv("COLUMNS", "132")
    reading = read("--time-format", "%d/%m/%Y").reading
    assert (reading.columns, reading.timezone, reading.time_format) == ((), ZoneInfo("America/New_York"), "%d/%m/%Y")
    assert (reading.session_timezone, reading.separator, reading.decimal) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timezone", "Mars/Olympus"], "TIMEZONE: there is no such time zone: give one as America/New_York"),
        (["--session-timezone", "../etc/passwd"], "SESSION_TIMEZONE: there is no such time zone"),
        (["--session-start", "5pm"], "SESSION_START: give hours and minutes, as 17:00 (it is '5pm')"),
        (["--separator", "::"], "SEPARATOR: give one character, or tab (it is '::')"),
        (["--decimal", ";"], "DECIMAL: Input should be '.' or ','"),
        (["--time-format", "%Q"], "TIME_FORMAT: it is no format of strptime"),
        (["--time-format", "%d %d"], "TIME_FORMAT: it is no format of strptime"),
        (["--time-format", "%H:%M"], "TIME_FORMAT: it has to have year, month and day"),
        (["--time-format", "%d/%m"], "TIME_FORMAT: it has to have year, month and day"),
    ],
)
def test_what_is_said_wrongly_of_a_file(arguments: list[str], message: str) -> None:
    """A wrong setting is named, with what it should be."""
    with pytest.raises(SettingsError) as failure:
        read(*arguments)
    assert str(failure.value).startswith(message)
