"""Who is told: each URL of ``NOTIFY_URLS``, with what it wants to be told of.

A URL is a secret: what is said of one is its place in the list and its scheme, and never more, since what stands where
others have a host is a token in many of apprise's URLs.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple
from urllib.parse import unquote

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, OverflowMode
from apprise.manager_plugins import NotificationManager
from apprise.plugins.base import NotifyBase

from common.tick import NotATickError, normalise_symbol
from desk.notify.alerts import KINDS, SEVERITIES, Alert, Notice

_BETWEEN_URLS = re.compile(r"[\s,;]+(?=[a-z0-9]{1,32}://)", re.IGNORECASE)
_DELIMITERS = " \t\r\n,;"
_SCHEME = re.compile(r"([a-z0-9]{1,32})://", re.IGNORECASE)
_STATUS = re.compile(r"error=(\d{3})\b")
_OURS = ("severity", "kind", "symbols")
_READ_TIMEOUT_SECONDS = 30.0
"""apprise gives a service 4 s, after which a slow one would be told again of what it has got."""

_ROOM = 32_768
_COLOURS = {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "critical": NotifyType.FAILURE}
_ASSET = AppriseAsset(
    app_id="Tickertape",
    app_desc="Tickertape",
    allow_templates=False,
    pgp_autogen=False,
    pem_autogen=False,
)


class _Reasons(logging.Handler):
    """Keeps the last HTTP status that apprise complained of in this thread; what it says may hold secrets."""

    def __init__(self) -> None:
        super().__init__()
        self._last = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Look for a status."""
        if found := _STATUS.search(record.getMessage()):
            self._last.status = int(found[1])

    def forget(self) -> None:
        """Forget what was before."""
        self._last.status = None

    @property
    def status(self) -> int | None:
        """None if there was no answer."""
        status: int | None = self._last.status
        return status


_reasons = _Reasons()
_apprise_log = logging.getLogger("apprise")
_apprise_log.addHandler(_reasons)
_apprise_log.propagate = False


class Wish(NamedTuple):
    """What a URL wants to be told of."""

    severity: str
    """The lowest."""
    kinds: frozenset[str]
    symbols: frozenset[str]
    """None is all."""

    def covers(self, alert: Alert) -> bool:
        """Tell whether an alert is wanted."""
        return (
            SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.severity)
            and alert.kind in (self.kinds or {alert.kind})
            and alert.symbol in (self.symbols or {alert.symbol})
        )


class UndeliveredError(Exception):
    """A service did not take a notice; the text says why, as far as that is no secret."""


@dataclass(frozen=True)
class Receiver:
    """One URL.

    Parameters
    ----------
    name
        What it may be called in logs: ``2 (slack)``.
    address
        What messages of the queue that are for this URL alone are marked with.
    wishes
        An alert is wanted if one of them covers it.
    service
        apprise's.

    """

    name: str
    address: str
    wishes: tuple[Wish, ...]
    service: NotifyBase

    def wants(self, alert: Alert) -> bool:
        """Tell whether it is to be told of an alert."""
        return any(wish.covers(alert) for wish in self.wishes)

    @property
    def room(self) -> int:
        """Characters of one message."""
        return min(self.service.body_maxlen, _ROOM)

    def tell(self, notice: Notice) -> None:
        """Send a notice; returns when the service has taken it.

        Raises
        ------
        UndeliveredError
            It did not.

        """
        _reasons.forget()
        try:
            taken = self.service.notify(
                body=notice.body,
                title=notice.title,
                notify_type=_COLOURS[notice.severity],
                body_format=NotifyFormat.TEXT,
                overflow=OverflowMode.SPLIT,
            )
        except Exception as error:  # any service may raise anything, and its text may hold secrets
            raise UndeliveredError(type(error).__name__) from None
        if not taken:
            status = _reasons.status
            raise UndeliveredError(
                f"HTTP status {status}" if status else "no answer, or none that says that it was taken"
            )


def read_receivers(text: str) -> list[Receiver]:
    """Read ``NOTIFY_URLS``: apprise's URLs with spaces, commas or line ends between them.

    Where a URL is there more than once, it gets what any of them wants.

    Raises
    ------
    ValueError
        One cannot be used; the message names its place and what to do.

    """
    found: dict[str, Receiver] = {}
    for place, url in enumerate(filter(None, _BETWEEN_URLS.split(text.strip(_DELIMITERS))), 1):
        bare, wish = _take_wish(url, f"URL {place}")
        address = hashlib.sha256(bare.encode()).hexdigest()[:12]
        if address in found:
            receiver = found[address]
            found[address] = Receiver(receiver.name, address, (*receiver.wishes, wish), receiver.service)
        else:
            service, scheme = _service(bare, f"URL {place}")
            found[address] = Receiver(f"{place} ({scheme})", address, (wish,), service)
    if not found:
        raise ValueError("there is no URL in it: give one as slack://…, or several with spaces between them")
    return list(found.values())


def _take_wish(url: str, which: str) -> tuple[str, Wish]:
    """Take what is ours out of a URL's query: apprise knows nothing of it."""
    bare, _, query = url.partition("?")
    ours: dict[str, str] = {}
    others: list[str] = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if (known := unquote(name).lower()) in _OURS:
            ours[known] = unquote(value)
        else:
            others.append(part)
            if meant := get_close_matches(known, _OURS, n=1, cutoff=0.75):
                raise ValueError(f"{which}: there is no {known}=, but there is {meant[0]}=")
    return "?".join(filter(None, (bare, "&".join(others)))), _wish(ours, which)


def _wish(ours: dict[str, str], which: str) -> Wish:
    return Wish(
        _one_of("severity", ours.get("severity", SEVERITIES[0]), SEVERITIES, which),
        frozenset(_one_of("kind", kind, KINDS, which) for kind in _listed(ours, "kind")),
        frozenset(_symbol(symbol, which) for symbol in _listed(ours, "symbols")),
    )


def _listed(ours: dict[str, str], name: str) -> Iterator[str]:
    return (value.strip() for value in ours[name].split(",")) if name in ours else iter(())


def _one_of(name: str, value: str, allowed: tuple[str, ...], which: str) -> str:
    if value.lower() not in allowed:
        raise ValueError(f"{which}: {name} is {' or '.join(allowed)}, not {value[:20]!r}")
    return value.lower()


def _symbol(text: str, which: str) -> str:
    try:
        return normalise_symbol(text)
    except NotATickError as error:
        raise ValueError(f"{which}: symbols: {error}") from None


def _service(url: str, which: str) -> tuple[NotifyBase, str]:
    found = _SCHEME.match(url)
    if found is None:
        raise ValueError(f"{which} is none: it begins with no scheme, as slack:// is one")
    scheme, known = found[1].lower(), NotificationManager()  # type: ignore[no-untyped-call]  # apprise types only a part
    service = Apprise.instantiate(url, asset=_ASSET)
    if service is None and scheme not in known:
        near = get_close_matches(scheme, known.schemas(), n=1)  # type: ignore[no-untyped-call]  # as above
        hint = f", but there is {near[0]}://" if near else ""
        raise ValueError(f"{which}: there is no service {scheme}://{hint}; https://appriseit.com/services/ names all")
    if service is None:
        raise ValueError(
            f"{which} ({scheme}): a part of it is missing or wrong; {known[scheme].setup_url} shows what it looks like"
        )
    if "rto=" not in url:
        service.socket_read_timeout = _READ_TIMEOUT_SECONDS
    return service, scheme
