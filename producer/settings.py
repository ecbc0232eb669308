"""What the producer can be told."""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from common.settings import CommandSettings
from common.tick import NotATickError, normalise_symbol


def _symbol(text: str) -> str:
    try:
        return normalise_symbol(text)
    except NotATickError as error:
        raise ValueError(f"{text!r}: {error}") from None


def _split(text: object) -> object:
    return tuple(part.strip() for part in text.split(",")) if isinstance(text, str) else text


def _all_different(symbols: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is there more than once")
    return symbols


def _speed(text: object) -> object:
    if text == "max":
        return math.inf
    try:
        speed = float(str(text))
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise ValueError("give a positive number, or max")
    return speed


Symbol = Annotated[str, AfterValidator(_symbol)]


class ProducerSettings(CommandSettings):
    """Publish quotes to the stream, until stopped or until the feed ends."""

    stream_name: str = Field("stock-market-stream", min_length=1, description="The Kinesis stream to publish to.")
    feed: Literal["simulated", "replay", "yahoo", "yahoo-live"] = Field(
        "simulated",
        description="Where quotes come from: a simulated market, a recorded file, or Yahoo, polled or streamed.",
    )
    symbols: Annotated[tuple[Symbol, ...], NoDecode, BeforeValidator(_split), AfterValidator(_all_different)] = Field(
        (),
        description="The symbols to publish, separated by commas; by default a dozen known ones, or all in the file"
        " (Yahoo's feeds have no default).",
    )
    feed_interval_seconds: float = Field(
        30, gt=0, allow_inf_nan=False, description="Seconds from one simulated or polled quote of a symbol to its next."
    )
    market_closed_interval_seconds: float = Field(
        300,
        gt=0,
        allow_inf_nan=False,
        description="Seconds from one poll of a symbol to its next while its market is closed.",
    )
    stream_silence_seconds: float = Field(
        90,
        gt=0,
        allow_inf_nan=False,
        description="Seconds without a quote after which a stream is given up for a new one while a market is open.",
    )
    simulation_seed: int | None = Field(
        None,
        description="Makes the simulated market the same at every start; without it, each start differs.",
    )
    replay_file: Path | None = Field(
        None,
        description="The file to replay: ticks or bars as .csv, .jsonl or .parquet, plain or with .gz or .zst.",
    )
    replay_speed: Annotated[float, BeforeValidator(_speed)] = Field(
        1, description="How many times faster than recorded to replay, or max for as fast as possible."
    )
    symbol: Symbol | None = Field(None, description="The symbol of a file that has no symbol column.")
    publish_linger_milliseconds: float = Field(
        50, ge=0, allow_inf_nan=False, description="How long a tick may wait for others to share its request."
    )
    aggregate: bool = Field(
        False,
        description="Put a symbol's waiting ticks into one record, in the format of the Kinesis Producer Library.",
    )

    @model_validator(mode="after")
    def _needs_a_file(self) -> Self:
        if self.feed == "replay" and self.replay_file is None:
            raise ValueError("FEED=replay needs a file: set REPLAY_FILE")
        return self

    @model_validator(mode="after")
    def _needs_symbols(self) -> Self:
        if self.feed in {"yahoo", "yahoo-live"} and not self.symbols:
            raise ValueError(f"FEED={self.feed} needs symbols: set SYMBOLS, for instance SYMBOLS=AAPL,BRK-B,BTC-USD")
        return self
