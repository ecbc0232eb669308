"""What can happen to a pipeline: each thing once, at a moment that dice choose, and then awaited until all goes on."""

import os
import random
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.faulty_proxy import Fault, Kind
from tests.chaos.tasks import Task
from tests.chaos.world import FAILOVER_SECONDS, World
from tests.integration.pipeline import APPLICATION


class Target(NamedTuple):
    """A service, or some of what it is asked for."""

    service: str
    operation: str = ""
    table: str = ""

    def fault(self, kind: Kind, probability: float = 1.0) -> Fault:
        """Make a fault of what this is."""
        operations = frozenset({self.operation} if self.operation else ())
        return Fault(kind, probability, frozenset({self.service}), operations, self.table)


SERVICES = tuple(map(Target, ("kinesis", "dynamodb", "s3", "sns")))
OPERATIONS = (
    *(Target("kinesis", name) for name in ("ListShards", "DescribeStreamSummary", "GetShardIterator", "GetRecords")),
    *(Target("dynamodb", name, APPLICATION) for name in ("Scan", "GetItem", "UpdateItem", "")),  # the lease table's
)
"""What the KCL asks by itself, apart from the rest; a round meets each sooner or later."""
STOP_SECONDS = 30
_PATIENCE_SECONDS = 240  # of whoever waits: what is promised is in the table, and a busy machine takes its time
_TASKS = 2
_MOST_TASKS = 3
_KINDS: tuple[Kind, ...] = ("throttle", "error", "timeout", "reset", "reset_after", "partial")


@dataclass(frozen=True)
class Outcome:
    """What became of a harm.

    Parameters
    ----------
    harms
        How many things were done.
    kills
        How many of them were kills.
    recovery_seconds
        From a kill until other tasks process every shard of the dead; None where it was not measured.
    stop_seconds
        How long a task took to stop.
    handover_seconds
        From asking a task to stop until other tasks process every shard of it.

    """

    harms: int = 1
    kills: int = 0
    recovery_seconds: float | None = None
    stop_seconds: float | None = None
    handover_seconds: float | None = None


Harm = Callable[[World, random.Random], Outcome]


def kill_shard_process(world: World, dice: random.Random) -> Outcome:
    """Kill -9 of the Python process of one shard: its daemon leaves, too."""
    return _kill(world, dice, _kill_a_child)


def kill_daemon(world: World, dice: random.Random) -> Outcome:
    """Kill -9 of the Java daemon: its children lose their conversation."""
    return _kill(world, dice, lambda task, _: task.signal_daemon(signal.SIGKILL))


def kill_task(world: World, dice: random.Random) -> Outcome:
    """Kill -9 of everything at once, as when a machine dies."""
    return _kill(world, dice, _kill_everything)


def kill_in_a_row(world: World, dice: random.Random) -> Outcome:
    """Three kills within seconds: during recovery, and of those that have just taken over."""
    kills = 0
    for _ in range(3):
        tasks = world.service.working_tasks()
        if tasks:
            dice.choice([_kill_a_child, _kill_everything])(dice.choice(tasks), dice)
            kills += 1
        time.sleep(dice.uniform(0.2, 6))
    world.await_work(_PATIENCE_SECONDS)
    return Outcome(harms=kills, kills=kills)


def stop_task(world: World, dice: random.Random) -> Outcome:
    """SIGTERM in the middle of the work, as when a service is deployed."""
    task = _pick_task(world, dice)
    shards = task.beats().keys()
    started = time.monotonic()
    world.service.stop_task(task)
    while task.exit_code is None or task.shard_processes():
        assert time.monotonic() < started + STOP_SECONDS, f"a stopped task is still there after {STOP_SECONDS} s"
        time.sleep(0.05)
    stop_seconds = time.monotonic() - started
    handover_seconds = _await_successors(world, task, shards, started)
    world.await_work(_PATIENCE_SECONDS)
    return Outcome(stop_seconds=stop_seconds, handover_seconds=handover_seconds)


def join_and_leave(world: World, dice: random.Random) -> Outcome:
    """Change the number of tasks for a while: shards move to those that join, and from those that leave."""
    world.service.scale(dice.choice([1, _MOST_TASKS]), dice)
    time.sleep(dice.uniform(5, 20))
    world.service.scale(_TASKS, dice)
    world.await_work(_PATIENCE_SECONDS)
    return Outcome(harms=2)


