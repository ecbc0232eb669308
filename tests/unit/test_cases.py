"""Files as people have them: the rows, the numbers and the alerts that come of them."""

from decimal import Decimal
from pathlib import Path

import pytest

from common.settings import read_settings
from common.tick import TickDecoder, decimal_text, encode
from consumer.detection import Detector, Rules, SymbolState
from consumer.protocol import Record
from consumer.sinks.row import RowWriter
from producer.feeds.replay import Replay, open_feed
from producer.settings import ProducerSettings
from tests.cases import CASES, FOLDER, Case, assert_right
from tests.unit.fake_clock import FakeClock

_ON_THE_WIRE = {"10b", "16-", "17-"}
_ARRIVED_MS = 4_000_000_000_000


def replay(path: Path, symbol: str = "", *flags: str) -> Replay:
    """Open a file as the command does."""
    settings = ["--feed", "replay", "--replay-file", str(path), "--replay-speed", "max", *flags]
    settings += ["--symbol", symbol] if symbol else []
    return open_feed(read_settings(ProducerSettings, settings, "produce"), FakeClock())


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join((case.file, case.symbol, *case.flags)))
def test_case(case: Case) -> None:
    """Every row, number and alert of the case is right, from the file to the row that is stored."""
    feed = replay(case.path, case.symbol, *case.flags)
    detector, decoder = Detector(Rules()), TickDecoder(300)
    writer = RowWriter("shardId-000000000000", detector.columns, 30)
    states: dict[str, SymbolState] = {}
    rows, alerts, suppressed = [], [], 0
    for tick in feed:
        data = encode(tick)
        tick = decoder.decode(data, _ARRIVED_MS)  # noqa: PLW2901  (as the consumer reads it)
        state = states.setdefault(tick.symbol, detector.new_state(tick.symbol))
        detection = detector.detect(state, tick)
        record = Record(data, tick.symbol, "1", 0, _ARRIVED_MS)
        item = writer.item(writer.accepted(tick, detection, record))
        rows.append({name: value for name, typed in item.items() for value in typed.values()})
        suppressed += sum(alert.suppressed for alert in detection.alerts)
        alerts += [
            {
                "symbol": alert.symbol,
                "alert_id": alert.alert_id,
                "direction": alert.direction,
                "message": alert.sentence,
                **{name: Decimal(decimal_text(getattr(alert, name))) for name in ("price", "value", "threshold")},
            }
            for alert in detection.alerts
            if not alert.suppressed
        ]
    assert_right(case, rows, alerts)
    assert (feed.skipped, suppressed) == (case.skipped, case.suppressed)


def test_each_file_is_a_case() -> None:
    """No file is there without being looked at; those of records on the wire are not for us."""
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*") if path.parent.name[:3] not in _ON_THE_WIRE}
    assert files == {case.file for case in CASES}
