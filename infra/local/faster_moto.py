"""The few places where moto is too slow, or skips what our template says, put right.

moto is made for tests with a handful of items; a replay puts a hundred thousand through it. Each function here replaces
one hot spot with code that answers the same.
"""

import sys
import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from inspect import signature
from itertools import accumulate
from operator import attrgetter
from typing import Any

from moto import backend_index, backends
from moto.core import responses
from moto.core.parse import BaseJSONParser
from moto.core.serialize import AttributePicker, BaseJSONSerializer
from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.kinesis.models import Record, Shard
from moto.sqs import models as sqs
from moto.sqs.models import Queue, SQSBackend

_LARGEST_ITEM_BYTES = 405_000
_LARGEST_ANSWER_BYTES = 10 * 1024 * 1024
_EXACTLY_NARROWED = frozenset({None, "<", "<=", "LT", "LE", ">", ">=", "GT", "GE", "BETWEEN"})
_OURS = frozenset({"dynamodb", "kinesis", "s3", "sns", "sqs"})
_PLAIN_ATTRIBUTES = frozenset({"S", "N", "SS", "NS", "BOOL", "NULL"})

_Patch = tuple[Any, str, Callable[[Any], Any]]
"""A class or module, what to replace in it, and what makes the replacement of it."""

_Partitions = dict[Any, dict[Any, Any]]  # hash key -> range key -> item


def apply() -> None:
    """Patch moto, once, before it serves; it has to serve one request at a time from then on."""
    apply_to_threads()
    _patch(_SLOW_ALONE)


@cache
def apply_to_threads() -> None:
    """Patch only what may be called by several threads at a time, as in tests that have moto in their own process."""
    _patch(_SLOW)


def _patch(slow: list[_Patch]) -> None:
    for owner, name, wrap in slow:
        setattr(owner, name, wrap(getattr(owner, name)))


def _last_sequence_number(_: Callable[..., Any]) -> Callable[[Shard], int]:
    """Moto copies all keys to find the last one, for each record that is put."""
    return lambda shard: next(reversed(shard.records), 0)


