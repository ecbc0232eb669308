"""A loopback server that takes every request and says yes: what it costs to talk, without an AWS behind it."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_EMPTY = (
    b'{"Items":[],"Shards":[],"UnprocessedItems":{},'
    b'"StreamDescriptionSummary":{"StreamARN":"arn","StreamCreationTimestamp":1}}'
)
_TARGET = re.compile(rb"\r\nx-amz-target: \w+\.(\w+)", re.IGNORECASE)
_TAKEN = b'{"SequenceNumber":"4964%052d","ShardId":"shardId-%012d"}' % (1, 0)
_ENTRY_ID = re.compile(rb'"Id":\s*"(\d+)"')
_MESSAGE = (
    '{"MessageId":"%d","ReceiptHandle":"%d","Attributes":{"SentTimestamp":"1800000000000"},"Body":'
    '"{\\"symbol\\":\\"SYM%d\\",\\"price\\":43.58,\\"timestamp\\":\\"2026-03-04T10:00:00.000000Z\\",\\"volume\\":%d}"}'
)
_messages = count()
_ENTRY = re.compile(rb"\.Id=(\d+)")


@contextmanager
def running(delay_seconds: float = 0) -> Iterator[None]:
    """Have one run, in a process of its own, that this process's clients talk to; it answers after a delay."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(delay_seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.stdout.readline().strip()}",
            AWS_REGION="us-east-1",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",  # noqa: S106  (it asks for none)
        )
        yield


class Yes(asyncio.Protocol):
    """Answers each request on a connection after a delay, and says 100-continue where that is waited for."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[: end + 2]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < size:
                if b"100-continue" in head and len(self._received) == end + 4:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            request, self._received = self._received[end:size], self._received[size:]
            body = _answer(head, request)
            self._send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def _send(self, answer: bytes) -> None:
        if self._delay_seconds:
            asyncio.get_running_loop().call_later(self._delay_seconds, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _answer(head: bytes, request: bytes) -> bytes:
    target = _TARGET.search(head)
    match target and target[1]:
        case None:
            return _published(request)
        case b"PutRecords":
            return _taken(request.count(b'"PartitionKey"'))
        case b"PutRecord":
            return _TAKEN
        case b"ReceiveMessage":
            return _ten_messages()
        case b"DeleteMessageBatch":
            return b'{"Successful":[%s],"Failed":[]}' % b",".join(
                b'{"Id":"%s"}' % entry for entry in _ENTRY_ID.findall(request)
            )
    return _EMPTY


@lru_cache(maxsize=1000)
def _taken(records: int) -> bytes:
    """Say that the stream took this many records."""
    return b'{"FailedRecordCount":0,"Records":[%s]}' % b",".join([_TAKEN] * records)


def _ten_messages() -> bytes:
    """Give messages of one tick, as SQS does, whatever the queue is."""
    numbers = [next(_messages) for _ in range(10)]
    listed = ",".join(_MESSAGE % (number, number, number % 2000, number) for number in numbers)
    return b'{"Messages":[%s]}' % listed.encode()


def _published(request: bytes) -> bytes:
    """Say that the topic took the message, or every entry; S3 needs no answer, and does not mind this one."""
    if b"Action=Publish&" in request[:100]:
        return b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
    members = b"".join(b"<member><Id>%s</Id></member>" % entry for entry in _ENTRY.findall(request[:100_000]))
    return (
        b"<PublishBatchResponse><PublishBatchResult><Successful>"
        + members
        + b"</Successful></PublishBatchResult></PublishBatchResponse>"
    )


async def main(delay_seconds: float) -> None:
    """Serve on a free port, told on stdout, until stdin is closed."""
    server = await asyncio.get_running_loop().create_server(lambda: Yes(delay_seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 0))
