"""`tickertape check` as a process, on the deployed stack in an embedded AWS: what its table says of what is missing."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.integration.pipeline import APPLICATION, Pipeline

USER = "somebody"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """An embedded AWS with nothing wrong in it."""
    with Pipeline(tmp_path_factory.mktemp("stack"), shards=1) as pipeline:
        yield pipeline


def check(environment: dict[str, str], command: str = "check") -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tickertape", command],
        env=environment | {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def actions(table: str, state: str) -> list[str]:
    """The actions in the rows of a state."""
    found = re.findall(rf"^{state} .*  (\S.*)$", table, flags=re.MULTILINE)
    return [action for row in found for action in row.split(", ")]


def remarks(table: str) -> str:
    """What the rows that failed say."""
    return "\n".join(re.findall(r"^FAILED .*\n +(.*)$", table, flags=re.MULTILINE))


def complaint(stderr: str) -> str:
    """The only line of stderr that is no log event."""
    (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
    return line


def test_all_is_well(stack: Pipeline) -> None:
    """On the deployed stack everything is found and may be used; what cannot be tried without effect is not claimed."""
    run = check(stack.environment())
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert run.stdout.startswith("account 123456789012 as arn:aws:")
    assert f"region us-east-1, Kinesis at {stack.url}" in run.stdout
    assert {"GetRecords", "PutItem", "BatchWriteItem", "PutObject quarantine/", "GetObject snapshots/"} <= {
        *actions(run.stdout, "ok")
    }
    assert actions(run.stdout, "not checked") == [
        "PutRecords",
        "DeleteObject snapshots/",
        "Publish",
        *["DescribeTable"] * 2,
        "PutMetricData",
    ]


def test_tables_of_the_kcl_are_tried_once_they_are_there(stack: Pipeline) -> None:
    """The lease table that was made by a start is tried as the KCL uses it; and no table has a row more than before."""
    dynamodb = stack.client("dynamodb")
    stack.create_leases()
    run = check(stack.environment())
    assert run.returncode == 0, run.stdout
    assert {"Scan", "GetItem", "UpdateItem", "DeleteItem"} <= {*actions(run.stdout, "ok")}
    assert actions(run.stdout, "not checked").count("DescribeTable") == 1
    counts = {table: dynamodb.scan(TableName=table)["Count"] for table in dynamodb.list_tables()["TableNames"]}
    assert counts == {"stock-market-data": 0, "stock-alerts": 0, APPLICATION: 1}


@pytest.mark.parametrize(
    ("changes", "action", "remark"),
    [
        ({"STREAM_NAME": "nowhere"}, "DescribeStreamSummary", "infra/stack.yaml"),
        ({"TICKS_TABLE": "nowhere"}, "DescribeTable", "infra/stack.yaml"),
        ({"ALERTS_TABLE": "nowhere"}, "DescribeTable", "infra/stack.yaml"),
        ({"ARCHIVE_BUCKET": "nowhere"}, "ListBucket", "infra/stack.yaml"),
        ({"ALERT_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:nowhere"}, "GetTopicAttributes", "ALERT_TOPIC_ARN"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_missing_is_the_only_row_that_failed(
    stack: Pipeline, changes: dict[str, str], action: str, remark: str
) -> None:
    """One thing that is missing is one row, which says what to do; the others are tried all the same."""
    run = check(stack.environment() | changes)
    assert run.returncode == 1
    assert actions(run.stdout, "FAILED") == [action]
    assert remark in remarks(run.stdout)
    assert complaint(run.stderr) == "tickertape: not all is well: the table says what to do"


@pytest.mark.parametrize("command", ["check", "consume", "produce"])
def test_the_wrong_region_is_named(stack: Pipeline, command: str) -> None:
    """In a region where nothing is, each command says in which one it looked, and how to set another."""
    run = check(stack.environment() | {"AWS_REGION": "eu-west-3"}, command)
    assert run.returncode == 1
    said = remarks(run.stdout) if command == "check" else complaint(run.stderr)
    assert "there is none in eu-west-3" in said
    assert "AWS_REGION" in said


@pytest.mark.parametrize(
    "denied",
    [
        ("DescribeStreamSummary", "DescribeTable", "GetTopicAttributes"),
        ("GetRecords", "PutItem", "BatchWriteItem", "PutObject"),
    ],
    ids=" ".join,
)
def test_denied_actions_are_named(denied: tuple[str, ...], tmp_path: Path) -> None:
    """With IAM enforced, exactly the rows of the actions that somebody lacks fail, and say which to grant."""
    with Pipeline(tmp_path, shards=1) as stack:
        run = check(stack.environment() | somebody_without(stack, denied))
    assert run.returncode == 1, run.stdout
    failed = {action.split()[0] for action in actions(run.stdout, "FAILED")}
    assert failed == {*denied}
    assert not failed & {action.split()[0] for action in actions(run.stdout, "ok")}
    assert remarks(run.stdout).count("grant this action to the role in use") >= len(denied)


@pytest.mark.parametrize("command", ["check", "consume", "produce"])
def test_no_credentials_are_one_line(stack: Pipeline, command: str) -> None:
    """Without credentials, each command says in one line where they come from."""
    run = check(stack.environment() | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, command)
    assert run.returncode == 1
    assert complaint(run.stderr).startswith("tickertape: no AWS credentials were found: set AWS_PROFILE")


@pytest.mark.parametrize("command", ["check", "consume"])
def test_what_must_be_set_is_named(stack: Pipeline, command: str) -> None:
    """Without the two settings that have no default, one line names both, before anything is asked of AWS."""
    missing = {"ARCHIVE_BUCKET": "", "ALERT_TOPIC_ARN": "", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    run = check(stack.environment() | missing, command)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "tickertape: ARCHIVE_BUCKET: Field required; ALERT_TOPIC_ARN: Field required\n"


@pytest.mark.parametrize("command", ["check", "produce"])
def test_an_endpoint_where_nobody_is_is_tried_for_a_while(stack: Pipeline, command: str) -> None:
    """What cannot be reached is tried again and again, but not for minutes; then a line says what to look at."""
    run = check(stack.environment() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, command)
    assert run.returncode == 1
    assert [json.loads(line)["event"] for line in run.stderr.splitlines() if "aws_retry" in line]
    assert re.search("does not answer.*127.0.0.1:9.*check the network, AWS_REGION and", complaint(run.stderr))


def test_nothing_is_put_into_the_bucket(stack: Pipeline) -> None:
    """What is put into S3 has a wrong checksum, by which S3 refuses it; that it came so far is the permission."""
    puts: list[str] = []

    class Strict(BaseHTTPRequestHandler):
        """Refuses what S3 refuses for its checksum."""

        def do_HEAD(self) -> None:
            self._answer(200)

        def do_GET(self) -> None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            right = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
            refused = self.headers["x-amz-checksum-crc32"] != right
            puts.append(f"{self.path} {'refused' if refused else 'stored'}")
            self._answer(400 if refused else 200, b"<Error><Code>BadDigest</Code></Error>")

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = check(stack.environment() | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}"})
        server.shutdown()
    assert run.returncode == 0, run.stdout
    bucket = stack.outputs["ArchiveBucketName"]
    assert puts == [f"/{bucket}/{folder}/check refused" for folder in ("raw-data", "ticks", "quarantine", "snapshots")]


def somebody_without(stack: Pipeline, denied: tuple[str, ...]) -> dict[str, str]:
    """Have the embedded AWS enforce IAM, and give the credentials of somebody who may do all but this."""
    iam = stack.client("iam")
    iam.create_user(UserName=USER)
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": [f"*:{action}" for action in denied], "Resource": "*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=USER, PolicyName="most", PolicyDocument=policy)
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    httpx.post(f"{stack.url}/moto-api/reset-auth", content=b"0").raise_for_status()
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
