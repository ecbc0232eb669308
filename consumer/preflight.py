"""Looks whether everything that the consumer needs is there, before it starts."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import stop_after_attempt

from common import aws
from consumer.settings import ConsumerSettings


def check(settings: ConsumerSettings) -> None:
    """Ask for the stream, the tables, the bucket and the topic.

    Raises
    ------
    UserError
        One of them is missing or may not be seen; the message names it and what to do.

    """
    kinesis, dynamodb, s3, sns = (aws.client(service) for service in ("kinesis", "dynamodb", "s3", "sns"))
    stream, ticks, alerts = settings.stream_name, settings.ticks_table, settings.alerts_table
    bucket, topic = settings.archive_bucket, settings.alert_topic_arn
    _ask(f"stream {stream} (STREAM_NAME)", lambda: kinesis.describe_stream_summary(StreamName=stream))
    _ask(f"table {ticks} (TICKS_TABLE)", lambda: dynamodb.describe_table(TableName=ticks))
    _ask(f"table {alerts} (ALERTS_TABLE)", lambda: dynamodb.describe_table(TableName=alerts))
    _ask(f"bucket {bucket} (ARCHIVE_BUCKET)", lambda: s3.head_bucket(Bucket=bucket))
    _ask(f"topic {topic} (ALERT_TOPIC_ARN)", lambda: sns.get_topic_attributes(TopicArn=topic))


def _ask(what: str, call: Callable[[], object]) -> None:
    try:
        aws.persist(call, about=what, stop=stop_after_attempt(4))
    except (ClientError, BotoCoreError) as error:
        raise aws.explain(error, what) from error
