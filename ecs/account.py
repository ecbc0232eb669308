"""The account and region that everything is deployed to."""

import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import SettingsError

_PATIENTLY = Config(retries={"mode": "standard", "max_attempts": 8})


@dataclass(frozen=True)
class Account:
    """Whose account, which region, and a way to ask its services."""

    session: boto3.Session
    number: str
    region: str

    @classmethod
    def connect(cls, *, image: str | None = None) -> Self:
        """Find region and credentials as the AWS CLI does.

        Parameters
        ----------
        image
            The image that the action is about; None if it is about none.

        Raises
        ------
        SettingsError
            Something is missing: the message names all of it.

        """
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"))
        region, number = session.region_name, None
        missing = [] if region else ["a region (export AWS_REGION=eu-central-1)"]
        if image == "":
            missing.append("an image (make push prints its name: make deploy IMAGE=...)")
        if region and (number := _number(session)) is None:
            missing.append("valid credentials (AWS_PROFILE, or aws sso login)")
        if missing or region is None or number is None:
            raise SettingsError(f"missing: {', '.join(missing)}")
        return cls(session, number, region)

    def client(self, service: str) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
        """Give a client that waits out throttling."""
        return _client(self.session, service)

    @property
    def registry(self) -> str:
        """Host of the account's images in this region."""
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"{self.number}.dkr.ecr.{self.region}.{suffix}"


@cache
def _client(session: boto3.Session, service: str) -> Any:  # noqa: ANN401  (as above)
    return session.client(service, config=_PATIENTLY)  # type: ignore[call-overload]  # as above


def _number(session: boto3.Session) -> str | None:
    try:
        number: str = _client(session, "sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError):
        return None
    return number


def code_of(error: ClientError) -> str:
    """Give the code with which AWS refused a call."""
    code: str = error.response["Error"]["Code"]
    return code


def say(line: str) -> None:
    """Tell the person what was done."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