def zombie_task(world: World, dice: random.Random) -> Outcome:
    """A task sleeps until others have its shards; then it wakes up and goes on with what it was at."""
    task = _pick_task(world, dice)
    started = time.monotonic()
    task.signal_all(signal.SIGSTOP)
    _await_successors(world, task, task.beats().keys(), started)
    time.sleep(dice.uniform(0, 5))
    task.signal_all(signal.SIGCONT)
    world.await_work(_PATIENCE_SECONDS)
    return Outcome()


def zombie_shard_process(world: World, dice: random.Random) -> Outcome:
    """The process of a shard sleeps; when it wakes up, its daemon is dead and another has its shard."""
    task = _pick_task(world, dice)
    child = dice.choice(task.shard_processes())
    os.kill(child, signal.SIGSTOP)
    time.sleep(dice.uniform(1, 4))
    task.signal_daemon(signal.SIGKILL)
    time.sleep(dice.uniform(FAILOVER_SECONDS, 20))
    os.kill(child, signal.SIGCONT)
    world.await_work(_PATIENCE_SECONDS)
    return Outcome(kills=1)


def split_shard(world: World, dice: random.Random) -> Outcome:
    """A shard is closed while records flow; two children go on with its symbols."""
    world.pipeline.split(dice.choice(world.pipeline.open_shards()))
    world.await_work(_PATIENCE_SECONDS)
    return Outcome()


def merge_shards(world: World, dice: random.Random) -> Outcome:
    """Two shards are closed while records flow; one child goes on with the symbols of both."""
    shards = world.pipeline.open_shards()
    if len(shards) < 3:
        return split_shard(world, dice)
    left = dice.randrange(len(shards) - 1)
    world.pipeline.merge(shards[left], shards[left + 1])
    world.await_work(_PATIENCE_SECONDS)
    return Outcome()


def one_service_misbehaves(world: World, dice: random.Random) -> Outcome:
    """A third of the requests to one service fail, each in some way."""
    return _misbehave(world, dice, dice.choice(SERVICES), 0.3)


def one_operation_misbehaves(world: World, dice: random.Random) -> Outcome:
    """Two thirds of the requests for one thing that the KCL asks for fail: too many for its client's retries."""
    return _misbehave(world, dice, dice.choice(OPERATIONS), 0.66)


def all_services_misbehave(world: World, dice: random.Random) -> Outcome:
    """A tenth of all requests fail, each in some way."""
    return _misbehave(world, dice, None, 0.1)


def one_service_is_down(world: World, dice: random.Random) -> Outcome:
    """Every connection to one service is dropped, for up to a minute."""
    return _break(world, dice, dice.choice(SERVICES).fault("reset"))


def one_operation_is_down(world: World, dice: random.Random) -> Outcome:
    """One thing that the KCL asks for always fails, for up to a minute: longer than its client tries."""
    kind: Kind = dice.choice(["reset", "error", "throttle"])
    return _break(world, dice, dice.choice(OPERATIONS).fault(kind))


def kill_producer(world: World, dice: random.Random) -> Outcome:
    """Kill -9 of the producer; another one replays the same file from its beginning."""
    for producer in world.producers():
        producer.kill()
    world.start_producer()
    time.sleep(dice.uniform(1, 5))
    return Outcome(kills=1)


def two_producers(world: World, dice: random.Random) -> Outcome:
    """A second producer replays the file that the first is at."""
    world.start_producer()
    time.sleep(dice.uniform(1, 5))
    return Outcome()


def kill_feed(world: World, dice: random.Random) -> Outcome:
    """Kill -9 of a producer that takes ticks from a queue or a topic; another one goes on with what is left there."""
    supply = dice.choice(world.supplies.all)
    for producer in supply.producers():
        producer.kill()
    supply.start_producer()
    time.sleep(dice.uniform(1, 5))
    return Outcome(kills=1)


