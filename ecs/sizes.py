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


SIZES: Mapping[str, Size] = {
    "full": Size(SERVICES, {}, {}),
    "small": Size(
        SMALL,
        {"ShardCount": "1", "LogMetrics": "FEW", "OperatorTopicKey": "NONE"},
        {"ArchiveSeconds": "300"},
    ),
}
