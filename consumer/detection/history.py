"""What is remembered of a symbol whatever its rules are: the last tick, and the windows that rules look at."""

from common.tick import PRICE_UNITS, Tick
from consumer.detection.rounding import divide
from consumer.detection.window import Window

_DAY = len("2023-07-10")


class History:
    """The past of one symbol, and what the tick at hand changes.

    Rules ask for windows when they are made; those that ask for the same size share it.
    """

    __slots__ = ("_deltas", "_prices", "_returns", "change", "delta", "last", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.last: Tick | None = None
        """The tick before."""
        self.change = 0
        """The return of the tick at hand, in 10⁻⁹, rounded half to even; 0 for the first tick."""
        self.delta: int | None = None
        """What was traded since the tick before, None where one of the two does not tell."""
        self._prices: list[Window] = []
        self._returns: list[Window] = []
        self._deltas: list[Window] = []

    def prices(self, size: int) -> Window:
        """Give the newest prices, that of the tick at hand among them."""
        return _of_size(self._prices, size)

    def returns(self, size: int) -> Window:
        """Give the returns before that of the tick at hand."""
        return _of_size(self._returns, size)

    def deltas(self, size: int) -> Window:
        """Give the traded volumes before that of the tick at hand, since the last one that is not known."""
        return _of_size(self._deltas, size)

    def begin(self, tick: Tick) -> None:
        """Take the next tick at hand, before its rules are asked."""
        last = self.last
        if last is not None:
            self.change = divide((tick.price - last.price) * PRICE_UNITS, last.price)
            self.delta = volume_delta(tick, last)
        for window in self._prices:
            window.push(tick.price)

    def end(self, tick: Tick) -> None:
        """Make the tick at hand the last one, after its rules were asked."""
        if self.last is not None:
            for window in self._returns:
                window.push(self.change)
        delta = self.delta
        for window in self._deltas:
            if delta is None:
                window.clear()
            else:
                window.push(delta)
        self.last = tick

    def save(self) -> tuple[list[int], list[int], list[int]]:
        """Write down the windows: of each kind, the values of the longest."""
        return _longest(self._prices), _longest(self._returns), _longest(self._deltas)

    def restore(self, last: Tick, prices: list[int], returns: list[int], deltas: list[int]) -> None:
        """Take up what was saved; a window keeps what fits."""
        self.last = last
        for windows, values in ((self._prices, prices), (self._returns, returns), (self._deltas, deltas)):
            for window in windows:
                window.fill(values)


def volume_delta(tick: Tick, last: Tick) -> int | None:
    """What was traded since the last tick, None where one of the two does not tell.

    The volume is the session's so far. A session is new, and its volume starts from 0, on a tick whose previous close
    is not the last tick's, or when the volume has fallen by half or more; a smaller fall is a correction.
    """
    volume, before = tick.volume, last.volume
    if volume is None or before is None:
        return None
    if tick.previous_close != last.previous_close and tick.previous_close is not None:
        return volume
    if volume >= before:
        return volume - before
    return volume if 2 * volume <= before else 0


def new_close(tick: Tick, last: Tick | None) -> int | None:
    """Give the previous close that a session begins with, None where none begins.

    One begins on a tick with another previous close than the last one's; if that had none, on a new day in UTC, too.
    """
    close = tick.previous_close
    if close is None or last is None or close == last.previous_close:
        return None
    is_known = last.previous_close is not None or tick.timestamp[:_DAY] != last.timestamp[:_DAY]
    return close if is_known else None


def _of_size(windows: list[Window], size: int) -> Window:
    for window in windows:
        if window.size == size:
            return window
    windows.append(Window(size))
    return windows[-1]


def _longest(windows: list[Window]) -> list[int]:
    return max((window.values for window in windows), key=len, default=[])
