"""Payloads that hold several ticks: a JSON array of objects, or one object a line. Other producers may send them."""

import json
from re import compile as regex

MAX_TICKS = 10_000
"""A payload that holds more is refused whole."""

_BLANKS = " \t\r\n"
_SKIP_BLANKS = regex(rf"[{_BLANKS}]*").match
# Numbers stay text, and NaN is let through: this only finds where a value ends, the decoder judges it.
_JSON = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


def parts_of(payload: bytes) -> list[bytes]:
    """Cut a payload into one for each tick, with the bytes as they were sent; none if it does not hold several."""
    return [part.encode("utf-8", "surrogateescape") for part in _parts(payload)]


def _parts(payload: bytes) -> list[str]:
    text = payload.decode("utf-8", "surrogateescape").strip(_BLANKS)  # bytes that are no UTF-8 cost their part only
    parts = _elements(text) if text.startswith("[") else _lines(text)
    return parts if len(parts) <= MAX_TICKS and any(part.startswith("{") for part in parts) else []


def _elements(text: str) -> list[str]:
    """The elements of an array, none if it is no valid one."""
    found: list[str] = []
    end, mark = 0, ","
    while mark == ",":
        start = _end_of_blanks(text, end + 1)
        end = _end_of_value(text, start)
        found.append(text[start:end])
        end = _end_of_blanks(text, end)
        mark = text[end : end + 1]
    return found if mark == "]" and end == len(text) - 1 and all(found) else []


def _lines(text: str) -> list[str]:
    """The lines of a text if one of them is an object, and all of them together are not."""
    lines = [line for line in (line.strip(_BLANKS) for line in text.split("\n")) if line]
    if len(lines) < 2 or _is_value(text):
        return []
    return lines if any(line.startswith("{") and _is_value(line) for line in lines) else []


def _is_value(text: str) -> bool:
    return _end_of_value(text, 0) == len(text)


def _end_of_value(text: str, start: int) -> int:
    """Where the JSON value ends that begins at ``start``; there, if none does."""
    try:
        return _JSON.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return start


def _end_of_blanks(text: str, start: int) -> int:
    found = _SKIP_BLANKS(text, start)
    return found.end() if found else start
