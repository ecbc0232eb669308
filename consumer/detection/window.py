"""A rolling window over integers that knows its sum and its sum of squares."""

from collections import deque


class Window:
    """The last ``size`` values, their sum and the sum of their squares.

    `preview` says what the sums will be with one more value, `push` makes it so: whoever computes in between can fail
    without leaving a window half changed.
    """

    __slots__ = ("size", "squares", "total", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: deque[int] = deque(maxlen=size)
        self.total = 0
        self.squares = 0

    @property
    def full(self) -> bool:
        """Whether the window holds as many values as it can."""
        return len(self.values) == self.size

    def preview(self, value: int) -> tuple[int, int]:
        """Sum and sum of squares as they will be after ``push(value)``."""
        if len(self.values) < self.size:
            return self.total + value, self.squares + value * value
        oldest = self.values[0]
        return self.total + value - oldest, self.squares + value * value - oldest * oldest

    def push(self, value: int) -> None:
        """Take one more value; the oldest leaves a full window."""
        self.total, self.squares = self.preview(value)
        self.values.append(value)

    def clear(self) -> None:
        """Forget every value."""
        self.values.clear()
        self.total = self.squares = 0
