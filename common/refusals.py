"""Words for the quarantine: why a payload is no tick, and what was seen in it.

Only payloads that are refused come here, so nothing needs to be fast.
"""

from re import compile as regex

import msgspec

_SHOWN = 40
_FIELD = regex(r"at `\$\.(\w+)")
_NUMBER = regex(r"\s*[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?\s*")
_NO_JSON_NUMBER = regex(rb'"([^"\\]{1,40})"\s*:\s*([+-]?(?:NaN|Infinity))')


def shortened(seen: str) -> str:
    """Write what was seen in at most some 40 characters of one line."""
    text = " ".join(seen.split())
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def not_a_timestamp(sent: str) -> str:
    """Say that a text is no timestamp; of a number, that it is like an epoch, which the wire does not have."""
    why = " is an epoch or digits only" if _NUMBER.fullmatch(sent) else ""
    return f"timestamp is not ISO 8601: {shortened(repr(sent))}{why}"


def explain(error: Exception, payload: bytes) -> str:
    """Say what the JSON decoder found wrong in ``payload``, with the value that was wrong where it names one."""
    if found := _NO_JSON_NUMBER.search(payload):
        name, value = (shortened(part.decode(errors="replace")) for part in found.groups())
        return f"{name} is {value}, which is no number in JSON"
    field = _FIELD.search(str(error))
    if not (field and isinstance(error, msgspec.ValidationError)):
        return str(error)
    try:
        value = shortened(_value_of(field[1], payload))
    except (msgspec.DecodeError, RecursionError):  # what follows the field is worse
        return str(error)
    if field[1] == "timestamp" and _NUMBER.fullmatch(value.removesuffix("...")):
        return f"timestamp is not ISO 8601: the number {value} is an epoch or digits only"
    return f"{error}: it is {value}"


def _value_of(name: str, payload: bytes) -> str:
    """The JSON of a field, as it was sent."""
    fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    return bytes(fields[name]).decode(errors="replace")
