"""A rolling window over integers that knows its sum and its sum of squares."""


class Window:
    """The last ``size`` values, their sum and the sum of their squares."""

    __slots__ = ("full", "size", "squares", "total", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: list[int] = []  # a deque's blocks take a kilobyte more, three times for each symbol
        self.full = False
        self.total = 0
        self.squares = 0

    def push(self, value: int) -> None:
        """Take a value; the oldest leaves a full window."""
        values = self.values
        values.append(value)
        if self.full:
            oldest = values[0]
            del values[0]
            change = value - oldest
            self.total += change
            self.squares += change * (value + oldest)
        else:
            self.full = len(values) == self.size
            self.total += value
            self.squares += value * value

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
