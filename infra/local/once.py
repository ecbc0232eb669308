"""The end of a replay: when it is reached, and what it comes to."""

import json
import time
from collections import Counter
from io import BytesIO
from typing import TypedDict

from arro3.io import read_parquet

from common.errors import UserError
from infra.local.processes import Child
from infra.local.stores import Lease, Stores

_PATIENCE_SECONDS = 120


class Summary(TypedDict):
    """What a producer prints when its feed has ended."""

    published: int
    skipped: int
    last_sequence_numbers: dict[str, str]


def summary_of(producer: Child) -> Summary:
    """Read what the producer printed when it ended.

    Raises
    ------
    UserError
        It printed nothing.

    """
    lines = producer.output.read_text().splitlines()
    if not lines:
        raise UserError(f"the producer ended without a summary: {producer.last_error()}")
    summary: Summary = json.loads(lines[-1])
    return summary


def is_complete(last_sequence_numbers: dict[str, str], leases: list[Lease]) -> bool:
    """Tell whether each shard is processed and archived up to the last record that was put into it."""
    by_shard = {lease.shard_id: lease for lease in leases}
    return all(
        shard_id in by_shard and by_shard[shard_id].covers(number) for shard_id, number in last_sequence_numbers.items()
    )


class Progress:
    """Notices when nothing moves any more."""

    def __init__(self, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._state: object = None
        self._since = time.monotonic()

    def note(self, state: object) -> None:
        """Compare with the last state.

        Raises
        ------
        UserError
            It has been the same for too long.

        """
        now = time.monotonic()
        if state != self._state:
            self._state, self._since = state, now
        elif now - self._since > self._patience_seconds:
            raise UserError(
                f"nothing was processed for {self._patience_seconds:.0f} s, though not everything is: "
                "look at the consumers' logs"
            )


def count(stores: Stores, published: int, skipped: int, seconds: float) -> dict[str, int | float]:
    """Count what is in the tables and the bucket, beside what the producer published and passed over."""
    stored = suppressed = 0
    for row in stores.ticks():
        stored += 1
        suppressed += len(row.get("suppressed", ()))
    raw_lines = sum(1 for _ in stores.object_lines("raw-data/"))
    archived = _count_rows(stores)
    return {
        "published": published,
        "skipped": skipped,
        "stored": stored,
        "alerts": sum(1 for _ in stores.alerts()),
        "suppressed": suppressed,
        "duplicates": raw_lines - archived["rows"],
        "conflicts": archived["conflict"],
        "late": archived["late"],
        "quarantined": sum(1 for _ in stores.object_lines("quarantine/")),
        "archive_objects": len(stores.object_keys()),
        "seconds": round(seconds, 3),
    }


def _count_rows(stores: Stores) -> Counter[str]:
    """Count the archive's rows, and those that are flagged as late or as contradicting another."""
    counts = Counter[str]()
    for key in stores.object_keys("ticks/"):
        for batch in read_parquet(BytesIO(stores.object_bytes(key))):
            counts["rows"] += batch.num_rows
            for flag in {"late", "conflict"} & set(batch.schema.names):  # older files have no `conflict`
                counts[flag] += batch.num_rows - batch.column(flag).null_count
    return counts
