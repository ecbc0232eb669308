"""The metrics that scaling, alarms and dashboard are about: the KCL publishes them under these very names."""

import json
import time
from pathlib import Path
from typing import Any

from infra.templates import STACK, Template, services
from tests.integration.pipeline import APPLICATION, Pipeline, Put

Metric = tuple[str, str, str]
"""Name of a metric, of its dimension and that one's value."""

_SERVICES = services(ApplicationName=APPLICATION)
_TIMEOUT_SECONDS = 120


def used(value: Any) -> set[Metric]:  # noqa: ANN401  (anything that a template can hold)
    """Find the application's metrics with a dimension, wherever they are in a template."""
    if isinstance(value, list):
        if value[:1] == [APPLICATION] and len(value) >= 4:  # as dashboards write it
            return {(value[1], value[2], value[3])}
        return set().union(*map(used, value))
    if not isinstance(value, dict):
        return set()
    if value.get("Namespace") == APPLICATION and "Dimensions" in value:
        return {(value["MetricName"], dimension["Name"], dimension["Value"]) for dimension in value["Dimensions"]}
    return set().union(*map(used, value.values()))


def test_the_kcl_publishes_what_the_services_look_at(tmp_path: Path) -> None:
    """With the task's settings, a consumer publishes each of the KCL's metrics that the template names."""
    (dashboard,) = _SERVICES.of_type("CloudWatch::Dashboard").values()
    told = _SERVICES.environment("ConsumerTask")
    settings = {name: value for name, value in told.items() if name.startswith("KCL_")}
    wanted = used(_SERVICES.resources) | used(json.loads(dashboard["DashboardBody"]))
    assert {name for name, _, _ in wanted} >= {"MillisBehindLatest", "RecordsProcessed", "ExpiredLeases"}

    with Pipeline(tmp_path, shards=2) as pipeline:
        pipeline.create_leases()
        pipeline.put([Put("KO", b'{"symbol": "KO", "price": 43.58}')])
        default = {"KCL_METRICS_LEVEL": "SUMMARY"}  # the consumer's own
        pipeline.start_consumer(default | settings | {"KCL_METRICS_BUFFER_TIME_MILLIS": "1000"})
        cloudwatch = pipeline.client("cloudwatch")
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while (missing := wanted - published(cloudwatch)) and time.monotonic() < deadline:
            time.sleep(1)
        assert missing == set()


def test_the_stack_counts_what_the_services_look_at() -> None:
    """The application's metrics without a dimension are those that the stack makes of the log."""
    made = {
        transformation["MetricName"]
        for metric in Template(STACK).of_type("Logs::MetricFilter").values()
        for transformation in metric["MetricTransformations"]
    }
    text = json.dumps(_SERVICES.resources)
    assert all(f'\\"{name}\\"' in text or f'"MetricName": "{name}"' in text for name in made)


def published(cloudwatch: Any) -> set[Metric]:  # noqa: ANN401  (a boto3 client)
    """The application's metrics in CloudWatch."""
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=APPLICATION)
    return {
        (metric["MetricName"], dimension["Name"], dimension["Value"])
        for page in pages
        for metric in page["Metrics"]
        for dimension in metric["Dimensions"]
    }
