"""Clients, and which of their failures are worth another try."""

import gzip
import http
import json
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import botocore.session
import tenacity
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as AwsConnectionError,
)
from botocore.loaders import JSONFileLoader
from botocore.parsers import ResponseParserError

from common.errors import UserError

if TYPE_CHECKING:
    from botocore.model import OperationModel

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_RETRYABLE_CODES = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TransactionConflictException",
        "TooManyRequestsException",
    }
)
_SERVICES = {"athena", "cloudformation", "dynamodb", "kinesis", "oidc", "portal.sso", "s3", "sns", "sqs", "sts"}
"""Those that we call, and those that credentials come from; others would be found at their usual addresses too."""

_ACTIONS = {"HeadBucket": "s3:ListBucket", "ListObjectsV2": "s3:ListBucket"}
"""What some calls are called in policies, where that is something else."""

_LONGEST_WAIT_SECONDS = 20
_START_SECONDS = 20
_NO_REGION = "no AWS region is set: set AWS_REGION, for instance AWS_REGION=eu-central-1"


class UnfinishedError(Exception):
    """AWS did a part of a batch and left the rest for another try."""


_RETRYABLE_ERRORS = (UnfinishedError, HTTPClientError, IncompleteReadError, AwsConnectionError, ResponseParserError)


def client(
    service: str, *, connections: int = 10, endpoint_url: str | None = None, region_name: str | None = None
) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time; callers annotate)
    """Make a boto3 client that tries each call once: `persist` is what tries again.

    The endpoint and region, unless they are given, and credentials come from the standard places
    (``AWS_ENDPOINT_URL``, ``AWS_REGION``, profiles, task roles).

    Raises
    ------
    UserError
        No region is set, or a setting is wrong.

    """
    config = Config(
        region_name=region_name or region(),
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=15,
        max_pool_connections=connections,
        parameter_validation=False,  # our requests are built by code that tests cover
        tcp_keepalive=True,
        user_agent="tickertape",  # botocore's own is put together anew for each call, at a fifth of the call's cost
    )
    try:
        made = _session().create_client(service, config=config, endpoint_url=endpoint_url)
    except (BotoCoreError, ValueError) as error:  # a profile that does not exist, an endpoint that is no URL
        raise UserError(f"AWS cannot be reached with these settings: {_one_line(error)}") from None
    made.meta.events.register("before-parse", _refuse_what_was_cut_off)
    return made


def _refuse_what_was_cut_off(operation_model: "OperationModel", response_dict: dict[str, Any], **_: object) -> None:
    """Take an answer that is shorter than it says for a lost connection: botocore reads what there is of it."""
    length = response_dict["headers"].get("content-length")
    if length is None or operation_model.http["method"] == "HEAD" or operation_model.has_streaming_output:
        return
    if len(response_dict["body"]) < int(length):
        raise IncompleteReadError(actual_bytes=len(response_dict["body"]), expected_bytes=int(length))


class _LeanModels(JSONFileLoader):
    """Reads botocore's descriptions of services without what only people read, and of AWS without other services.

    They are most of what a client takes of the memory: and each shard's process pays for it.
    """

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401  (JSON)
        """Read a file, whose name lacks its ending; None if there is none."""
        for ending, opened in ((".json", open), (".json.gz", gzip.open)):
            if Path(file_path + ending).is_file():
                with opened(file_path + ending, "rb") as file:
                    return json.load(file, object_hook=_without_bulk)
        return None


def _without_bulk(read: dict[str, Any]) -> dict[str, Any]:
    if isinstance(read.get("documentation"), str):  # not a member that has this name
        read["documentation"] = ""
    if read.keys() >= {"regionRegex", "services"}:  # a partition: AWS, AWS in China, ...
        read["services"] = {name: read["services"][name] for name in _SERVICES & read["services"].keys()}
    return read


@cache
def _session() -> botocore.session.Session:
    """All clients' session: what one of them had to read, the next ones share. boto3's own would take 2 MB more."""
    session = botocore.session.Session()
    session.get_component("data_loader").file_loader = _LeanModels()
    return session


