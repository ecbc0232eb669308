"""Moving averages and anomalies: a pure function from ticks to indicators and alerts.

No input or output, no clock, no AWS, no logging. All decisions are made on integers, so that a restart gives the same
bits and one absurd price does not stay in a running sum for ever.
"""

from consumer.detection.detector import Alert, Detection, Detector, SavedState, SymbolState
from consumer.detection.rules import RULES, Rules

__all__ = ["RULES", "Alert", "Detection", "Detector", "Rules", "SavedState", "SymbolState"]
