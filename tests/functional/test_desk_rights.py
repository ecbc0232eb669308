"""What the commands that ask say to somebody who may not ask: which action is missing, in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.test_check_command import somebody_without
from tests.integration.pipeline import Pipeline


@pytest.mark.timeout(120)
def test_denied_actions_are_named(tmp_path: Path) -> None:
    """Each action that somebody lacks is in the line that the command ends with."""
    questions = {
        "Query": ["latest", "KO"],
        "ListObjectsV2": ["quarantine"],
        "PutRecord": ["quarantine", "replay", "--file", str(tmp_path / "mended.jsonl")],
    }
    mended = '{"id":"a","arrived_at":"2026-01-02T03:04:05.000000Z","payload":"{\\"symbol\\":\\"KO\\",\\"price\\":1}"}\n'
    (tmp_path / "mended.jsonl").write_text(mended)
    with Pipeline(tmp_path, shards=1) as stack:
        somebody = somebody_without(stack, ("Query", "ListBucket", "PutRecord"))
        environment = {**stack.environment(), **somebody, "TMPDIR": str(tmp_path), "AWS_CONFIG_FILE": os.devnull}
        for action, words in questions.items():
            run = subprocess.run(
                [sys.executable, "-m", "tickertape", *words],
                env=environment,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert (run.returncode, run.stdout) == (1, "")
            assert len(run.stderr.splitlines()) == 1
            assert f"AWS refused {action} (" in run.stderr
            granted = "s3:ListBucket" if action == "ListObjectsV2" else "this action"
            assert f"grant {granted} to the role in use" in run.stderr
