"""Real ticks with all mixed in that a stream may hold: repeated, contradicted, late, odd, bad, several in a record."""

import random
from collections import defaultdict, deque
from collections.abc import Container
from datetime import timedelta
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path

from tests.bad_records import NOT_TICKS
from tests.integration.aggregation import aggregate
from tests.integration.pipeline import Put
from tests.oracle import Row, bars, parse_moment, payload_of

DATA = Path(__file__).parents[1] / "data"
_BARS = 200
_DAY_SYMBOLS = ("TSCO", "MAS", "KMB", "BRK.B", "OXY", "ALB", "ADS", "AET", "AEP", "DPS")
_HUGE = Decimal("9199999999.999999999")


def traffic(seed: int, minutes: int = 760, symbols: Container[str] = _DAY_SYMBOLS) -> list[Put]:
    """Make some thousand records; each symbol's are in order but where lateness is meant.

    Parameters
    ----------
    seed
        The same seed makes the same records.
    minutes
        How many minute bars of one symbol are in it.
    symbols
        Whose daily bars are in it.

    """
    dice = random.Random(seed)
    poison = cycle(dice.sample(_POISON, len(_POISON)))
    sent: list[tuple[str, bytes]] = []
    delayed: deque[tuple[int, tuple[str, bytes]]] = deque()
    for tick in _interleaved(dice, minutes, symbols):
        key, payload = str(tick["symbol"]), _dressed(dice, tick)
        fate = dice.random()
        if fate < 0.04:
            delayed.append((len(sent) + dice.randint(2, 60), (key, payload)))
        else:
            sent.append((key, payload))
        if 0.04 <= fate < 0.10:
            sent.append((key, payload))
        if 0.10 <= fate < 0.14:
            delayed.append((len(sent) + dice.randint(2, 60), (key, payload)))
        if 0.14 <= fate < 0.17:
            contradicting = key, _dressed(dice, {**tick, "price": tick["price"] + Decimal("0.01")})
            delayed.append((len(sent) + dice.choice([1, 30]), contradicting))
        if fate > 0.9:
            sent.append((key, next(poison)))
        while delayed and delayed[0][0] <= len(sent):
            sent.append(delayed.popleft()[1])
    sent += [late for _, late in delayed]
    there = {payload for _, payload in sent}
    sent += [("INDA", payload) for payload in _POISON if payload not in there]  # by chance, not every kind was
    return _partly_aggregated(dice, _partly_joined(dice, sent))


_JUNK = b'{"symbol":"INDA","price":44,"junk":"' + b"x" * 900_000 + b'"}'
_TORN = aggregate([("INDA", b'{"symbol":"INDA","price":44}')])[:-1] + b"\0"
_POISON = [*(payload for payload, _ in NOT_TICKS.values()), _JUNK, _TORN]


def first_bars(folder: Path, symbol: str) -> dict[str, str]:
    """Settings of a producer that replays some of the minute bars at once, under this symbol."""
    file = folder / "bars.csv"
    with (DATA / "inda_1min.csv").open() as all_bars:
        file.write_text("".join(islice(all_bars, _BARS)))
    return {"FEED": "replay", "REPLAY_FILE": str(file), "REPLAY_SPEED": "max", "SYMBOL": symbol}


def _interleaved(dice: random.Random, minutes: int, symbols: Container[str]) -> list[Row]:
    queues: dict[str, deque[Row]] = defaultdict(deque)
    queues["INDA"].extend(islice(bars(DATA / "inda_1min.csv", "INDA", None), minutes))
    for tick in bars(DATA / "sp500_daily.csv"):
        if tick["symbol"] in symbols:
            queues[tick["symbol"]].append(tick)
    queues["X/TREME"].extend(_extremes())
    queues["NOTIME"].append({"symbol": "NOTIME", "price": Decimal(7)})
    merged = []
    while queues:
        symbol = dice.choices(list(queues), [len(queue) for queue in queues.values()])[0]
        merged.append(queues[symbol].popleft())
        if not queues[symbol]:
            del queues[symbol]
    return merged


def _extremes() -> list[Row]:
    """Valid ticks at the ends of what a price may be: their percentages and z-scores have very many digits."""
    tiny = Decimal("0.000000001")
    return [
        {
            "symbol": "X/TREME",
            "timestamp": f"2023-07-10T10:{minute:02}:00Z",
            "price": _HUGE if minute in {24, 27} else tiny * (1 + minute % 3),
            "previous_close": _HUGE if minute == 25 else tiny,
            "volume": Decimal(2**63 - 1) if minute > 25 else Decimal(minute),
        }
        for minute in range(30)
    ]


def _dressed(dice: random.Random, tick: Row) -> bytes:
    """Write a tick in one of the forms that mean the same."""
    tick = dict(tick)
    fate = dice.random()
    if fate < 0.1:
        tick["symbol"] = tick["symbol"].lower()
    if fate > 0.7 and "timestamp" in tick:
        moment = parse_moment(tick["timestamp"])
        abroad = moment + timedelta(hours=5, minutes=30)
        tick["timestamp"] = dice.choice(
            [
                f"{moment:%Y-%m-%d %H:%M:%S}",
                f"{moment:%Y%m%dT%H%M%SZ}",
                f"{moment:%G-W%V-%u}T{moment:%H:%M:%S}.000000Z",
                f"{abroad:%Y-%m-%dT%H:%M:%S},000000000+05:30",
            ]
        )
    payload = payload_of(tick)
    return payload.replace(b", ", b"\r\n ,") + b"\n" if dice.random() < 0.05 else payload


def _partly_joined(dice: random.Random, sent: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Write neighbours of the same key into one record, as an array or as lines; some are bad, or make all bad."""
    joined: list[tuple[str, bytes]] = []
    for key, payload in sent:
        if joined and joined[-1][0] == key and len(payload) < 10_000 and dice.random() < 0.1:
            last = joined.pop()[1]
            text = b"[%b,\n%b]" if dice.random() < 0.5 else b"%b\n%b"
            joined.append((key, text % (last, payload)))
        else:
            joined.append((key, payload))
    return joined


def _partly_aggregated(dice: random.Random, sent: list[tuple[str, bytes]]) -> list[Put]:
    """Gather some records with later ones of the same key into one; a key's order stays as it is."""
    rest = deque(sent)
    puts = []
    while rest:
        key, payload = rest.popleft()
        if dice.random() > 0.05 or len(payload) > 100_000:
            puts.append(Put(key, payload))
            continue
        near = [rest.popleft() for _ in range(min(len(rest), 40))]
        contents = [payload, *(data for other, data in near if other == key)]
        rest.extendleft(reversed([record for record in near if record[0] != key]))
        puts.append(Put.aggregated(key, contents))
    return puts
