"""`tickertape backtest s3://...`: what is in a bucket, an archive above all, gives the alerts that were sent."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from consumer.config import ShardConfig
from desk.backtest.__main__ import main
from tests.functional.shard_process import Stores, config, in_batches, initialize, run, stores, ticks

__all__ = ["config", "stores"]  # fixtures

_COOLDOWN = ["--alert-cooldown-seconds", "30"]


def test_an_archive_gives_the_alerts_that_were_sent(
    config: ShardConfig, stores: Stores, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its rows and, where there are none, from what was received; each symbol whole in one of the parts."""
    run(config, initialize(), *in_batches(ticks(400), 90))
    sent = stores.alerts()
    archived = {json.loads(line)["timestamp"][:19] for line in stores.lines("raw-data/")}  # the last window is open
    expected = sorted(key for key, alert in sent.items() if str(alert["timestamp"])[:19] in archived)
    assert len(expected) > 5
    for folder in ("", "/raw-data"):
        alerts = tmp_path / "alerts.jsonl"
        arguments = [f"s3://archive{folder}", "--alerts", str(alerts), "--processes", "2", "--format", "json"]
        assert main([*arguments, *_COOLDOWN]) == 0
        found: list[dict[str, Any]] = [json.loads(line) for line in alerts.read_text().splitlines()]
        assert sorted(row["alert_id"] for row in found) == expected
        assert all(str(sent[row["alert_id"]]["message"]) == row["message"] for row in found)
        assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("url", "said"),
    [("s3://archive/nothing", "there is nothing"), ("s3://elsewhere", "bucket elsewhere")],
)
@pytest.mark.usefixtures("config")
def test_what_is_not_there(url: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bucket or a folder that is missing is one line."""
    assert main([url]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.usefixtures("config")
def test_keys_stay_below_their_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """A key that would be a path elsewhere is refused."""
    boto3.client("s3").put_object(Bucket="archive", Key="bars/../../../escaped.csv", Body=b"x")
    assert main(["s3://archive/bars"]) == 1
    assert "is no path below the bucket" in capsys.readouterr().err
