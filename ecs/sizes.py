"""What `make deploy SIZE=...` deploys: a template of what runs, and parameters that make it small or large."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from infra.templates import SERVICES, SMALL


class Size(NamedTuple):
    """Parameters are set when a deployment gets this size; each can be set otherwise, then and later."""

    template: Path
    stores: Mapping[str, str]
    services: Mapping[str, str]


SLOW_RULES: Mapping[str, Mapping[str, int]] = {
    "*": {
        "sma_fast": 100,
        "sma_slow": 1000,
        "z_score_window": 1000,
        "z_score_threshold": 10,
        "bollinger_width": 5,
        "volume_window": 1000,
        "volume_spike_ratio": 50,
    }
}
"""For ten ticks a second: the default windows see half a second to two, and rules fire on a sixth of all ticks."""

SIZES: Mapping[str, Size] = {
    "full": Size(SERVICES, {}, {"Size": "full"}),
    "small": Size(
        SMALL,
        {"ShardCount": "1", "LogMetrics": "FEW", "OperatorTopicKey": "NONE"},
        {"ArchiveSeconds": "300"},
    ),
    "large": Size(
        SERVICES,
        {"ShardCount": "4", "TicksPointInTimeRecovery": "false"},
        {
            "Size": "large",
            "CpuArchitecture": "ARM64",
            "RowSeconds": "5",
            "RuleOverrides": json.dumps(SLOW_RULES),
            "Aggregate": "true",
            "PublishLingerMilliseconds": "1000",
            "ShardsPerTask": "1",
            "ConsumerSize": "1024-2048",
            "ProducerSize": "1024-2048",
        },
    ),
}
"""docs/cost.md says what each parameter of the large size saves, and what is given up for it."""