def _one_at_a_time(put: Callable[..., Any]) -> Callable[..., Any]:
    """Moto gives two records one number when two threads put them into a shard at a time, and keeps the second."""
    lock = threading.Lock()

    def put_alone(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401  (as moto has it)
        with lock:
            return put(*arguments, **keywords)

    return put_alone


def _named_records(_: Callable[..., Any]) -> Callable[..., Any]:
    """Moto walks over all records of the shard, and gives more at a time than Kinesis, which has a limit of 10 MiB.

    Their numbers are consecutive, so the wanted ones can be named.
    """
    return _get_records


def _get_records(shard: Shard, last_sequence_id: str, limit: int | None) -> tuple[list[Record], int, int]:
    last, newest = int(last_sequence_id), next(reversed(shard.records), 0)
    first = max(last + 1, next(iter(shard.records), 1))
    wanted = range(first, min(newest, first + (limit or 10_000) - 1) + 1)
    records = _in_one_answer([shard.records[number] for number in wanted])
    if not records:
        return [], last, 0
    behind = shard.records[newest].created_at - records[-1].created_at
    return records, wanted[len(records) - 1], int(behind * 1000)


def _in_one_answer(records: list[Record]) -> list[Record]:
    sizes = accumulate(len(record.data) * 3 // 4 - record.data[-2:].count("=") for record in records)  # base64's bytes
    return records[: bisect_right(list(sizes), _LARGEST_ANSWER_BYTES)]


def _measured_once(_: Callable[..., None]) -> Callable[..., None]:
    """Moto measures the whole item again for each attribute that it adds."""
    return _new_item


def _new_item(item: Item, hash_key: DynamoType, range_key: DynamoType | None, attrs: dict[str, Any]) -> None:
    item.hash_key, item.range_key = hash_key, range_key
    item.attrs = LimitedSizeDict()
    dict.update(item.attrs, {name: DynamoType(value) for name, value in attrs.items()})
    if item.size() > _LARGEST_ITEM_BYTES:
        raise ItemSizeTooLarge


def _narrowed_query(query: Callable[..., Any]) -> Callable[..., Any]:
    """Moto sorts and filters the whole table for each query; show it only the part that it asks for."""
    parameters = signature(query)

    def narrowed(table: Table, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (whatever moto passes and returns)
        asked = parameters.bind(table, *args, **kwargs).arguments
        range_key = table.range_key_attr
        if asked.get("index_name") or range_key is None:
            return query(table, *args, **kwargs)
        hash_key = asked["hash_key"]
        partition = table.items.get(hash_key, {})
        keys = _within(_sorted(partition), asked["range_comparison"], asked["range_objs"])
        forward, start, limit = asked["scan_index_forward"], asked["exclusive_start_key"], asked["limit"]
        if start is not None:
            keys = _after(keys, start[range_key], forward=forward)
        if limit and asked["range_comparison"] in _EXACTLY_NARROWED and not asked.get("filter_kwargs"):
            keys = keys[: limit + 1] if forward else keys[-limit - 1 :]
        with _showing(table, {hash_key: {key: partition[key] for key in keys}}):
            return query(table, *args, **kwargs)

    return narrowed


def _narrowed_scan(scan: Callable[..., Any]) -> Callable[..., Any]:
    """Moto starts each page of a scan by sorting the whole table and walking over all earlier pages."""
    parameters = signature(scan)

    def narrowed(table: Table, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (whatever moto passes and returns)
        asked = parameters.bind(table, *args, **kwargs).arguments
        if asked.get("index_name") or table.range_key_attr is None:
            return scan(table, *args, **kwargs)
        with _showing(table, _page(table, asked["exclusive_start_key"], asked["limit"])):
            return scan(table, *args, **kwargs)

    return narrowed


def _page(table: Table, start: dict[str, Any] | None, limit: int | None) -> _Partitions:
    """Take the items that follow ``start``, one more than ``limit`` of them."""
    hash_attribute, range_attribute = str(table.hash_key_attr), str(table.range_key_attr)
    start_hash = DynamoType(start[hash_attribute]) if start else None
    page: _Partitions = {}
    room = limit + 1 if limit else sys.maxsize
    for hash_key in _sorted(table.items):
        if start_hash is not None and hash_key < start_hash:
            continue
        keys = _sorted(table.items[hash_key])
        if start is not None and hash_key == start_hash:
            keys = _after(keys, start[range_attribute], forward=True)
        page[hash_key] = {key: table.items[hash_key][key] for key in keys[:room]}
        room -= len(page[hash_key])
        if room == 0:
            break
    return page


def _sorted(keys: Iterable[DynamoType]) -> list[DynamoType]:
    keys = list(keys)
    plain = all(key.type == "S" for key in keys[:1])  # a key attribute has one type in the whole table
    return sorted(keys, key=attrgetter("value") if plain else _cast_value)


def _after(keys: list[DynamoType], start: dict[str, str], *, forward: bool) -> list[DynamoType]:
    value = DynamoType(start).cast_value
    if forward:
        return keys[bisect_right(keys, value, key=_cast_value) :]
    return keys[: bisect_left(keys, value, key=_cast_value)]


def _within(keys: list[DynamoType], comparison: str | None, bounds: list[DynamoType]) -> list[DynamoType]:
    values = [bound.cast_value for bound in bounds]
    if comparison in {"<", "<=", "LT", "LE"}:
        cut = bisect_left if comparison in {"<", "LT"} else bisect_right
        return keys[: cut(keys, values[0], key=_cast_value)]
    if comparison in {">", ">=", "GT", "GE"}:
        cut = bisect_right if comparison in {">", "GT"} else bisect_left
        return keys[cut(keys, values[0], key=_cast_value) :]
    if comparison == "BETWEEN":
        return keys[bisect_left(keys, values[0], key=_cast_value) : bisect_right(keys, values[1], key=_cast_value)]
    return keys


_cast_value = attrgetter("cast_value")


@contextmanager
def _showing(table: Table, items: _Partitions) -> Iterator[None]:
    whole, table.items = table.items, defaultdict(dict, items)
    try:
        yield
    finally:
        table.items = whole


def _plain_attributes_as_they_are(serialize_structure: Callable[..., None]) -> Callable[..., None]:
    """Moto looks for nine members under many names in each attribute value, which is its own JSON already."""

    def serialized_structure(serializer: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:  # noqa: ANN401
        if shape.name == "AttributeValue" and key and type(value) is dict and value.keys() <= _PLAIN_ATTRIBUTES:
            serialized[key] = value
        else:
            serialize_structure(serializer, serialized, value, shape, key)

    return serialized_structure


def _parsed_as_they_are(parse_structure: Callable[..., Any]) -> Callable[..., Any]:
    """Moto looks for nine members in each attribute value of a request, too."""

    def parsed(parser: Any, shape: Any, value: Any) -> Any:  # noqa: ANN401
        if shape.name == "AttributeValue" and type(value) is dict and value.keys() <= _PLAIN_ATTRIBUTES:
            return value
        return parse_structure(parser, shape, value)

    return parsed


def _remembered_names(pick: Callable[..., Any]) -> Callable[..., Any]:
    """Moto works out up to twelve names for each member of each record; they depend on its shape alone."""
    remembered: dict[tuple[str, ...], tuple[str, ...]] = {}

    def picked(picker: Any, context: Any) -> Any:  # noqa: ANN401
        if type(context.obj) is not dict or picker.response_transformers:
            return pick(picker, context)
        parent = getattr(context.shape, "parent", context.shape)
        member = (context.service_model.service_name, parent.name, context.key, context.shape.name)
        names = remembered.get(member)
        if names is None:
            names = remembered[member] = tuple(dict.fromkeys(picker.get_possible_keys(context)))
        return next((context.obj[name] for name in names if name in context.obj), None)

    return picked


def _none(_: property) -> property:
    """Moto looks at each message of a queue, several times, whenever one is sent or received, to count them."""
    return property(lambda _queue: 0)


def _all_messages(_: property) -> property:
    """See `_none`. The number is approximate by its name."""
    return property(lambda queue: len(queue._messages))


def _not_waiting(receive: Callable[..., Any]) -> Callable[..., Any]:
    """Moto waits for messages as long as it is asked to, and here nobody else would be answered meanwhile."""

    def received(backend: Any, queue_name: str, count: int, _wait_seconds: int, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return receive(backend, queue_name, count, 0, *args, **kwargs)

    return received


def _ours_first(patterns: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Moto in the caller's process tries the addresses of 180 services one after the other, for each call."""
    return sorted(patterns, key=lambda pattern: pattern[0] not in _OURS)


def _looked_up_once(names: Callable[..., Iterable[str]]) -> Callable[..., tuple[str, ...]]:
    """Moto reads its own directory and its own methods for each request."""
    return cache(lambda *args: tuple(names(*args)))


def _with_dropped_properties(create: Callable[..., Any]) -> Callable[..., Any]:
    """Moto's CloudFormation passes over a table's time to live and its point-in-time recovery."""

    def created(resource_name: str, cloudformation_json: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        table = create(resource_name, cloudformation_json, *args, **kwargs)
        properties = cloudformation_json["Properties"]
        time_to_live = properties.get("TimeToLiveSpecification", {})
        if time_to_live.get("Enabled"):
            table.ttl = {"TimeToLiveStatus": "ENABLED", "AttributeName": time_to_live["AttributeName"]}
        recovery = properties.get("PointInTimeRecoverySpecification", {})
        if recovery.get("PointInTimeRecoveryEnabled") in {True, "true"}:  # a parameter is a text
            table.continuous_backups["PointInTimeRecoveryDescription"] = {"PointInTimeRecoveryStatus": "ENABLED"}
        return table

    return staticmethod(created)


_SLOW: list[_Patch] = [
    (backend_index, "backend_url_patterns", _ours_first),
    (backends, "list_of_moto_modules", _looked_up_once),
    (responses, "method_names_from_class", _looked_up_once),
    (sqs, "camelcase_to_underscores", cache),  # of the same fifteen words, for each message
    (Shard, "get_max_sequence_number", _last_sequence_number),
    (Shard, "put_record", _one_at_a_time),
    (Shard, "get_records", _named_records),
    (Item, "__init__", _measured_once),
    (Table, "create_from_cloudformation_json", _with_dropped_properties),
    (BaseJSONSerializer, "_serialize_type_structure", _plain_attributes_as_they_are),
    (BaseJSONParser, "_parse_structure", _parsed_as_they_are),
    (AttributePicker, "__call__", _remembered_names),
    (Queue, "approximate_number_of_messages", _all_messages),
    (Queue, "approximate_number_of_messages_delayed", _none),
    (Queue, "approximate_number_of_messages_not_visible", _none),
]
_SLOW_ALONE: list[_Patch] = [
    (Table, "query", _narrowed_query),  # these two show a part of the table for a moment
    (Table, "scan", _narrowed_scan),
    (SQSBackend, "receive_message", _not_waiting),
]
