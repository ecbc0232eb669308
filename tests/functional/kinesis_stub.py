"""A small server that speaks as much of Kinesis' JSON protocol as a producer uses, and misbehaves as it is told."""

import base64
import json
import random
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.integration.aggregation import split_up

FIRST_SEQUENCE_NUMBER = 49640000000000000000000000000000000000000000000000000000


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class HangUpError(Exception):
    """A request that gets no answer."""


class KinesisStub(ThreadingHTTPServer):
    """Keeps the ticks that it accepted by partition key, in order; shards are those of a stream with two.

    ``entry_failures`` and ``request_failures`` are the shares of records and of requests that it refuses, at random;
    it obeys each request, but hangs up instead of answering each ``hang_up``-th. A request takes up to ``latency``
    seconds, at random, so that those that come together overtake each other.
    """

    daemon_threads = True

    def __init__(
        self,
        *,
        entry_failures: float = 0.0,
        request_failures: float = 0.0,
        hang_up: int = 0,
        latency: float = 0.0,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.accepted: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.reads_ticks = True
        """Whether all that comes is JSON, and kept in `accepted`."""
        self.records: list[tuple[str, bytes]] = []
        """What was accepted, by partition key: ticks as they were sent."""
        self.refused_keys: set[str] = set()
        """Partition keys whose records are refused."""
        self.requests: list[tuple[int, int]] = []
        """The number of records and the bytes of data and keys of each PutRecords request."""
        self.refused: Counter[str] = Counter()
        """The number of records that were refused, by error code."""
        self.most_at_once = 0
        """The most PutRecords requests that were under way at a time."""
        self.last_sequence_numbers: dict[str, str] = {}
        self.refusals: dict[str, RefusedError] = {}
        """The answer to every call of an action, instead of a good one."""
        self.status = "ACTIVE"
        """The stream's."""
        self.open = threading.Event()
        self.open.set()
        """PutRecords waits while this is not set."""
        self.entry_failures = entry_failures
        self._request_failures = request_failures
        self._hang_up = hang_up
        self.latency = latency
        self._at_once = 0
        self._random = random.Random(7)
        self._lock = threading.Lock()
        self._sequence_number = FIRST_SEQUENCE_NUMBER

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def payloads(self) -> list[bytes]:
        """What was accepted, as it was sent."""
        return [payload for _, payload in self.records]

    @property
    def count(self) -> int:
        """The number of accepted ticks."""
        return len(self.records)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            self.shutdown()
            self.server_close()

    def answer(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a call."""
        if action == "PutRecords":
            self._take_time()
        with self._lock:
            if action in self.refusals:
                raise self.refusals[action]
            if action == "DescribeStreamSummary":
                return {"StreamDescriptionSummary": {"StreamName": request["StreamName"], "StreamStatus": self.status}}
            return self._put_records(request["Records"])

    def _take_time(self) -> None:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.open.wait()
        time.sleep(random.uniform(0, self.latency))
        with self._lock:
            self._at_once -= 1

    def _put_records(self, records: list[dict[str, str]]) -> dict[str, Any]:
        data = [base64.b64decode(record["Data"], validate=True) for record in records]
        keys = [record["PartitionKey"] for record in records]
        self.requests.append((len(records), sum(map(len, data)) + sum(map(len, keys))))
        if self._random.random() < self._request_failures:
            self.refused["InternalFailure"] += len(records)
            raise RefusedError(500, "InternalFailure")
        results: list[dict[str, str]] = [{}] * len(records)
        for place in self._random.sample(range(len(records)), len(records)):  # Kinesis promises no order in a request
            results[place] = self._put(keys[place], data[place])
        if self._hang_up and len(self.requests) % self._hang_up == 0:
            raise HangUpError
        return {"FailedRecordCount": sum("ErrorCode" in result for result in results), "Records": results}

    def _put(self, key: str, payload: bytes) -> dict[str, str]:
        if self._random.random() < self.entry_failures or key in self.refused_keys:
            self.refused["ProvisionedThroughputExceededException"] += 1
            return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        self._sequence_number += 1
        shard = f"shardId-{zlib.crc32(key.encode()) % 2:012}"
        for inner_key, tick in split_up(key, payload):
            assert inner_key == key
            self.records.append((key, tick))
            if self.reads_ticks:
                self.accepted[key].append(json.loads(tick))
        self.last_sequence_numbers[shard] = str(self._sequence_number)
        return {"SequenceNumber": str(self._sequence_number), "ShardId": shard}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one packet
    server: KinesisStub

    def do_POST(self) -> None:
        """Answer a call."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = 200
        try:
            answer = self.server.answer(self.headers["X-Amz-Target"].partition(".")[2], request)
        except HangUpError:
            self.close_connection = True
            return
        except RefusedError as refusal:
            status, answer = refusal.status, {"__type": refusal.code, "message": "No."}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
