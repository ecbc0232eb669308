"""Flags of the local run: what is refused before anything starts."""

from pathlib import Path

import pytest

from common.errors import SettingsError
from common.settings import read_settings
from infra.local import __main__ as local
from infra.local.settings import LocalSettings


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--feed", "crystal-ball"], "FEED"),
        (["--feed", "replay"], "--file"),
        (["--feed", "replay", "--file", "missing.csv"], "missing.csv cannot be read"),
        (["--once"], "--once needs a feed that ends"),
        (["--speed", "max"], "--feed replay"),
        (["--queue-url", "http://localhost/1/q"], "--queue-url is for --feed sqs"),
        (["--feed", "sqs", "--kafka-topic", "quotes"], "--kafka-topic is for --feed kafka"),
        (["--feed", "sqs"], "FEED=sqs needs a queue"),
        (["--feed", "kafka", "--kafka-brokers", "localhost:9092"], "FEED=kafka needs brokers and a topic"),
        (["--feed", "yahoo"], "FEED=yahoo needs symbols"),
        (["--feed", "yahoo-live", "--symbols", "AAPL", "--once"], "--once needs a feed that ends"),
        (["--workers", "0"], "WORKERS"),
        (["--shards", "0"], "SHARDS"),
        (["--shards", "many"], "SHARDS"),
        (["--duration", "0"], "DURATION"),
        (["--duration", "nan"], "DURATION"),
        (["--symbols", "AAPL,not a symbol"], "SYMBOLS"),
        (["--notify", "slak://a/b/c"], "NOTIFY_URLS: URL 1: there is no service slak://, but there is slack://"),
        (["--feed", "replay", "--file", __file__, "--speed", "-1"], "REPLAY_SPEED"),
        (["--feed", "replay", "--file", __file__, "--once", "--duration", "5"], "leave out --duration"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_code_2(
    flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag that cannot be right is named in one line, before anything is started."""
    assert local.main(flags) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert reason in error


def test_environment_of_others_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """FILE or ONCE in somebody's environment do not change a run."""
    monkeypatch.setenv("ONCE", "true")
    monkeypatch.setenv("FILE", "missing.csv")
    assert read_settings(LocalSettings, [], "local").once is False


def test_export_that_cannot_be_written_stops_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that cannot be made is one line and exit code 1."""
    (tmp_path / "file").touch()
    assert local.main(["--export", str(tmp_path / "file" / "out")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_producer_is_told_the_same() -> None:
    """The producer gets the flags that concern it, the file with its whole path."""
    settings = read_settings(
        LocalSettings,
        ["--feed", "replay", "--file", __file__, "--speed", "max", "--symbol", "inda", "--symbols", "KO,PEP"],
        "local",
    )
    assert settings.producer_flags() == [
        "--feed=replay",
        f"--replay-file={Path(__file__).absolute()}",
        "--replay-speed=max",
        "--symbols=KO,PEP",
        "--symbol=inda",
    ]


def test_producer_is_told_what_is_said_of_the_file() -> None:
    """What is said of a file is passed on in the same words."""
    flags = ["--columns=-,date,close", "--separator=tab", "--decimal=,", "--time-format=%d/%m/%Y"]
    flags += ["--timezone=Europe/Berlin", "--session-timezone=America/Chicago", "--session-start=17:00"]
    settings = read_settings(LocalSettings, ["--feed", "replay", "--file", __file__, *flags], "local")
    assert settings.producer_flags()[2:] == flags
    assert read_settings(LocalSettings, ["--extended-hours"], "local").producer_flags()[1:] == ["--extended-hours"]


def test_unknown_flags_are_refused() -> None:
    """A flag that does not exist is an error, and not passed over."""
    with pytest.raises((SettingsError, SystemExit)):
        read_settings(LocalSettings, ["--wrokers", "2"], "local")
