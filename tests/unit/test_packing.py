"""Payloads as they are packed: one line each, in blocks that depend on nothing but how many came before."""

import gzip
import json
import random

import pytest
from isal import isal_zlib

from consumer.sinks.packing import GzipLines

BLOCK = 1000


def _payload(number: int) -> bytes:
    """Every tenth is written over several lines, as a Mac of old, Unix or Windows ends them."""
    fields = {"symbol": "AAPL", "price": number, "name": "two\nlines"}
    if number % 10:
        return json.dumps(fields).encode()
    return json.dumps(fields, indent=1).replace("\n", ("\r", "\n", "\r\n")[number // 10 % 3]).encode()


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 1])
def test_bytes_do_not_depend_on_batches(count: int) -> None:
    """A process that takes over cuts its batches elsewhere, and writes the same bytes all the same."""
    payloads = [_payload(number) for number in range(count)]
    packed = {_packed(payloads, seed) for seed in range(4)}

    assert packed == {_block_by_block(payloads)}
    lines = gzip.decompress(packed.pop()).splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(payload) for payload in payloads]


def _packed(payloads: list[bytes], seed: int) -> bytes:
    """Pack in batches of any size, all at once with the first seed."""
    dice, lines, start = random.Random(seed), GzipLines(), 0
    while start < len(payloads):
        size = dice.randint(0, 2 * BLOCK) if seed else len(payloads)
        lines.extend(payloads[start : start + size])
        start += size
    assert lines.count == len(payloads)
    return lines.finish()


def _block_by_block(payloads: list[bytes]) -> bytes:
    """Pack as the archive always was: line by line, a thousand at a time."""
    packer, packed = isal_zlib.compressobj(wbits=31), b""
    for start in range(0, len(payloads), BLOCK):
        block = payloads[start : start + BLOCK]
        packed += packer.compress(b"".join(b.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n" for b in block))
    return packed + packer.flush()
