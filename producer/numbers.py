"""Numbers as files write them: with a decimal point or comma, grouped digits, currency signs."""

import re
from decimal import Decimal
from typing import Literal

from common.tick import NotATickError

Mark = Literal[".", ","]
"""What begins a number's decimals."""

MISSING = frozenset(
    (
        *("", "-", "--", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>"),
        *("–", "—", "−", ".", "n.a.", "n/a", "na", "n/d", "nan", "nat", "null", "none"),
    )
)
"""How files write that there is no value, in lower case; pandas reads most of them so."""

_SIGNS = "$€£¥₹ \u00a0\u202f"
_SPACES = " '’\u00a0\u2009\u202f"
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_LARGEST_EXPONENT = 400
_SCALES = {"K": 3, "M": 6, "B": 9}
_MARKED = re.compile(r"[+-]?[\d.,'’\u00a0\u2009\u202f ]*(?:[eE][+-]?\d{1,3})?[KMBkmb]?", re.ASCII)


def is_missing(value: object) -> bool:
    """Tell whether a field holds no value."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or value != value  # noqa: PLR0124  (NaN and NaT are not equal to themselves)


def read_number(value: object, mark: Mark | None = ".", *, scaled: bool = False) -> Decimal | None:
    """Read a number; what `is_missing` is None.

    Parameters
    ----------
    value
        A field: text, or a number as JSON and Parquet have them.
    mark
        What begins the decimals of text; None refuses text that can be read both ways.
    scaled
        Whether the number may end with K, M or B, as volumes do.

    Raises
    ------
    NotATickError
        It is no number. The message goes on after the value.

    """
    if is_missing(value):
        return None
    if not isinstance(value, str):
        return _of_number(value)
    if _PLAIN.fullmatch(value) and (mark == "." or "." not in value):
        return Decimal(value)
    return _of_text(value, mark, scaled=scaled)


def decimal_mark(text: str) -> Mark | Literal["either"] | None:
    """Tell what begins the decimals of a text: for certain, either of the two, or None where nothing tells.

    ``1.234,50`` has a decimal comma, ``1,234,567`` a decimal point if any, and ``1,234`` can be read both ways.
    """
    text = text.strip().strip(_SIGNS)
    if not _MARKED.fullmatch(text) or is_missing(text):
        return None
    mantissa = re.split("[eEKMBkmb]", text.lstrip("+-"), maxsplit=1)[0]
    marks = [character for character in mantissa if character in ".,"]
    if not marks:
        return None
    last: Mark = "." if marks[-1] == "." else ","
    if len(marks) > 1:
        return last if marks.count(last) == 1 else _other(last)
    whole, _, decimals = mantissa.partition(last)
    groups = len(decimals) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
    return "either" if groups else last


def _other(mark: Mark) -> Mark:
    return "," if mark == "." else "."


def _of_number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise NotATickError("is not a number")
    number = Decimal(value) if isinstance(value, int) else Decimal(str(value))
    if number.is_finite() and abs(number.adjusted()) > _LARGEST_EXPONENT:  # JSON has numbers that would fill the memory
        raise NotATickError(f"is a number beyond 10^±{_LARGEST_EXPONENT}")
    return number


def _of_text(text: str, mark: Mark | None, *, scaled: bool) -> Decimal:
    cleaned = text.strip().strip(_SIGNS)
    if mark is None and (mark := _certain_mark(cleaned)) is None:
        raise UndecidedError(
            "can be read in two ways: say whether its decimals begin with a point, --decimal ., or a comma, --decimal ,"
        )
    match = _FORMS[mark].fullmatch(cleaned)
    if match is None or not (match["whole"] or match["decimals"]) or (match["scale"] and not scaled):
        comma = f", with {mark!r} before its decimals (--decimal)" if decimal_mark(text) not in {None, mark} else ""
        raise NotATickError(f"is not a number{comma}")
    whole = re.sub(r"\D", "", match["whole"])
    number = Decimal(f"{match['sign']}{whole}.{match['decimals'] or '0'}{match['exponent'] or ''}")
    return number.scaleb(_SCALES[match["scale"].upper()]) if match["scale"] else number


def _certain_mark(text: str) -> Mark | None:
    mark = decimal_mark(text)
    return None if mark == "either" else mark or "."


def _form(mark: Mark) -> re.Pattern[str]:
    """Make the pattern of a number; India groups digits by two (12,34,567), Switzerland with apostrophes."""
    groups = re.escape(_other(mark) + _SPACES)
    return re.compile(
        rf"(?P<sign>[+-]?)(?P<whole>\d{{1,3}}(?P<group>[{groups}])(?:\d{{2,3}}(?P=group))*\d{{3}}|\d*)"
        rf"(?:{re.escape(mark)}(?P<decimals>\d*))?(?P<exponent>[eE][+-]?\d{{1,3}})?(?P<scale>[KMBkmb]?)",
        re.ASCII,
    )


_FORMS: dict[Mark, re.Pattern[str]] = {".": _form("."), ",": _form(",")}


class UndecidedError(NotATickError):
    """A field can be read in two ways, and nothing in the file decides between them."""
