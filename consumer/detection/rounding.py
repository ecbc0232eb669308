"""Exact rounding, half to even, of quotients and square roots of integers."""

from math import isqrt


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
    exact = root * root == square
    ceiling = root if exact else root + 1
    doubled_term = 2 * term
    return (
        _halve((doubled_term + root) // denominator, tie=exact and (doubled_term + root) % denominator == 0),
        _halve((doubled_term - ceiling) // denominator, tie=exact and (doubled_term - root) % denominator == 0),
    )


def _halve(doubled: int, *, tie: bool) -> int:
    """Halve the floor of twice a number, rounding the number itself; ``tie`` says that the floor is exact."""
    half = (doubled + 1) >> 1
    return half - 1 if tie and doubled & 1 and half & 1 else half
