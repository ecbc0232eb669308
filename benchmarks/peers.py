"""Prints what detection and the whole path cost beside real libraries and a usual Lambda handler: `make bench`.

Each library computes the same averages, bands and z-scores of the same ticks, one after another as they come, and is
compared with ours number by number: it does the same work, or the benchmark ends. Ours decides, besides, on integers,
keeps the sides of all rules that are on by default, and makes alerts. Each library's part is written straight on, so
that nothing of ours slows it, though some look alike. Times are seconds on a core; the ratios are what to compare.
"""

import base64
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from math import isclose, nan, sqrt
from typing import Any, NamedTuple

import boto3
import numpy as np

from benchmarks import speed
from benchmarks.stub_server import running
from common.tick import Tick, TickDecoder
from consumer.__main__ import look_for_garbage_seldom
from consumer.detection import Detection, Detector, Rules

FAST, SLOW, WIDTH = 5, 20, 2
KCL_BATCH, LAMBDA_BATCH = 2000, 100  # ours at most, and what a Kinesis trigger has unless it is set
REPEATS = 3

Numbers = tuple[float, float, float, float, float]
"""Fast and slow average, upper and lower band, z-score of the last return: all that can be seen by eye on a chart."""

Quote = tuple[int, float]
"""A symbol's number, and its price."""

Detect = Callable[[list[Quote]], list[Numbers | None]]
"""Takes the ticks of all symbols; None until the windows of a symbol are full."""


class Peer(NamedTuple):
    """A library; ``start`` imports it and makes what detects with it."""

    name: str
    start: Callable[[], Callable[[], Detect]]


def ours(ticks: list[Tick]) -> list[Detection]:
    """Detect as the process of a shard does."""
    detector = Detector(Rules())
    states = {name: detector.new_state(name) for name in (f"SYM{number}" for number in range(speed.SYMBOLS))}
    return [detector.detect(states[tick.symbol], tick) for tick in ticks]


def _one_by_one(new_state: Callable[[], Callable[[float], Numbers | None]]) -> Detect:
    """Detect with a state for each symbol, which takes price after price."""
    states = [new_state() for _ in range(speed.SYMBOLS)]
    return lambda quotes: [states[symbol](price) for symbol, price in quotes]


class Deques:
    """The last prices and returns of a symbol, summed again for each tick."""

    def __init__(self) -> None:
        self._prices: deque[float] = deque(maxlen=SLOW)
        self._returns: deque[float] = deque(maxlen=SLOW)

    def __call__(self, price: float) -> Numbers | None:
        """Take a price."""
        prices, returns = self._prices, self._returns
        if not prices:
            prices.append(price)
            return None
        change = price / prices[-1] - 1
        prices.append(price)
        numbers = None
        if len(returns) == SLOW:
            fast = sum(islice(prices, SLOW - FAST, None)) / FAST
            mean, deviation = _moments(prices)
            mean_return, deviation_of_returns = _moments(returns)
            score = (change - mean_return) / deviation_of_returns
            numbers = fast, mean, mean + WIDTH * deviation, mean - WIDTH * deviation, score
        returns.append(change)
        return numbers


def _moments(values: deque[float]) -> tuple[float, float]:
    mean = sum(values) / SLOW
    return mean, sqrt(sum([(value - mean) ** 2 for value in values]) / SLOW)


def start_deques() -> Callable[[], Detect]:
    """Detect without a library."""
    return lambda: _one_by_one(Deques)


