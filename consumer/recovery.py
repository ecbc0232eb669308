"""The tables are the memory: windows, sides and cooldowns are rebuilt from what was written before a record."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from common.tick import Tick, fixed
from consumer.backpressure import persist
from consumer.detection import Detector, SymbolState
from consumer.detection.detector import read_sides
from consumer.protocol import Record

log = logging.getLogger(__name__)

_PAGE = 100
_ATTRIBUTES = ("timestamp", "price", "previous_close", "volume", "late", "sides")
_POSITION = ("shard_id", "sequence_number", "sub_sequence_number")

Item = Mapping[str, Any]


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
        detector: Detector,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._dynamodb = dynamodb
        self._ticks_table = ticks_table
        self._alerts_table = alerts_table
        self._shard_id = shard_id
        self._detector = detector
        self._pool = pool

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
                self._alerts_sent(symbol, newest["timestamp"]["S"]),
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
            if "late" not in item and self._is_before(item, record):
                items.append(item)
                if len(items) == self._detector.history:
                    break
        return items

    def _is_before(self, item: Item, record: Record) -> bool:
        """Another shard's item is an ancestor's: the KCL finishes parents before it starts their children."""
        if item["shard_id"]["S"] != self._shard_id:
            return True
        return (int(item["sequence_number"]["S"]), int(item["sub_sequence_number"]["N"])) < record.position

    def _newest_first(self, symbol: str) -> Iterator[Item]:
        names = {f"#{number}": name for number, name in enumerate((*_ATTRIBUTES, *_POSITION))}
        return self._query(
            TableName=self._ticks_table,
            KeyConditionExpression="symbol = :symbol",
            ExpressionAttributeValues={":symbol": {"S": symbol}},
            ProjectionExpression=",".join(names),
            ExpressionAttributeNames=names,
            ScanIndexForward=False,
            Limit=_PAGE,
        )

    def _alerts_sent(self, symbol: str, last_accepted: str) -> dict[tuple[str, str], str]:
        """When each (rule, direction) was last sent, as far back as the cooldown reaches."""
        since = datetime.fromisoformat(last_accepted) - timedelta(seconds=self._detector.rules.alert_cooldown_seconds)
        alerts = self._query(
            TableName=self._alerts_table,
            KeyConditionExpression="symbol = :symbol AND alert_id BETWEEN :since AND :until",
            ExpressionAttributeValues={
                ":symbol": {"S": symbol},
                ":since": {"S": since.isoformat(timespec="microseconds")[:26]},
                ":until": {"S": last_accepted + "#~"},  # '~' sorts after every rule's name
            },
        )
        # oldest first: the last one stays
        return {(alert["rule"]["S"], alert["direction"]["S"]): alert["timestamp"]["S"] for alert in alerts}

    def _query(self, **request: object) -> Iterator[Item]:
        """Read consistently, page by page."""
        request["ConsistentRead"] = True
        while True:
            page = persist(lambda: self._dynamodb.query(**request), about=f"table {request['TableName']}")
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _tick(symbol: str, item: Item) -> Tick:
    """Read back what the windows need of a tick."""
    return Tick(
        symbol,
        item["timestamp"]["S"],
        fixed(Decimal(item["price"]["N"])),
        previous_close=fixed(Decimal(item["previous_close"]["N"])) if "previous_close" in item else None,
        volume=int(item["volume"]["N"]) if "volume" in item else None,
    )
