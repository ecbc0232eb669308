"""What `make deploy SIZE=...` deploys: a template of what runs, and parameters that make it small or large."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from infra.templates import SERVICES, SMALL


class Size(NamedTuple):
    """Parameters are set when a deployment gets this size; each can be set otherwise, then and later."""

    template: Path
    stores: Mapping[str, str]
    services: Mapping[str, str]


SLOW_RULES: Mapping[str, str] = {
    "SmaFast": "100",
    "SmaSlow": "1000",
    "ZScoreWindow": "1000",
    "ZScoreThreshold": "10",
    "BollingerWidth": "5",
    "VolumeWindow": "1000",
    "VolumeSpikeRatio": "50",
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
            **SLOW_RULES,
            "Aggregate": "true",
            "PublishLingerMilliseconds": "1000",
            "ShardsPerTask": "1",
            "ConsumerSize": "1024-2048",
            "ProducerSize": "1024-2048",
        },
    ),
}
"""docs/cost.md says what each parameter of the large size saves, and what is given up for it."""