def start_numba() -> Callable[[], Detect]:
    """Detect a batch at a time, in a kernel that is compiled to machine code."""
    import numba  # noqa: PLC0415  (each peer imports its library, which may not be there)

    kernel = numba.njit(_kernel)

    def new() -> Detect:
        prices, returns = np.zeros((2, speed.SYMBOLS, SLOW))
        counts = np.zeros(speed.SYMBOLS, np.int64)

        def detect(quotes: list[Quote]) -> list[Numbers | None]:
            found: list[Numbers | None] = []
            for start in range(0, len(quotes), KCL_BATCH):
                symbols, batch = zip(*quotes[start : start + KCL_BATCH], strict=True)
                numbers = kernel(np.array(symbols), np.array(batch), prices, returns, counts).tolist()
                found += [tuple(row) if row[0] == row[0] else None for row in numbers]
            return found

        return detect

    return new


def _kernel(symbols: Any, batch: Any, prices: Any, returns: Any, counts: Any) -> Any:  # noqa: ANN401  (arrays; numba takes no types)
    found = np.full((len(batch), 5), nan)
    for index in range(len(batch)):
        symbol, price = symbols[index], batch[index]
        count = counts[symbol]
        change = price / prices[symbol, (count - 1) % SLOW] - 1 if count else 0.0
        prices[symbol, count % SLOW] = price
        if count > SLOW:
            fast = 0.0
            for back in range(FAST):
                fast += prices[symbol, (count - back) % SLOW]
            mean, deviation = prices[symbol].mean(), prices[symbol].std()
            found[index, 0], found[index, 1] = fast / FAST, mean
            found[index, 2], found[index, 3] = mean + WIDTH * deviation, mean - WIDTH * deviation
            found[index, 4] = (change - returns[symbol].mean()) / returns[symbol].std()
        if count:
            returns[symbol, (count - 1) % SLOW] = change
        counts[symbol] = count + 1
    return found


def start_talib() -> Callable[[], Detect]:
    """Detect with handles, which take price after price once they are opened on a history."""
    from talib import stream  # noqa: PLC0415

    class State:
        def __init__(self) -> None:
            self._history: list[float] = []
            self._last = 0.0

        def __call__(self, price: float) -> Numbers | None:
            change = price / self._last - 1 if self._last else 0.0
            self._last = price
            if len(self._history) <= SLOW:
                self._open(price)
                return None
            fast = self._fast.update(price)
            upper, mean, lower = self._bands.update(price)
            score = (change - self._mean.value) / self._deviation.value
            self._mean.update(change)
            self._deviation.update(change)
            return fast, mean, upper, lower, score

        def _open(self, price: float) -> None:
            self._history.append(price)
            if len(self._history) <= SLOW:
                return
            prices = np.array(self._history)
            returns = prices[1:] / prices[:-1] - 1
            self._fast = stream.SMA(prices, timeperiod=FAST)
            self._bands = stream.BBANDS(prices, timeperiod=SLOW, nbdevup=WIDTH, nbdevdn=WIDTH)
            self._mean = stream.SMA(returns, timeperiod=SLOW)
            self._deviation = stream.STDDEV(returns, timeperiod=SLOW)

    return lambda: _one_by_one(State)


def start_river() -> Callable[[], Detect]:
    """Detect with rolling statistics."""
    from river import stats, utils  # noqa: PLC0415

    class State:
        def __init__(self) -> None:
            self._fast = utils.Rolling(stats.Mean(), FAST)
            self._mean, self._mean_return = (utils.Rolling(stats.Mean(), SLOW) for _ in range(2))
            self._variance, self._variance_of_returns = (utils.Rolling(stats.Var(ddof=0), SLOW) for _ in range(2))
            self._last, self._count = 0.0, 0

        def __call__(self, price: float) -> Numbers | None:
            change = price / self._last - 1 if self._last else 0.0
            self._fast.update(price)
            self._mean.update(price)
            self._variance.update(price)
            numbers = None
            if self._count > SLOW:
                mean, band = self._mean.get(), WIDTH * sqrt(self._variance.get())
                score = (change - self._mean_return.get()) / sqrt(self._variance_of_returns.get())
                numbers = self._fast.get(), mean, mean + band, mean - band, score
            if self._count:
                self._mean_return.update(change)
                self._variance_of_returns.update(change)
            self._last = price
            self._count += 1
            return numbers

    return lambda: _one_by_one(State)


