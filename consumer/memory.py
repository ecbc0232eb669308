"""What the process of a shard remembers of its symbols, and how that goes into a snapshot and comes back.

All of it depends on the shard's records alone, never on a clock or on where batches end: whoever processes the same
records again remembers the same.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from operator import attrgetter

import msgspec
from isal import isal_zlib

from consumer.detection import Detector, Rules, SavedState, SymbolState

_MOST_SYMBOLS = 20_000
"""With full windows a symbol takes 4.3 kB: 86 MB. Names are whatever producers put there, so there is a limit."""

_VERSION = 2


class UnusableError(Exception):
    """A snapshot cannot be read; the message says why."""


class Symbol:
    """One symbol: the state of detection, and when its last record and its last one with a row arrived.

    Both times are in epoch milliseconds.
    """

    __slots__ = ("arrived_ms", "name", "state", "stored_ms")

    def __init__(self, name: str, state: SymbolState) -> None:
        self.name = name
        self.state = state
        self.arrived_ms = self.stored_ms = 0


class _SavedSymbol(msgspec.Struct, array_like=True):
    name: str
    arrived_ms: int
    stored_ms: int
    state: SavedState


class _Version(msgspec.Struct):
    version: int


class _Snapshot(msgspec.Struct):
    version: int
    rules: Rules
    symbols: list[_SavedSymbol]


class Memory:
    """The symbols of a shard, the one that was silent for longest first.

    Parameters
    ----------
    detector
        Makes and restores the symbols' states.
    retention_days
        A symbol that was silent for so long when the shard's last record arrived is not in the next snapshot.

    """

    def __init__(self, detector: Detector, retention_days: int) -> None:
        self._detector = detector
        self._retention_ms = retention_days * 24 * 3600 * 1000
        self._symbols: OrderedDict[str, Symbol] = OrderedDict()
        self.forgotten = 0
        """How many symbols were dropped because there were too many."""

    def recall(self, name: str, arrived_ms: int) -> Symbol:
        """Give what is known of a symbol of which a tick has arrived; of too many symbols, the most silent one goes."""
        symbol = self._symbols.get(name)
        if symbol is None:
            symbol = self._symbols[name] = Symbol(name, self._detector.new_state(name))
            if len(self._symbols) > _MOST_SYMBOLS:
                self._symbols.popitem(last=False)
                self.forgotten += 1
        else:
            self._symbols.move_to_end(name)
        symbol.arrived_ms = arrived_ms
        return symbol

    def __iter__(self) -> Iterator[Symbol]:
        return iter(self._symbols.values())

    def save(self) -> bytes:
        """Write all of it down, without the symbols that were silent for too long."""
        self._drop_silent()
        symbols = [
            _SavedSymbol(symbol.name, symbol.arrived_ms, symbol.stored_ms, self._detector.save(symbol.state))
            for symbol in self._symbols.values()
            if symbol.state.last is not None
        ]
        packer = isal_zlib.compressobj(wbits=31)  # in gzip's form, whose head then tells no time
        return (
            packer.compress(msgspec.msgpack.encode(_Snapshot(_VERSION, self._detector.rules, symbols))) + packer.flush()
        )

    def load(self, body: bytes) -> list[str]:
        """Take what a snapshot holds; of a symbol that is known already, the one with the later tick stays.

        Returns
        -------
        What has changed in RULES and in the rules' numbers since: of the rules that it concerns, nothing but windows
        was taken.

        Raises
        ------
        UnusableError
            It is damaged or another version's. Nothing was taken.

        """
        snapshot = _read(body)
        try:
            symbols = [self._restored(saved, snapshot.rules) for saved in snapshot.symbols]
        except ValueError as error:
            raise UnusableError(str(error)) from error
        self._merge(symbols)
        return _changes(snapshot.rules, self._detector.rules)

    def _restored(self, saved: _SavedSymbol, rules: Rules) -> Symbol:
        symbol = Symbol(saved.name, self._detector.restore(saved.name, saved.state, rules))
        symbol.arrived_ms, symbol.stored_ms = saved.arrived_ms, saved.stored_ms
        return symbol

    def _merge(self, symbols: Iterable[Symbol]) -> None:
        known = self._symbols
        is_second = bool(known)
        for symbol in symbols:
            other = known.get(symbol.name)
            if other is None or _last_tick(symbol) > _last_tick(other):
                known[symbol.name] = symbol
        if is_second:  # two parents' symbols are sorted by their last records' times, for want of a common order
            ordered = sorted(known.values(), key=attrgetter("arrived_ms"))
            self._symbols = OrderedDict((symbol.name, symbol) for symbol in ordered)

    def _drop_silent(self) -> None:
        symbols = self._symbols
        newest_ms = next(reversed(symbols.values())).arrived_ms if symbols else 0
        while symbols and next(iter(symbols.values())).arrived_ms < newest_ms - self._retention_ms:
            symbols.popitem(last=False)


class _Named(msgspec.Struct, array_like=True):
    name: str


class _Names(msgspec.Struct):
    symbols: list[_Named]


def names_in(body: bytes) -> list[str]:
    """Name the symbols of a snapshot of any version, whatever else is in it; none if it cannot be read."""
    try:
        snapshot = msgspec.msgpack.decode(isal_zlib.decompress(body, wbits=31), type=_Names)
    except (isal_zlib.error, msgspec.MsgspecError):  # type: ignore[misc]  # isal's stubs take it for a value
        return []
    return [symbol.name for symbol in snapshot.symbols]


def _read(body: bytes) -> _Snapshot:
    try:
        packed = isal_zlib.decompress(body, wbits=31)
        version = msgspec.msgpack.decode(packed, type=_Version).version
        if version != _VERSION:
            raise UnusableError(f"it is of version {version}, not {_VERSION}")
        return msgspec.msgpack.decode(packed, type=_Snapshot)
    except (isal_zlib.error, msgspec.MsgspecError) as error:  # type: ignore[misc]  # isal's stubs take it for a value
        raise UnusableError(str(error)) from error


def _changes(before: Rules, now: Rules) -> list[str]:
    """Name what two choices of rules differ in."""
    fields = (name for name in Rules.__struct_fields__ if name != "numbers")
    numbers = sorted(before.numbers.keys() | now.numbers.keys())
    return [
        *(name for name in fields if getattr(before, name) != getattr(now, name)),
        *(name for name in numbers if before.numbers.get(name) != now.numbers.get(name)),
    ]


def _last_tick(symbol: Symbol) -> str:
    return symbol.state.last.timestamp if symbol.state.last else ""
