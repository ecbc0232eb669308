"""What the templates give to the feeds from SQS and Kafka: names, a way out, and exactly the calls they make."""

from pathlib import Path
from typing import Any

import pytest

from common.settings import read_settings
from infra.templates import SERVICES, SMALL, RefusedError, Template, deployable
from producer.feeds.kafka import properties_of
from producer.settings import ProducerSettings
from tests.policies import findings

QUEUE = {"Feed": "sqs", "QueueArn": "arn:aws:sqs:eu-west-1:123456789012:quotes.fifo"}
KAFKA = {"Feed": "kafka", "KafkaBrokers": "a:9092,b:9092", "KafkaTopic": "quotes", "KafkaGroup": "mine"}
CLUSTER = "arn:aws:kafka:eu-central-1:123456789012:cluster/quotes/0a1b2c3d-0000-4000-8000-0123456789ab-7"
MSK = KAFKA | {"KafkaClusterArn": CLUSTER}
TASKS = {SERVICES: "ProducerTask", SMALL: "Task"}

both = pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)


def environment(template: Template, path: Path) -> dict[str, str]:
    """Give the producer's."""
    (container,) = (
        container
        for container in template.of_type("ECS::TaskDefinition")[TASKS[path]]["ContainerDefinitions"]
        if container["Command"] == ["produce"]
    )
    return {variable["Name"]: variable["Value"] for variable in container["Environment"]}


def granted(template: Template) -> dict[str, Any]:
    """Give what the producer may do because of its feed: resources by action."""
    policies = [policy["PolicyDocument"] for policy in template.of_type("IAM::Policy").values()]
    for policy in policies:
        assert findings(policy) == []
    by_action = {}
    for statement in (statement for policy in policies for statement in policy["Statement"]):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            by_action[action] = statement["Resource"]
    by_action.pop("kinesis:PutRecords", None)
    return by_action


@both
def test_a_queue_may_be_read_and_nothing_else(path: Path) -> None:
    """The role gets the four calls on this queue, the task its URL; without the feed there is neither."""
    template = deployable(path, QUEUE)
    calls = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes")
    assert granted(template) == {f"sqs:{call}": QUEUE["QueueArn"] for call in calls}
    told = environment(template, path)
    assert told["QUEUE_URL"] == "https://sqs.eu-west-1.amazonaws.com/123456789012/quotes.fifo"
    assert granted(deployable(path)) == {}
    assert environment(deployable(path), path)["QUEUE_URL"] == ""


@both
def test_msk_is_joined_with_the_role(path: Path) -> None:
    """The role may connect, read this topic, and be in this group; other brokers need nothing of IAM."""
    template = deployable(path, MSK)
    topic = CLUSTER.replace(":cluster", ":topic") + "/quotes"
    group = CLUSTER.replace(":cluster", ":group") + "/mine"
    assert granted(template) == {
        "kafka-cluster:Connect": CLUSTER,
        "kafka-cluster:DescribeTopic": topic,
        "kafka-cluster:ReadData": topic,
        "kafka-cluster:DescribeGroup": group,
        "kafka-cluster:AlterGroup": group,
    }
    properties = properties_of("a:9092", "mine", environment(template, path))
    assert (properties["security.protocol"], properties["sasl.mechanisms"]) == ("SASL_SSL", "OAUTHBEARER")
    assert granted(deployable(path, KAFKA)) == {}


@both
@pytest.mark.parametrize("security", ["PLAINTEXT", "SSL"])
def test_other_brokers_are_spoken_to_as_one_wants(path: Path, security: str) -> None:
    """The producer is told brokers, topic, group and protocol, and no mechanism."""
    told = environment(deployable(path, KAFKA | {"KafkaSecurity": security}), path)
    names = ("kafka_brokers", "kafka_topic", "kafka_group")
    flags = [f"--{name.replace('_', '-')}={told[name.upper()]}" for name in names]
    settings = read_settings(ProducerSettings, ["--feed=kafka", *flags], "produce")
    assert (settings.kafka_brokers, settings.kafka_topic, settings.kafka_group) == ("a:9092,b:9092", "quotes", "mine")
    properties = properties_of("a:9092", "mine", told)
    assert properties["security.protocol"] == security
    assert "sasl.mechanisms" not in properties


@both
def test_tasks_reach_brokers_only_if_they_read_from_some(path: Path) -> None:
    """Kafka's ports are open to the outside with Feed=kafka."""
    for parameters, ports in ((KAFKA, [443, 9092]), (QUEUE, [443])):
        groups = deployable(path, parameters).of_type("EC2::SecurityGroup")
        assert [rule["FromPort"] for rule in groups["TasksSecurityGroup"]["SecurityGroupEgress"]] == ports


@both
def test_producer_and_consumer_read_the_same_names(path: Path) -> None:
    """FieldMap is told to both."""
    names = '{"TICKER": "symbol"}'
    template = deployable(path, QUEUE | {"FieldMap": names})
    tasks = template.of_type("ECS::TaskDefinition").values()
    told = [
        variable["Value"]
        for task in tasks
        for container in task["ContainerDefinitions"]
        for variable in container["Environment"]
        if variable["Name"] == "FIELD_MAP"
    ]
    assert told == [names, names]


@both
@pytest.mark.parametrize(
    "parameters",
    [
        {"Feed": "sqs"},
        {"Feed": "kafka", "KafkaTopic": "quotes"},
        {"Feed": "kafka", "KafkaBrokers": "a:9092"},
        {"Feed": "sqs", "QueueArn": "quotes"},
        {"KafkaBrokers": "a"},
        {"KafkaSecurity": "SASL_PLAINTEXT"},
        {"KafkaClusterArn": "quotes"},
    ],
    ids=str,
)
def test_nonsense_is_refused(path: Path, parameters: dict[str, str]) -> None:
    """What a feed cannot do without is asked for before anything is created."""
    with pytest.raises(RefusedError):
        deployable(path, parameters)


@pytest.mark.parametrize("feed", [QUEUE, KAFKA], ids=lambda feed: feed["Feed"])
def test_feeds_need_a_way_out(feed: dict[str, str]) -> None:
    """The network without internet has no way to queues and brokers."""
    with pytest.raises(RefusedError):
        deployable(SERVICES, feed | {"Network": "VPC_ENDPOINTS"})