def start_talipp() -> Callable[[], Detect]:
    """Detect with incremental indicators."""
    from talipp.indicators import BB, SMA, StdDev  # noqa: PLC0415

    class State:
        def __init__(self) -> None:
            self._fast, self._bands = SMA(FAST), BB(SLOW, WIDTH)
            self._mean_return, self._deviation_of_returns = SMA(SLOW), StdDev(SLOW)
            self._last, self._count = 0.0, 0

        def __call__(self, price: float) -> Numbers | None:
            change = price / self._last - 1 if self._last else 0.0
            self._fast.add(price)
            self._bands.add(price)
            numbers = None
            if self._count > SLOW:
                band = self._bands[-1]
                score = (change - self._mean_return[-1]) / self._deviation_of_returns[-1]
                numbers = self._fast[-1], band.cb, band.ub, band.lb, score
            if self._count:
                self._mean_return.add(change)
                self._deviation_of_returns.add(change)
            self._last = price
            self._count += 1
            return numbers

    return lambda: _one_by_one(State)


def start_bytewax() -> Callable[[], Detect]:
    """Detect in a dataflow, which keeps a state for each symbol: deques, as its own windows are of time."""
    from bytewax import operators as op  # noqa: PLC0415
    from bytewax.dataflow import Dataflow  # noqa: PLC0415
    from bytewax.testing import TestingSink, TestingSource, run_main  # noqa: PLC0415

    def step(state: Deques | None, numbered: tuple[int, float]) -> tuple[Deques, tuple[int, Numbers | None]]:
        state = state or Deques()
        index, price = numbered
        return state, (index, state(price))

    def detect(quotes: list[Quote]) -> list[Numbers | None]:
        keyed = [(str(symbol), (index, price)) for index, (symbol, price) in enumerate(quotes)]
        found: list[tuple[str, tuple[int, Numbers | None]]] = []
        flow = Dataflow("detection")
        ticks = op.input("ticks", flow, TestingSource(keyed, batch_size=KCL_BATCH))
        op.output("found", op.stateful_map("detect", ticks, step), TestingSink(found))
        run_main(flow)
        return [numbers for _, numbers in sorted(value for _, value in found)]

    return lambda: detect


PEERS = (
    Peer("numba kernel", start_numba),
    Peer("TA-Lib", start_talib),
    Peer("plain deques", start_deques),
    Peer("bytewax", start_bytewax),
    Peer("river", start_river),
    Peer("talipp", start_talipp),
)


def check(name: str, found: list[Numbers | None], detections: list[Detection]) -> None:
    """Compare a peer's numbers with ours, wherever both have some.

    Raises
    ------
    AssertionError
        They differ by more than rounding.

    """
    compared = 0
    for theirs, detection in zip(found, detections, strict=True):
        mine = _numbers(detection)
        if theirs is not None and mine is not None:
            compared += 1
            assert _are_close(theirs, mine), f"{name} has {theirs} where ours are {mine}"
    assert compared > len(detections) / 2, f"{name} gave only {compared} of {len(detections)} results"


def _numbers(detection: Detection) -> Numbers | None:
    fast, slow, _, score, upper, lower, *_ = detection.values  # the newer rules' follow
    if fast is None or slow is None or upper is None or lower is None or score is None:
        return None
    return fast / 1e9, slow / 1e9, upper / 1e9, lower / 1e9, score / 1e6


def _are_close(theirs: Numbers, mine: Numbers) -> bool:
    prices = all(isclose(a, b, rel_tol=1e-8) for a, b in zip(theirs[:4], mine[:4], strict=True))
    return prices and isclose(theirs[4], mine[4], abs_tol=1e-4)  # our returns are rounded to parts in a billion


