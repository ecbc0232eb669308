"""The quarantine: records that were no ticks, and how they are published again."""

import gzip
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from itertools import groupby
from operator import attrgetter

import msgspec

from common.aws import ask
from common.tick import TickDecoder, encode, timestamp_of
from desk import archive
from desk.moments import epoch_ms
from desk.system import System


class Reject(msgspec.Struct, dict=True):
    """A record that is no tick, or a part of one: why, where it was in the stream, and its bytes.

    ``record_index`` is the place within a record of several ticks; ``arrived_at`` is
    ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.
    """

    reason: str
    shard_id: str
    sequence_number: str
    sub_sequence_number: int
    partition_key: str
    arrived_at: str
    data: bytes
    record_index: int | None = None

    @cached_property
    def id(self) -> str:
        """A short name, made of the place in the stream."""
        place = f"{self.shard_id}/{self.sequence_number}/{self.sub_sequence_number}/{self.record_index}"
        return sha256(place.encode()).hexdigest()[:12]

    @property
    def payload(self) -> str:
        """The bytes as text; what is not UTF-8 is shown as the replacement character."""
        return self.data.decode(errors="replace")


class Again(msgspec.Struct, gc=False):
    """What is to be published again."""

    partition_key: str
    data: bytes


def rejects(system: System, since: str | None = None, until: str | None = None) -> Iterator[Reject]:
    """Read what arrived in some time, the newest first, object by object as it is wanted.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    found = archive.objects(system, "quarantine", since, until)
    for _, same_window in groupby(archive.fetch(system, found), key=lambda fetched: fetched[0].start):
        arrived = [reject for _, body in same_window for reject in _read(body)]
        arrived.sort(key=attrgetter("arrived_at"), reverse=True)
        yield from (reject for reject in arrived if (since or " ") <= reject.arrived_at <= (until or "~"))


def _read(body: bytes) -> list[Reject]:
    lines = gzip.decompress(body).splitlines()
    return [msgspec.json.decode(line, type=Reject) for line in lines]


class Reader:
    """Reads what was no tick once more: as this version does, and with these names of fields.

    Parameters
    ----------
    decoder
        Reads payloads.
    now_ms
        The time in epoch milliseconds: what was ahead of its arrival may not be ahead of now.

    """

    def __init__(self, decoder: TickDecoder, now_ms: int) -> None:
        self._decoder = decoder
        self._now_ms = now_ms

    def again(self, reject: Reject) -> Again:
        """Say how to publish it: as it was, or with the time of its arrival if it has none of its own.

        Raises
        ------
        NotATickError
            It still is none.

        """
        tick = self._decoder.decode(reject.data, self._now_ms)
        if tick.timestamp == timestamp_of(self._now_ms):
            tick = self._decoder.decode(reject.data, epoch_ms(reject.arrived_at))
            return Again(reject.partition_key, encode(tick))
        return Again(reject.partition_key, reject.data)

    def mended(self, payload: bytes, arrived_at: str) -> Again:
        """Say how to publish a mended payload: under its symbol.

        Raises
        ------
        NotATickError
            It is no tick.

        """
        tick = self._decoder.decode(payload, epoch_ms(arrived_at))
        return Again(tick.symbol, encode(tick))


def publish(system: System, wanted: Iterable[Again]) -> Iterator[str]:
    """Put each record into the stream, one after the other, and give its sequence number.

    A tick that the stream has had already is a duplicate there, which changes nothing.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    for record in wanted:
        yield _put(system, record)


def _put(system: System, record: Again) -> str:
    def attempt() -> str:
        put = system.kinesis.put_record(StreamName=system.stream, PartitionKey=record.partition_key, Data=record.data)
        return put["SequenceNumber"]

    return ask(f"stream {system.stream}", attempt)