def build_body_with(
    client: Any,  # noqa: ANN401  (a boto3 client)
    operation: str,
    bulky: str,
    build: Callable[[dict[str, Any]], bytes],
) -> None:
    """Have ``build`` make the body of an operation's requests: botocore takes most of a call's time for it.

    Parameters
    ----------
    client
        The client whose operation is changed.
    operation
        The operation's name in the API, for instance ``PutRecords``.
    bulky
        The parameter that botocore is not to see.
    build
        Gets all parameters of a call, and gives the body as the protocol wants it.

    """

    def set_aside(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context["tickertape"] = params.copy()
        params[bulky] = type(params[bulky])()

    def put_into_place(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        params["body"] = build(context.pop("tickertape"))

    event = f"{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(f"before-parameter-build.{event}", set_aside, unique_id=f"set-aside-{event}")
    client.meta.events.register(f"before-call.{event}", put_into_place, unique_id=f"put-into-place-{event}")


def read_body_with(
    client: Any,  # noqa: ANN401  (a boto3 client)
    operation: str,
    read: Callable[[bytes], dict[str, Any]],
) -> None:
    """Have ``read`` read the body of an operation's answers: botocore takes most of a call's time for it.

    Parameters
    ----------
    client
        The client whose operation is changed.
    operation
        The operation's name in the API, for instance ``Query``.
    read
        Gets the body of an answer that is no error, and gives what the call returns.

    """

    def take_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **more: Any) -> None:  # noqa: ANN401  (what botocore passes on)
        _refuse_what_was_cut_off(response_dict=response_dict, **more)
        if response_dict["status_code"] == http.HTTPStatus.OK:
            customized_response_dict.update(read(response_dict["body"]))
            response_dict["body"] = b"{}"
            response_dict["headers"].pop("content-length", None)

    event = f"{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(f"before-parse.{event}", take_body, unique_id=f"take-body-{event}")


def region() -> str:
    """Name the region in use: ``AWS_REGION``, as Java and containers know it, else what boto3 finds.

    Raises
    ------
    UserError
        None is set.

    """
    try:
        name = os.environ.get("AWS_REGION") or _session().get_config_variable("region")
    except BotoCoreError as error:
        raise UserError(f"AWS cannot be reached with these settings: {_one_line(error)}") from None
    if name is None:
        raise UserError(_NO_REGION)
    return name


def is_retryable(error: BaseException) -> bool:
    """Tell whether the same call may succeed later: throttling, server errors, time-outs, lost connections."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or error.response.get("Error", {}).get("Code") in _RETRYABLE_CODES
    return isinstance(error, _RETRYABLE_ERRORS)


Stop = Callable[[tenacity.RetryCallState], bool]


def persist(call: Callable[[], Result], *, about: str, stop: Stop = tenacity.stop_never) -> Result:
    """Make ``call`` until it succeeds, with capped and jittered exponential waits: back-pressure instead of loss.

    Parameters
    ----------
    call
        One call of AWS.
    about
        What it is about, for a person who has to mend it, for instance ``table stock-alerts``.
    stop
        Says when to give up.

    Raises
    ------
    UserError
        AWS refused for a reason that waiting does not mend; the message says what to fix.
    Exception
        The last failure, when ``stop`` said so.

    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_retryable),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=_LONGEST_WAIT_SECONDS),
        stop=stop,
        before_sleep=_log_retry,
        reraise=True,
    )
    try:
        return retrying(call)
    except (ClientError, BotoCoreError) as error:
        if is_retryable(error):
            raise
        raise explain(error, about) from error


def has_not_answered_at_start(state: tenacity.RetryCallState) -> bool:
    """Say when a command that begins gives up: a person waits for it. What is still being made is waited for."""
    error = state.outcome.exception() if state.outcome else None
    waited = (state.seconds_since_start or 0) + state.upcoming_sleep
    return waited > _START_SECONDS and not isinstance(error, UnfinishedError)


def ask(about: str, call: Callable[[], Result]) -> Result:
    """Make a call that somebody waits for, with some patience.

    Raises
    ------
    UserError
        It fails; the message says what to do.

    """
    try:
        return persist(call, about=about, stop=has_not_answered_at_start)
    except (ClientError, BotoCoreError) as error:
        raise explain(error, about) from error


def _log_retry(state: tenacity.RetryCallState) -> None:
    if state.attempt_number < 3:
        return  # the first failures are everyday life
    error = state.outcome.exception() if state.outcome else None
    log.warning("aws_retry", extra={"attempt": state.attempt_number, "error": repr(error)})


def explain(error: ClientError | BotoCoreError, about: str) -> UserError:
    """Say in one line what AWS refused and what to do about it."""
    if isinstance(error, NoCredentialsError):
        return UserError(
            "no AWS credentials were found: set AWS_PROFILE, or run `aws sso login`, or give the task a role"
        )
    if is_retryable(error):
        return UserError(
            f"{about}: AWS does not answer: {_one_line(error)} - check the network, AWS_REGION and AWS_ENDPOINT_URL"
        )
    if not isinstance(error, ClientError):
        return UserError(f"{about}: {_one_line(error)}")
    code = error.response.get("Error", {}).get("Code", "")
    call = error.operation_name
    grant = f"grant {_ACTIONS.get(call, 'this action')} to the role in use"
    advice = {
        "AWS.SimpleQueueService.NonExistentQueue": "correct QUEUE_URL: it says account, region and name",
        "403": grant,
        "404": "create it (infra/stack.yaml) or correct the name",
        "AccessDenied": grant,
        "AccessDeniedException": grant,
        "AuthorizationError": grant,
        "ExpiredToken": "the credentials have expired: log in again",
        "ExpiredTokenException": "the credentials have expired: log in again",
        "NoSuchBucket": "create the bucket (infra/stack.yaml) or correct ARCHIVE_BUCKET",
        "NotFound": "create the topic (infra/stack.yaml) or correct ALERT_TOPIC_ARN",
        "InvalidClientTokenId": "the credentials are not valid here: check them and the region",
        "InvalidParameter": f"correct it, or set AWS_REGION where it is: {region()} is in use",
        "ResourceNotFoundException": f"there is none in {region()}: create it (infra/stack.yaml), correct the name, "
        "or set AWS_REGION if it is elsewhere",
        "UnrecognizedClientException": "the credentials are not valid here: check them and the region",
    }.get(code, "see the message")
    reason = _one_line(error.response["Error"].get("Message", ""))
    return UserError(f"{about}: AWS refused {call} ({code}): {reason} - {advice}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