def detection_lines(sent: list[bytes]) -> Iterator[str]:
    """Measure detection, ours and the peers'."""
    decoder = TickDecoder(300)
    ticks = [decoder.decode(payload, speed.ARRIVED) for payload in sent]
    quotes = [(int(tick.symbol.removeprefix("SYM")), tick.price / 1e9) for tick in ticks]
    detections = ours(ticks)
    mine = speed.seconds(lambda: ours(ticks), REPEATS) / len(ticks)
    yield _line("detect", "tickertape", mine, mine)
    for peer in PEERS:
        try:
            new = peer.start()
        except ImportError as missing:
            yield f"{'detect':12} {peer.name:22} skipped: {missing.name} is not installed (make bench)"
            continue
        check(peer.name, new()(quotes), detections)  # which compiles, too, what is compiled
        theirs = speed.seconds(lambda new=new: new()(quotes), REPEATS) / len(quotes)  # type: ignore[misc]
        yield _line("detect", peer.name, theirs, mine)


class Lambda:
    """What tutorials have instead of a consumer: a function that is called with up to 100 records, and forgets."""

    def __init__(self) -> None:
        self._table = boto3.resource("dynamodb").Table("ticks")
        self._sns, self._s3 = boto3.client("sns"), boto3.client("s3")

    def handle(self, event: dict[str, Any]) -> None:
        """Store the ticks, archive them, and publish an alert for each that is 5 % away from the previous close."""
        ticks = []
        with self._table.batch_writer() as batch:
            for record in event["Records"]:
                tick = json.loads(base64.b64decode(record["kinesis"]["data"]), parse_float=Decimal)
                ticks.append(tick)
                batch.put_item(Item=tick)
                change = (tick["price"] - tick["previous_close"]) / tick["previous_close"] * 100
                if abs(change) >= 5:
                    message = json.dumps({**tick, "change": change}, default=str)
                    self._sns.publish(TopicArn="arn:aws:sns:us-east-1:1:alerts", Message=message)
        key = event["Records"][0]["kinesis"]["sequenceNumber"]
        self._s3.put_object(Bucket="archive", Key=f"{key}.json", Body=json.dumps(ticks, default=str))


def events(sent: list[bytes]) -> list[dict[str, Any]]:
    """Make the events that a function is called with."""
    records = [
        {"kinesis": {"data": base64.b64encode(data).decode(), "sequenceNumber": str(number)}}
        for number, data in enumerate(sent)
    ]
    return [{"Records": records[start : start + LAMBDA_BATCH]} for start in range(0, len(records), LAMBDA_BATCH)]


def whole_path_lines(sent: list[bytes]) -> Iterator[str]:
    """Measure the way from a message or event to acknowledged writes."""
    with running():
        step = speed.whole_path("whole path")
        mine = speed.seconds(step.ours, 1) / step.ticks
        yield _line("whole path", "tickertape", mine, mine)
        function, called_with = Lambda(), events(sent[: step.ticks])
        function.handle(called_with[0])  # connections: once in its life

        def call() -> None:
            for event in called_with:
                function.handle(event)

        yield _line("whole path", "a usual Lambda handler", speed.seconds(call, 1) / step.ticks, mine)
        yield _line("whole path", step.peer_name, speed.seconds(step.peer, 1) / step.peer_ticks, mine)


def _line(what: str, name: str, cost: float, mine: float) -> str:
    return f"{what:12} {name:22} {1e9 * cost:9,.0f} {1 / cost:10,.0f} {cost / mine:12.2f}"


def main() -> None:
    """Measure everything and print the table."""
    logging.disable()
    look_for_garbage_seldom()  # as in the process of a shard
    sent = speed.payloads()
    print(f"{'':12} {'':22} {'ns/tick':>9} {'ticks/s':>10} {'ours = 1':>12}")
    for line in detection_lines(sent):
        print(line, flush=True)
    for line in whole_path_lines(sent):
        print(line, flush=True)


if __name__ == "__main__":
    main()
