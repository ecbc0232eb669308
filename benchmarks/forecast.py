"""Prints how well `unusual` keeps its rate, beside other forecasts: `.venv/bench/bin/python -m benchmarks.forecast`.

    .venv/bench/bin/python -m benchmarks.forecast [FILE …]

Each forecast says before a tick how large its return will be at most, but for the share of ticks that is the rate. Told
are the share that was larger, and the pinball loss in basis points: the mean of (|r| - w)·((1 - rate) - [|r| < w])
over ticks, least where w is the quantile. Files are bar files. The first half of a symbol's bars is there to learn from
(`unusual` was designed on it, where the symbol is INDA); the second half counts, of symbols with more than 1,000.
Gaps are returns over more than two minutes, a market's opening among them.
"""

import argparse
import warnings
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from common.tick import Tick, fixed, timestamp_of
from consumer.detection import Detector, Rules
from tests import oracle

RATES = ("0.1", "0.01", "0.001")
FILES = [Path(__file__).parents[1] / "tests" / "data" / "inda_1min.csv"]
WARM_UP = 500
WINDOW = 20
REFIT = 500
"""GARCH's parameters are fitted again after so many ticks, to all that came before; its variance follows each."""
GAP_SECONDS = 120


@dataclass(frozen=True)
class Series:
    """The closes of a symbol, in 10⁻⁹, their returns, and which of these are over a gap."""

    symbol: str
    prices: Sequence[int]
    returns: Sequence[float]
    is_gap: Sequence[bool]


Forecast = Callable[[Series, str], Sequence[float]]
"""Gives of each return how large it was expected to be at most; nan where nothing was expected."""


def unusual(series: Series, rate: str) -> Sequence[float]:
    """Ours: how far above the last price the edge is."""
    detector = Detector(Rules.of("unusual", unusual_rate=Decimal(rate)))
    state = detector.new_state(series.symbol)
    widths = []
    for number, price in enumerate(series.prices):
        _, high = detector.detect(state, Tick(series.symbol, timestamp_of(60_000 * number), price)).values
        widths.append(np.nan if high is None else high / series.prices[number - 1] - 1)
    return widths[1:]


def expanding_quantile(series: Series, rate: str) -> Sequence[float]:
    """Naive: the quantile of all returns so far."""
    sizes: list[float] = []
    widths = []
    for one in series.returns:
        widths.append(sizes[min(len(sizes) - 1, int((1 - float(rate)) * len(sizes)))] if sizes else np.nan)
        insort(sizes, abs(one))
    return widths


def deviations(series: Series, rate: str) -> Sequence[float]:
    """Take the returns as normal, with the deviation of the last 20."""
    normal = _normal_quantile(rate)
    spread = [float(np.std(series.returns[end - WINDOW : end])) for end in range(WINDOW, len(series.returns))]
    return [np.nan] * WINDOW + [normal * one for one in spread]


def garch(series: Series, rate: str) -> Sequence[float]:
    """GARCH(1,1) with normal residuals: its variance follows each return, its parameters are fitted now and then."""
    from arch import arch_model  # noqa: PLC0415  (it may not be there)

    scaled = np.array(series.returns) * 1e4
    widths = np.full(len(scaled), np.nan)
    for begin in range(WARM_UP, len(scaled), REFIT):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says where a fit has not converged, and so does the loss
            fitted = arch_model(scaled[:begin], mean="Zero", rescale=False).fit(disp="off", show_warning=False)
        omega, alpha, beta = fitted.params
        variance = fitted.conditional_volatility[-1] ** 2
        for number in range(begin, min(begin + REFIT, len(scaled))):
            variance = omega + alpha * scaled[number - 1] ** 2 + beta * variance
            widths[number] = _normal_quantile(rate) * variance**0.5 / 1e4
    return widths.tolist()


FORECASTS: dict[str, Forecast] = {
    "unusual": unusual,
    "expanding quantile": expanding_quantile,
    "20-tick deviations": deviations,
    "GARCH(1,1)": garch,
}


def main() -> None:
    """Print a table for each rate: shares and losses of all ticks, of those over a gap, and of the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast")
    parser.add_argument("files", nargs="*", type=Path, default=FILES, help="bar files (by default that of the tests)")
    every = [series for file in parser.parse_args().files for series in read(file)]
    long = [series for series in every if len(series.prices) > 2 * WARM_UP]
    print(f"{len(long)} symbols with more than {2 * WARM_UP} bars, of {len(every)}")
    forecasts = known()
    for rate in RATES:
        heads = f"{'ticks':>8}{'outside':>9}{'share':>9}{'loss, bp':>10}{'no gap':>11}{'gaps':>9}"
        print(f"\n{f'rate {float(rate):.1%}':29}{heads}")
        for name, forecast in forecasts.items():
            _print_line(name, rate, [(series, forecast(series, rate)) for series in long])


def known() -> dict[str, Forecast]:
    """Leave GARCH out where its package is not installed."""
    if find_spec("arch"):
        return FORECASTS
    print("GARCH(1,1) is skipped: arch is not installed (make .venv/bench/ready)")
    return {name: forecast for name, forecast in FORECASTS.items() if forecast is not garch}


def read(file: Path) -> Iterator[Series]:
    """Read a bar file; a file without symbols is one symbol."""
    prices: dict[str, list[int]] = defaultdict(list)
    moments: dict[str, list[float]] = defaultdict(list)
    for bar in oracle.bars(file, file.stem):
        prices[bar["symbol"]].append(fixed(bar["price"]))
        moments[bar["symbol"]].append(oracle.parse_moment(bar["timestamp"]).timestamp())
    for symbol, closes in prices.items():
        returns = [now / before - 1 for before, now in pairwise(closes)]
        yield Series(symbol, closes, returns, [now - before > GAP_SECONDS for before, now in pairwise(moments[symbol])])


def _normal_quantile(rate: str) -> float:
    return NormalDist().inv_cdf(1 - float(rate) / 2)


def _print_line(name: str, rate: str, found: list[tuple[Series, Sequence[float]]]) -> None:
    tells = [_counted(series, widths) for series, widths in found]
    sizes, limits, gaps = (np.concatenate(parts) for parts in zip(*tells, strict=True))
    outside = sizes > limits
    loss = (sizes - limits) * ((1 - float(rate)) - (sizes < limits)) * 1e4
    print(
        f"{name:29}{len(sizes):>8,}{outside.sum():>9,}{outside.mean():>9.3%}{loss.mean():>10.4f}"
        f"{_mean(loss[~gaps]):>11.4f}{_mean(loss[gaps]):>9.2f}"
    )


def _counted(
    series: Series, widths: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool]]:
    """Give sizes, limits and gaps of the ticks that count."""
    begin = len(series.returns) // 2
    return np.abs(series.returns[begin:]), np.array(widths[begin:]), np.array(series.is_gap[begin:])


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


if __name__ == "__main__":
    main()
