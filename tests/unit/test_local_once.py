"""When a replay is done."""

import time

import pytest

from common.errors import UserError
from infra.local.once import Progress, is_complete
from infra.local.stores import Lease


@pytest.mark.parametrize(
    ("checkpoint", "last", "covered"),
    [
        ("9", "9", True),
        ("10", "9", True),
        ("9", "10", False),
        ("49590338271490256608559692538361571095921575989136588898", "9" * 55, True),
        ("SHARD_END", "10", True),
        ("TRIM_HORIZON", "0", False),
        ("LATEST", "0", False),
        ("", "0", False),
    ],
)
def test_checkpoints_are_compared_as_numbers(checkpoint: str, last: str, covered: bool) -> None:
    """A checkpoint covers a record with the same or a smaller number; one that is no number covers nothing."""
    assert Lease("shard", "worker", checkpoint).covers(last) is covered


def test_every_shard_that_got_records_must_be_covered() -> None:
    """A replay is done when each shard that got records is covered; shards without any do not matter."""
    leases = [Lease("a", "w", "5"), Lease("b", "w", "TRIM_HORIZON")]
    assert is_complete({"a": "5"}, leases)
    assert is_complete({}, leases)
    assert not is_complete({"a": "5", "b": "1"}, leases)
    assert not is_complete({"c": "1"}, leases)


def test_progress_ends_patience_only_when_nothing_moves() -> None:
    """A state that changes is progress; one that stays for longer than the patience is an error."""
    progress = Progress(patience_seconds=0)
    progress.note(1)
    progress.note(2)
    time.sleep(0.01)
    with pytest.raises(UserError, match="nothing was processed"):
        progress.note(2)
