"""Moving averages and anomalies: a pure function from ticks to indicators and alerts.

No input or output, no clock, no AWS, no logging. All decisions are made on integers, so that a restart gives the same
bits and one absurd price does not stay in a running sum for ever.
"""

from consumer.detection.alert import Alert
from consumer.detection.choice import NoRuleError, Rules
from consumer.detection.detector import Detection, Detector, Failure, SavedState, SymbolState
from consumer.detection.history import History
from consumer.detection.rule import DOWN, NONE, UP, Column, Number, Numbers, Ratio, Rule
from consumer.detection.rules import RULES
from consumer.detection.window import Window

__all__ = [
    "DOWN",
    "NONE",
    "RULES",
    "UP",
    "Alert",
    "Column",
    "Detection",
    "Detector",
    "Failure",
    "History",
    "NoRuleError",
    "Number",
    "Numbers",
    "Ratio",
    "Rule",
    "Rules",
    "SavedState",
    "SymbolState",
    "Window",
]
