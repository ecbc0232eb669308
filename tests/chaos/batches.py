"""Requests of many entries, of which a service may do a part: what is sent on, and what the whole is answered."""

import json
import re
from collections import defaultdict
from collections.abc import Collection
from typing import Protocol
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree as ET

_CODE = "ProvisionedThroughputExceededException"
_MESSAGE = "Rate exceeded"


class Batch(Protocol):
    """A request of ``size`` entries."""

    size: int

    @property
    def nothing_done(self) -> bytes | None:
        """The answer that `refuse` completes if no entry is kept; None: the service refuses the request itself."""

    def part(self, kept: Collection[int]) -> bytes:
        """Give the body of a request for some of the entries."""

    def refuse(self, kept: Collection[int], answer: bytes) -> bytes:
        """Complete the answer for the entries that were kept to one for all, the others being refused."""


class _PutRecords:
    nothing_done = b'{"FailedRecordCount":0,"Records":[]}'

    def __init__(self, body: bytes) -> None:
        self._request = json.loads(body)
        self._records = self._request["Records"]
        self.size = len(self._records)

    def part(self, kept: Collection[int]) -> bytes:
        return json.dumps(self._request | {"Records": [self._records[number] for number in sorted(kept)]}).encode()

    def refuse(self, kept: Collection[int], answer: bytes) -> bytes:
        """Put the results where their records are in the request, as the API promises."""
        read = json.loads(answer)
        done, refused = iter(read["Records"]), {"ErrorCode": _CODE, "ErrorMessage": _MESSAGE}
        read["Records"] = [next(done) if number in kept else refused for number in range(self.size)]
        read["FailedRecordCount"] += self.size - len(kept)
        return json.dumps(read).encode()


class _BatchWriteItem:
    nothing_done = None

    def __init__(self, body: bytes) -> None:
        self._request = json.loads(body)
        self._writes = [(table, write) for table, writes in self._request["RequestItems"].items() for write in writes]
        self.size = len(self._writes)

    def part(self, kept: Collection[int]) -> bytes:
        return json.dumps(self._request | {"RequestItems": self._by_table(kept)}).encode()

    def refuse(self, kept: Collection[int], answer: bytes) -> bytes:
        read = json.loads(answer)
        unprocessed = defaultdict(list, read.get("UnprocessedItems", {}))
        for table, writes in self._by_table(set(range(self.size)) - set(kept)).items():
            unprocessed[table] += writes
        return json.dumps(read | {"UnprocessedItems": unprocessed}).encode()

    def _by_table(self, numbers: Collection[int]) -> dict[str, list[object]]:
        found = defaultdict(list)
        for number in sorted(numbers):
            table, write = self._writes[number]
            found[table].append(write)
        return found


class _PublishBatch:
    _SPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
    nothing_done = (
        f'<PublishBatchResponse xmlns="{_SPACE}"><PublishBatchResult><Successful/><Failed/></PublishBatchResult>'
        "<ResponseMetadata><RequestId>none</RequestId></ResponseMetadata></PublishBatchResponse>"
    ).encode()

    def __init__(self, body: bytes) -> None:
        self._rest: list[tuple[str, str]] = []
        entries: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name, value in parse_qsl(body.decode(), keep_blank_values=True):
            if found := re.fullmatch(r"PublishBatchRequestEntries\.member\.(\d+)\.(.+)", name):
                entries[found[1]].append((found[2], value))
            else:
                self._rest.append((name, value))
        self._entries = list(entries.values())
        self.size = len(self._entries)

    def part(self, kept: Collection[int]) -> bytes:
        fields = [
            (f"PublishBatchRequestEntries.member.{place}.{name}", value)
            for place, number in enumerate(sorted(kept), start=1)
            for name, value in self._entries[number]
        ]
        return urlencode(self._rest + fields).encode()

    def refuse(self, kept: Collection[int], answer: bytes) -> bytes:
        ET.register_namespace("", self._SPACE)
        root = ET.fromstring(answer)  # noqa: S314  (our own emulator's)
        failed = root.find(".//{*}Failed")
        assert failed is not None
        for number in set(range(self.size)) - set(kept):
            entry_id = dict(self._entries[number])["Id"]
            member = ET.SubElement(failed, f"{{{self._SPACE}}}member")
            fields = {"Id": entry_id, "Code": "Throttling", "Message": _MESSAGE, "SenderFault": "false"}
            for name, value in fields.items():
                ET.SubElement(member, f"{{{self._SPACE}}}{name}").text = value
        return ET.tostring(root)


class _SqsBatch:
    """DeleteMessageBatch and ChangeMessageVisibilityBatch: entries have ids of their own."""

    nothing_done = b'{"Successful":[],"Failed":[]}'

    def __init__(self, body: bytes) -> None:
        self._request = json.loads(body)
        self._entries = self._request["Entries"]
        self.size = len(self._entries)

    def part(self, kept: Collection[int]) -> bytes:
        return json.dumps(self._request | {"Entries": [self._entries[number] for number in sorted(kept)]}).encode()

    def refuse(self, kept: Collection[int], answer: bytes) -> bytes:
        read = json.loads(answer)
        refused = [self._entries[number]["Id"] for number in range(self.size) if number not in kept]
        failed = [{"Id": entry, "Code": "InternalError", "SenderFault": False} for entry in refused]
        return json.dumps(read | {"Failed": [*read.get("Failed", []), *failed]}).encode()


BATCHES: dict[str, type[_PutRecords | _BatchWriteItem | _PublishBatch | _SqsBatch]] = {
    "ChangeMessageVisibilityBatch": _SqsBatch,
    "DeleteMessageBatch": _SqsBatch,
    "PutRecords": _PutRecords,
    "BatchWriteItem": _BatchWriteItem,
    "PublishBatch": _PublishBatch,
}
