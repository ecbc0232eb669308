"""ecs/services.yaml: what its scaling policy does, replayed with the arithmetic of AWS."""

from collections import deque
from collections.abc import Callable

import boto3
import pytest
from moto import mock_aws

from infra.templates import services
from tests.scaling import TargetTracking

METRICS_LATE = 2
START_MINUTES = 2
"""CloudWatch shows what was two minutes ago, and a task needs as long to start: slower than usual, both."""


class Service:
    """The consumer's service in a simulated world, under the policy of the template.

    Parameters
    ----------
    shards
        The stream's shards at each minute.
    load
        How many shards' full work there is to do at each minute; a task does at most ``power`` shards' work.
    spot
        How many tasks there is room for.

    """

    def __init__(
        self,
        shards: Callable[[int], int],
        *,
        load: Callable[[int], float] = lambda minute: 0,
        power: float = 2,
        spot: int = 1000,
        **parameters: int,
    ) -> None:
        template = services(**parameters)
        (policy,) = template.of_type("ApplicationAutoScaling::ScalingPolicy").values()
        (limits,) = template.of_type("ApplicationAutoScaling::ScalableTarget").values()
        least = limits["MinCapacity"]
        self.scaling = TargetTracking(
            policy["TargetTrackingScalingPolicyConfiguration"], least, limits["MaxCapacity"], least
        )
        self._shards, self._load, self._power, self._spot = shards, load, power, spot

    def wanted(self, minutes: int) -> list[int]:
        """Run; gives the tasks that were wanted at each minute."""
        wanted = [self.scaling.capacity]
        backlog = 0.0
        shown: deque[dict[str, float | None]] = deque(maxlen=METRICS_LATE + 1)
        for minute in range(minutes):
            running = min(wanted[max(0, len(wanted) - 1 - START_MINUTES)], self._spot)
            load, shards = self._load(minute), self._shards(minute)
            backlog = max(0.0, backlog + load - min(load + backlog, shards, running * self._power))
            shown.append(
                {
                    "Leases": shards if running else None,
                    "MillisBehindLatest": 60_000 * backlog / load if load else None,
                    "DesiredTaskCount": wanted[-1],
                    "RunningTaskCount": running,
                }
            )
            wanted.append(self.scaling.see(minute, shown[0]) if len(shown) > METRICS_LATE else wanted[-1])
        return wanted


def changes(wanted: list[int]) -> list[int]:
    """The numbers of tasks one after the other."""
    return [now for before, now in zip([0, *wanted], wanted, strict=False) if now != before]


def one_eight_two(minute: int) -> int:
    """A shard; from the 30th minute eight; from the 90th two."""
    return 1 if minute < 30 else 8 if minute < 90 else 2


@pytest.mark.parametrize(
    ("shards_per_task", "expected"), [(1, [1, 8, 2]), (2, [1, 4, 1]), (3, [1, 3, 1]), (4, [1, 2, 1]), (8, [1])]
)
def test_tasks_follow_the_shards(shards_per_task: int, expected: list[int]) -> None:
    """From 1 to 8 to 2 shards there is one step out and one step in, each to the right number: no flapping."""
    assert changes(Service(one_eight_two, ShardsPerTask=shards_per_task).wanted(180)) == expected


def test_scaling_is_done_in_minutes() -> None:
    """Tasks for new shards are wanted within 6 minutes; tasks without work go after 15 to 25."""
    wanted = Service(one_eight_two).wanted(180)
    assert 30 < wanted.index(4) <= 36
    assert 90 + 15 <= wanted.index(1, 90) <= 90 + 25


@pytest.mark.parametrize("shards", range(1, 41))
@pytest.mark.parametrize("shards_per_task", [1, 2, 3, 5])
def test_no_number_of_shards_makes_it_swing(shards: int, shards_per_task: int) -> None:
    """Whatever the number of shards, there are soon as many tasks as they need, rounded up, and this stays so."""
    service = Service(lambda minute: shards if minute < 60 else 40, ShardsPerTask=shards_per_task, MaxTasks=100)
    wanted = service.wanted(200)
    assert changes(wanted[:60])[-1] == -(-shards // shards_per_task)
    assert changes(wanted[90:]) == [-(-40 // shards_per_task)]


def test_a_minute_of_noise_changes_nothing() -> None:
    """A minute in which shards move, and both their owners tell of them or neither does, is passed over."""

    def noisy(minute: int) -> int:
        return {40: 16, 60: 0, 61: 12, 80: 4}.get(minute, 8)

    assert changes(Service(noisy).wanted(120)) == [1, 4]


def test_limits_are_kept() -> None:
    """Neither more tasks than MaxTasks nor fewer than MinTasks are ever wanted."""
    wanted = Service(one_eight_two, ShardsPerTask=1, MinTasks=3, MaxTasks=5).wanted(180)
    assert changes(wanted) == [3, 5, 3]


def test_tasks_that_do_not_come_are_not_asked_for_again() -> None:
    """Where Spot has room for one task only, the number that is wanted stays what the shards need."""
    assert changes(Service(one_eight_two, spot=1).wanted(90)) == [1, 4]


def test_while_behind_each_shard_gets_a_task_and_no_more() -> None:
    """A backlog that two shards a task cannot work off is worked off with a task a shard, which then go again."""
    busy = Service(lambda _: 8, load=lambda minute: 6 if 30 <= minute < 60 else 1, power=1, MaxTasks=100)
    wanted = busy.wanted(180)
    assert changes(wanted) == [1, 4, 8, 4]
    assert wanted[-1] == 4


def test_no_metrics_no_change() -> None:
    """While the consumer tells nothing, as when it is stopped, nothing is scaled."""
    assert changes(Service(lambda _: 8, spot=0).wanted(120)) == [1]


def test_aws_takes_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Application Auto Scaling's API accepts target and policy as they are in the template."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    template = services()
    (target,) = template.of_type("ApplicationAutoScaling::ScalableTarget").values()
    (policy,) = template.of_type("ApplicationAutoScaling::ScalingPolicy").values()
    resource = {name: target[name] for name in ("ServiceNamespace", "ScalableDimension", "ResourceId")}
    with mock_aws():
        ecs = boto3.client("ecs")
        ecs.create_cluster(clusterName="tickertape-services")
        ecs.register_task_definition(family="f", containerDefinitions=[{"name": "c", "image": "i", "memory": 128}])
        ecs.create_service(cluster="tickertape-services", serviceName="consumer", taskDefinition="f", desiredCount=1)
        scaling = boto3.client("application-autoscaling")
        scaling.register_scalable_target(
            **resource, MinCapacity=target["MinCapacity"], MaxCapacity=target["MaxCapacity"]
        )
        scaling.put_scaling_policy(
            **resource,
            PolicyName=policy["PolicyName"],
            PolicyType=policy["PolicyType"],
            TargetTrackingScalingPolicyConfiguration=policy["TargetTrackingScalingPolicyConfiguration"],
        )
        (registered,) = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    assert registered["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 2
