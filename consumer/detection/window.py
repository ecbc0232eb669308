"""A rolling window over integers that knows its sum and its sum of squares."""


class Window:
    """The last ``size`` values, their sum and the sum of their squares.

    `sums_with` says what the sums will be with one more value, `push` takes it: whoever computes in between can fail
    without leaving a window half changed, and nothing is computed twice.
    """

    __slots__ = ("full", "size", "squares", "total", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: list[int] = []  # a deque's blocks take a kilobyte more, three times for each symbol
        self.full = False
        self.total = 0
        self.squares = 0

    def sums_with(self, value: int) -> tuple[int, int]:
        """Sum and sum of squares as they will be with ``value``; the oldest value leaves a full window."""
        if self.full:
            oldest = self.values[0]
            return self.total + value - oldest, self.squares + value * value - oldest * oldest
        return self.total + value, self.squares + value * value

    def push(self, value: int, sums: tuple[int, int]) -> None:
        """Take ``value`` and its `sums_with`."""
        self.total, self.squares = sums
        values = self.values
        values.append(value)
        if self.full:
            del values[0]
        else:
            self.full = len(values) == self.size

    def fill(self, values: list[int]) -> None:
        """Begin with the newest of ``values``, oldest first, that there is room for."""
        self.values = values[-self.size :]
        self.full = len(self.values) == self.size
        self.total = sum(self.values)
        self.squares = sum(value * value for value in self.values)

    def clear(self) -> None:
        """Forget every value."""
        self.values.clear()
        self.full = False
        self.total = self.squares = 0