def share_feed(world: World, dice: random.Random) -> Outcome:
    """A second producer takes from the same queue or topic; then the first is stopped, or killed, in mid-flight."""
    supply = dice.choice(world.supplies.all)
    first = supply.producers()
    supply.start_producer()
    time.sleep(dice.uniform(2, 10))
    for producer in first:
        dice.choice([producer.terminate, producer.kill])()
    time.sleep(dice.uniform(1, 5))
    return Outcome()


def kill_broker(world: World, dice: random.Random) -> Outcome:
    """Kill -9 of the Kafka broker, which is away for a while."""
    if world.supplies.broker is None:
        return kill_feed(world, dice)
    world.supplies.broker.kill()
    time.sleep(dice.uniform(0, 10))
    world.supplies.broker.start()
    return Outcome(kills=1)


def refuse_records(world: World, dice: random.Random) -> Outcome:
    """Kinesis takes only a part of each second request, while ticks come from everywhere."""
    world.proxy.inject(Target("kinesis", "PutRecords").fault("partial", 0.5))
    time.sleep(dice.uniform(10, 20))
    world.proxy.inject()
    return Outcome()


DECK: dict[Harm, int] = {
    kill_shard_process: 3,
    kill_daemon: 3,
    kill_task: 3,
    kill_in_a_row: 1,
    stop_task: 1,
    join_and_leave: 1,
    zombie_task: 1,
    zombie_shard_process: 1,
    split_shard: 1,
    merge_shards: 1,
    one_service_misbehaves: 1,
    one_operation_misbehaves: 1,
    all_services_misbehave: 1,
    one_service_is_down: 1,
    one_operation_is_down: 2,
    kill_producer: 1,
    two_producers: 1,
    kill_feed: 2,
    share_feed: 2,
    kill_broker: 1,
    refuse_records: 1,
}
"""How many times each harm is in a round."""


KILLS: dict[Harm, int] = dict.fromkeys((kill_shard_process, kill_daemon, kill_task), 4)
"""The deck that measures how long it takes until others have a dead worker's shards."""


def _kill(world: World, dice: random.Random, kill: Callable[[Task, random.Random], None]) -> Outcome:
    victim = _pick_task(world, dice)
    killed = time.monotonic()
    kill(victim, dice)
    return Outcome(kills=1, recovery_seconds=_await_successors(world, victim, victim.beats().keys(), killed))


def _misbehave(world: World, dice: random.Random, target: Target | None, share: float) -> Outcome:
    """Have a share of the requests fail for a while; the first kind of several takes its share of the whole first."""
    kinds = dice.sample(_KINDS, len(_KINDS))
    each = share / len(kinds)
    world.proxy.inject(*(target.fault(kind, each) if target else Fault(kind, each) for kind in kinds))
    time.sleep(dice.uniform(10, 20))
    world.proxy.inject()
    world.await_work(_PATIENCE_SECONDS)
    return Outcome()


def _break(world: World, dice: random.Random, fault: Fault) -> Outcome:
    """Have all that a fault is for fail for up to a minute."""
    world.proxy.inject(fault)
    time.sleep(dice.uniform(20, 60))
    world.proxy.inject()
    world.await_work(_PATIENCE_SECONDS)
    return Outcome()


def _kill_everything(task: Task, _: random.Random) -> None:
    task.kill()


def _kill_a_child(task: Task, dice: random.Random) -> None:
    children = task.shard_processes()
    if children:
        with suppress(ProcessLookupError):
            os.kill(dice.choice(children), signal.SIGKILL)


def _pick_task(world: World, dice: random.Random) -> Task:
    """Choose a task that works, as soon as there is one and another that could take its work over."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while sum(task.is_ready for task in world.service.tasks) < _TASKS or not (tasks := world.service.working_tasks()):
        assert time.monotonic() < deadline, f"there are no {_TASKS} tasks after {_PATIENCE_SECONDS} s"
        time.sleep(0.2)
    return dice.choice(tasks)


def _await_successors(world: World, task: Task, shards: Collection[str], since: float) -> float:
    """Wait until other tasks process what was a task's; returns for how long nobody did."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := set(shards) - world.service.beats(since, but=task).keys() - world.pipeline.ended():
        assert time.monotonic() < deadline, f"nobody took over {sorted(left)} within {_PATIENCE_SECONDS} s"
        time.sleep(0.2)
    return time.monotonic() - since
