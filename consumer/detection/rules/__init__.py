"""The rules: each is a class in a module of its own, and is named in one list, here."""

from consumer.detection.rule import Rule
from consumer.detection.rules.bollinger import Bollinger
from consumer.detection.rules.gap import Gap
from consumer.detection.rules.inconsistent import Inconsistent
from consumer.detection.rules.macd import Macd
from consumer.detection.rules.price_level import PriceLevel
from consumer.detection.rules.price_move import PriceMove
from consumer.detection.rules.rapid_move import RapidMove
from consumer.detection.rules.rsi import Rsi
from consumer.detection.rules.sma_cross import SmaCross
from consumer.detection.rules.split import Split
from consumer.detection.rules.unusual import Unusual
from consumer.detection.rules.volume_spike import VolumeSpike
from consumer.detection.rules.z_score import ZScore

RULES: dict[type[Rule], bool] = {
    SmaCross: True,
    PriceMove: True,
    ZScore: True,
    Bollinger: True,
    VolumeSpike: True,
    PriceLevel: True,
    Unusual: True,
    Rsi: False,
    Macd: False,
    RapidMove: False,
    Split: False,
    Inconsistent: False,
    Gap: False,
}
"""All rules that come with Tickertape, and whether each is on unless RULES says otherwise."""
