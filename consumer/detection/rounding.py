"""Exact rounding, half to even, of quotients and square roots of integers."""

from math import isqrt

MICRO = 10**6
"""Scores, percentages and ratios are integers in units of 10⁻⁶, averages and bands are prices (10⁻⁹)."""


def divide(numerator: int, denominator: int) -> int:
    """Round ``numerator / denominator`` half to even; the denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def divide_by_root(numerator: int, radicand: int) -> int:
    """Round ``numerator / sqrt(radicand)`` half to even; the radicand is positive."""
    square = 4 * numerator * numerator
    doubled = isqrt(square // radicand)  # twice the result's size, rounded down
    size = (doubled + 1) >> 1
    if doubled & 1 and size & 1 and doubled * doubled * radicand == square:
        size -= 1  # exactly half: to the even neighbour
    return size if numerator >= 0 else -size


def add_root(term: int, radicand: int, denominator: int) -> tuple[int, int]:
    """Round ``(term + sqrt(radicand)) / denominator`` and ``(term - sqrt(radicand)) / denominator`` half to even."""
    square = 4 * radicand
    root = isqrt(square)
    doubled = 2 * term
    if root * root == square:
        return divide(doubled + root, 2 * denominator), divide(doubled - root, 2 * denominator)
    # an irrational root: no ties, and twice the result, rounded down, tells how it rounds
    return ((doubled + root) // denominator + 1) >> 1, ((doubled - root - 1) // denominator + 1) >> 1


def change_percent(price: int, close: int) -> int:
    """100·(price - close)/close in 10⁻⁶, rounded half to even."""
    return divide((price - close) * 100 * MICRO, close)
