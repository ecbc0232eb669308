"""The MultiLangDaemon's protocol, read with msgspec: several times faster than kclpy's own reading of it.

One JSON message a line comes in on stdin, one a line goes out on stdout; kclpy's KCLProcess runs the conversation.
"""

from typing import Any, ClassVar, Protocol

import msgspec
from amazon_kclpy.kcl import Checkpointer, KCLProcess, _IOHandler
from amazon_kclpy.messages import CheckpointInput


class Record(msgspec.Struct, tag_field="action", tag="record", rename="camel", gc=False):
    """One (de-aggregated) record of a shard; ``data`` is decoded from base64, the time is in epoch milliseconds.

    A record that holds several ticks is cut into one for each: ``record_index`` is its place in what was sent.
    """

    data: bytes
    partition_key: str
    sequence_number: str
    sub_sequence_number: int
    approximate_arrival_timestamp: int
    record_index: int | None = None

    @property
    def position(self) -> tuple[int, int]:
        """Where the record stands in its shard: comparable, greater is later; the same for all parts of one."""
        return int(self.sequence_number), self.sub_sequence_number

    @property
    def checkpoint(self) -> str:
        """What the checkpoint after this record is called."""
        return checkpoint_name(self.sequence_number, self.sub_sequence_number)


def checkpoint_name(sequence_number: str, sub_sequence_number: int) -> str:
    """Name a checkpoint: ``495…-0``."""
    return f"{sequence_number}-{sub_sequence_number}"


class RecordProcessor(Protocol):
    """What the daemon tells the process of a shard; every call is answered when it returns."""

    def initialize(self, shard_id: str, checkpoint: str | None) -> None:
        """Before anything else, once; the checkpoint is the last one that was made of the shard, if there is one."""

    def process_records(
        self, records: list[Record], millis_behind_latest: int | None, checkpointer: Checkpointer
    ) -> None:
        """With records in the shard's order, or none when there is nothing new."""

    def lease_lost(self) -> None:
        """Another worker owns the shard now: nothing may be checkpointed."""

    def shard_ended(self, checkpointer: Checkpointer) -> None:
        """Every record of a closed shard was processed: the end must be checkpointed."""

    def shutdown_requested(self) -> None:
        """The worker is about to stop."""


class _Message(msgspec.Struct, tag_field="action", rename="camel"):
    """A message knows what to call; ``action`` is its name on the wire."""

    action: ClassVar[str]

    def dispatch(self, checkpointer: Checkpointer, processor: RecordProcessor) -> None:
        raise NotImplementedError


class _Initialize(_Message, tag="initialize"):
    action: ClassVar = "initialize"
    shard_id: str
    sequence_number: str
    sub_sequence_number: int | None = None

    def dispatch(self, checkpointer: Checkpointer, processor: RecordProcessor) -> None:
        begins = not self.sequence_number.isdecimal()  # it is TRIM_HORIZON or another place in the stream
        checkpoint = None if begins else checkpoint_name(self.sequence_number, self.sub_sequence_number or 0)
        processor.initialize(self.shard_id, checkpoint)


class _ProcessRecords(_Message, tag="processRecords"):
    action: ClassVar = "processRecords"
    records: list[Record]
    millis_behind_latest: int | None = None

    def dispatch(self, checkpointer: Checkpointer, processor: RecordProcessor) -> None:
        processor.process_records(self.records, self.millis_behind_latest, checkpointer)


class _LeaseLost(_Message, tag="leaseLost"):
    action: ClassVar = "leaseLost"

    def dispatch(self, checkpointer: Checkpointer, processor: RecordProcessor) -> None:
        processor.lease_lost()


class _ShardEnded(_Message, tag="shardEnded"):
    action: ClassVar = "shardEnded"

    def dispatch(self, checkpointer: Checkpointer, processor: RecordProcessor) -> None:
        processor.shard_ended(checkpointer)


class _ShutdownRequested(_Message, tag="shutdownRequested"):
    action: ClassVar = "shutdownRequested"

    def dispatch(self, checkpointer: Checkpointer, processor: RecordProcessor) -> None:
        processor.shutdown_requested()


class _Checkpoint(msgspec.Struct, tag_field="action", tag="checkpoint", rename="camel"):
    sequence_number: str | None = None
    sub_sequence_number: int | None = None
    error: str | None = None


class _Messages(_IOHandler):  # type: ignore[misc]  # kclpy ships no types
    """Reads the daemon's messages; what goes out stays as kclpy writes it."""

    _decode = msgspec.json.Decoder(
        _Initialize | _ProcessRecords | _LeaseLost | _ShardEnded | _ShutdownRequested | _Checkpoint
    ).decode

    def load_action(self, line: bytes) -> Any:  # noqa: ANN401  (kclpy's own classes and ours)
        message = _Messages._decode(line)
        if isinstance(message, _Checkpoint):
            return CheckpointInput(msgspec.to_builtins(message))
        return message


class ShardProcess(KCLProcess):  # type: ignore[misc]  # kclpy ships no types
    """KCLProcess with our reading of messages.

    Parameters
    ----------
    processor
        Must leave with SystemExit where it cannot go on: KCLProcess prints other exceptions and reports success.
    input_file, output_file, error_file
        The conversation: bytes come in, text goes out.

    """

    def __init__(self, processor: RecordProcessor, input_file: Any, output_file: Any, error_file: Any) -> None:  # noqa: ANN401
        self.io_handler = _Messages(input_file, output_file, error_file)
        self.checkpointer = Checkpointer(self.io_handler)
        self.processor = processor
