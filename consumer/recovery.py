"""The tables are the memory: windows, sides and cooldowns are rebuilt from what was written before a record."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec

from common.aws import read_body_with
from common.tick import Tick, fixed
from consumer.backpressure import persist
from consumer.detection import Detector, SymbolState
from consumer.detection.detector import read_sides
from consumer.detection.rules import RULES
from consumer.protocol import Record

log = logging.getLogger(__name__)

_SPARE = 20
"""Rows to read beyond those that fill the windows: late ones, and those of the records that are replayed."""

_ATTRIBUTES = (
    "timestamp",
    "price",
    "previous_close",
    "volume",
    "late",
    "misplaced",
    "sides",
    "anomalies",
    "suppressed",
)
_POSITION = ("shard_id", "sequence_number", "sub_sequence_number")

Item = Mapping[str, Any]
_Sent = tuple[tuple[str, str], str]
"""(rule, direction) of an alert, and its timestamp."""


class Recovery:
    """Finds out what detection knew of a symbol just before a record.

    Parameters
    ----------
    dynamodb
        A boto3 client.
    ticks_table, alerts_table
        The tables' names.
    shard_id
        The shard that is being processed.
    strangers
        Shards of the stream that are neither this one nor its ancestors.
    detector
        Makes states; says how many ticks it needs.
    pool
        Reads several symbols at a time.

    """

    def __init__(
        self,
        dynamodb: Any,  # noqa: ANN401  (a boto3 client)
        *,
        ticks_table: str,
        alerts_table: str,
        shard_id: str,
        strangers: Collection[str],
        detector: Detector,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._dynamodb = dynamodb
        self._ticks_table = ticks_table
        self._alerts_table = alerts_table
        self._shard_id = shard_id
        self._strangers = strangers
        self._detector = detector
        self._pool = pool
        self._cooldown = timedelta(seconds=detector.rules.alert_cooldown_seconds)
        read_body_with(dynamodb, "Query", msgspec.json.decode)

    def states(self, first_records: Mapping[str, Record]) -> dict[str, SymbolState]:
        """Rebuild the state of each symbol as it was before its record.

        Raises
        ------
        UserError
            AWS refuses for good.

        """
        return dict(zip(first_records, self._pool.map(self._state, first_records.items()), strict=True))

    def _state(self, first: tuple[str, Record]) -> SymbolState:
        symbol, record = first
        try:
            items = self._accepted_before(symbol, record)
            if not items:
                return self._detector.new_state()
            newest = items[0]
            return self._detector.restore(
                [_tick(symbol, item) for item in reversed(items)],
                read_sides(newest["sides"]["S"]),
                self._last_sent(symbol, items),
            )
        except (KeyError, ValueError, ArithmeticError) as error:
            log.warning(
                "history_unreadable",
                extra={"symbol": symbol, "table": self._ticks_table, "error": repr(error)},
            )
            return self._detector.new_state()

    def _accepted_before(self, symbol: str, record: Record) -> list[Item]:
        """The newest accepted items before ``record``, newest first, as many as the windows need."""
        items: list[Item] = []
        for item in self._newest_first(symbol):
            if "late" not in item and "misplaced" not in item and self._is_before(item, record):
                items.append(item)
                if len(items) == self._detector.history:
                    break
        return items

    def _is_before(self, item: Item, record: Record) -> bool:
        """Tell whether an ancestor of this shard wrote the item, or this shard with an earlier record.

        Kinesis numbers shards as it makes them, so an ancestor's id is smaller than ours; and the KCL finishes parents
        before it starts their children. A greater id is a descendant's: then we are a zombie, and it is not before us.
        """
        position = int(item["sequence_number"]["S"]), int(item["sub_sequence_number"]["N"])
        shard = item["shard_id"]["S"]
        return shard not in self._strangers and (shard, position) < (self._shard_id, record.position)

    def _newest_first(self, symbol: str) -> Iterator[Item]:
        names = {f"#{number}": name for number, name in enumerate((*_ATTRIBUTES, *_POSITION))}
        return self._query(
            TableName=self._ticks_table,
            KeyConditionExpression="symbol = :symbol",
            ExpressionAttributeValues={":symbol": {"S": symbol}},
            ProjectionExpression=",".join(names),
            ExpressionAttributeNames=names,
            ScanIndexForward=False,
            Limit=self._detector.history + _SPARE,
        )

    def _last_sent(self, symbol: str, items: list[Item]) -> dict[tuple[str, str], str]:
        """When each (rule, direction) was last sent, as far back as the cooldown reaches."""
        since = datetime.fromisoformat(items[0]["timestamp"]["S"]) - self._cooldown
        oldest = datetime.fromisoformat(items[-1]["timestamp"]["S"])
        if len(items) < self._detector.history or oldest <= since:
            sent: Iterable[_Sent] = chain.from_iterable(map(_sent_with, reversed(items)))  # the rows tell it: no query
        else:
            sent = self._sent_between(symbol, since, items[0]["timestamp"]["S"])
        return dict(sent)  # oldest first: the last one stays

    def _sent_between(self, symbol: str, since: datetime, until: str) -> Iterator[_Sent]:
        alerts = self._query(
            TableName=self._alerts_table,
            KeyConditionExpression="symbol = :symbol AND alert_id BETWEEN :since AND :until",
            ExpressionAttributeValues={
                ":symbol": {"S": symbol},
                ":since": {"S": since.isoformat(timespec="microseconds")[:26]},
                ":until": {"S": until + "#~"},  # '~' sorts after every rule's name
            },
        )
        return (((alert["rule"]["S"], alert["direction"]["S"]), alert["timestamp"]["S"]) for alert in alerts)

    def _query(self, **request: object) -> Iterator[Item]:
        """Read consistently, page by page."""
        request["ConsistentRead"] = True
        while True:
            page = persist(lambda: self._dynamodb.query(**request), about=f"table {request['TableName']}")
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _sent_with(item: Item) -> Iterator[_Sent]:
    """The alerts that were sent because of an accepted tick: its rules fired in the direction of their sides."""
    fired = set(item.get("anomalies", {"SS": ()})["SS"]).difference(item.get("suppressed", {"SS": ()})["SS"])
    if fired:
        sides = read_sides(item["sides"]["S"])
        for (rule, *_), side in zip(RULES, sides, strict=True):
            if rule in fired:
                yield (rule, "up" if side > 0 else "down"), item["timestamp"]["S"]


def _tick(symbol: str, item: Item) -> Tick:
    """Read back what the windows need of a tick."""
    return Tick(
        symbol,
        item["timestamp"]["S"],
        fixed(Decimal(item["price"]["N"])),
        previous_close=fixed(Decimal(item["previous_close"]["N"])) if "previous_close" in item else None,
        volume=int(item["volume"]["N"]) if "volume" in item else None,
    )
