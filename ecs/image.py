"""The image in ECR: `make push` and `make scan-image`."""

import json
import re
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from botocore.exceptions import ClientError

from common.errors import SettingsError, UserError
from ecs.account import Account, code_of, say
from ecs.request import PLATFORMS, Request

IMAGES_KEPT = 20
_LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "What no tag names any more",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 7,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "All but the newest",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": IMAGES_KEPT},
            "action": {"type": "expire"},
        },
    ]
}
_SCANNED = {"COMPLETE", "ACTIVE"}  # ACTIVE: of enhanced scanning, which goes on for as long as the image is there
_BEING_SCANNED = {"PENDING", "IN_PROGRESS"}
_SCAN_SECONDS, _LONGEST_PAUSE_SECONDS = 900, 10


class EcrImage(NamedTuple):
    """An image as ECR knows it."""

    registry: str
    repository: str
    id: dict[str, str]
    """Its tag or its digest, as ECR's calls take it."""

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read an image's name; None if it is in another kind of registry."""
        found = re.fullmatch(
            r"(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)/([^:@]+)(?::([^:@]+))?(?:@(sha256:[0-9a-f]{64}))?",
            name,
        )
        if found is None or not (found[3] or found[4]):
            return None
        return cls(found[1], found[2], {"imageDigest": found[4]} if found[4] else {"imageTag": found[3]})


def push(account: Account, request: Request) -> None:
    """Build the image of what is checked out, unless ECR has it, and print ``IMAGE=...``."""
    if not shutil.which("docker"):
        raise SettingsError("docker is missing: it builds the image, see https://docs.docker.com/engine/install/")
    ecr = account.client("ecr")
    address = _repository(ecr, request.repository)
    tag = _tag(request.architecture)
    image = f"{address}:{tag}"
    if not _exists(ecr, request.repository, {"imageTag": tag}):
        _log_in(ecr, address.partition("/")[0])
        _build(image, PLATFORMS[request.architecture])
        _run(["docker", "push", image])
    say(f"IMAGE={image}")


def scan(account: Account, request: Request) -> None:
    """Wait until ECR has looked for known weaknesses in the image; critical ones are not to be deployed.

    Raises
    ------
    UserError
        It has critical ones, or cannot be looked at.

    """
    image = EcrImage.parse(request.image)
    if image is None:
        raise SettingsError(f"{request.image} is not in ECR, which looks into its own images only")
    found = _findings(account.client("ecr"), image)
    critical = found.get("findingSeverityCounts", {}).get("CRITICAL", 0)
    if critical:
        raise UserError(
            f"{critical} critical weaknesses are known in {request.image}: see its scan in ECR, then build again with "
            "`docker build --pull --no-cache`, or `make lock`"
        )
    if "enhancedFindings" not in found:
        say(
            "No critical weakness is known in the image's Debian packages. ECR's basic scan sees no others: `make sbom`"
        )


def check(account: Account, name: str) -> EcrImage | None:
    """See that tasks can pull the image; give what ECR calls it, or None if it is in another registry.

    Raises
    ------
    SettingsError
        They cannot.

    """
    image = EcrImage.parse(name)
    if image is None:
        return None
    if image.registry != account.registry:
        raise SettingsError(f"{name} is not in {account.registry}, the only registry of ECR that tasks may pull from")
    if not _exists(account.client("ecr"), image.repository, image.id):
        raise SettingsError(f"there is no image {name}: `make push` builds it and prints its name")
    return image


def _findings(ecr: Any, image: EcrImage) -> dict[str, Any]:  # noqa: ANN401  (a boto3 client)
    deadline, pause = time.monotonic() + _SCAN_SECONDS, 0.5
    while time.monotonic() < deadline:
        with suppress(ecr.exceptions.ScanNotFoundException):  # for some seconds after the push
            answer = ecr.describe_image_scan_findings(repositoryName=image.repository, imageId=image.id)
            status = answer["imageScanStatus"]
            if status["status"] in _SCANNED:
                findings: dict[str, Any] = answer.get("imageScanFindings", {})
                return findings
            if status["status"] not in _BEING_SCANNED:
                raise UserError(
                    f"ECR cannot scan it ({status['status']}): {status.get('description', 'no reason given')}"
                )
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    raise UserError(
        f"ECR has not scanned it within {_SCAN_SECONDS // 60} minutes: does the repository {image.repository} scan on "
        "push?"
    )


def _repository(ecr: Any, name: str) -> str:  # noqa: ANN401  (a boto3 client)
    """Create the repository unless it is there; give its address."""
    with suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(
            repositoryName=name,
            imageTagMutability="IMMUTABLE",
            imageScanningConfiguration={"scanOnPush": True},
        )
    ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=json.dumps(_LIFECYCLE))
    (repository,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    address: str = repository["repositoryUri"]
    return address


def _exists(ecr: Any, repository: str, image: dict[str, str]) -> bool:  # noqa: ANN401  (a boto3 client)
    try:
        found = ecr.describe_images(repositoryName=repository, imageIds=[image])["imageDetails"]
    except ClientError as error:
        if code_of(error) in {"ImageNotFoundException", "RepositoryNotFoundException"}:
            return False
        raise
    return bool(found)


def _tag(architecture: str) -> str:
    tag = _output(["git", "describe", "--always", "--dirty"])
    if tag.endswith("-dirty"):
        tag += f"-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    return f"{tag}-{architecture.lower()}"


def _log_in(ecr: Any, registry: str) -> None:  # noqa: ANN401  (a boto3 client)
    (data,) = ecr.get_authorization_token()["authorizationData"]
    user, _, password = b64decode(data["authorizationToken"]).decode().partition(":")
    _run(["docker", "login", "--username", user, "--password-stdin", registry], typed=password)


def _build(image: str, platform: str) -> None:
    revision = _output(["git", "rev-parse", "HEAD"])
    # An image with attestations is an index, and ECR looks into images only.
    plainly = ["env", "DOCKER_BUILDKIT=1", "BUILDX_NO_DEFAULT_ATTESTATIONS=1"]
    arguments = ["--platform", platform, "--build-arg", f"REVISION={revision}", "--tag", image]
    _run([*plainly, "docker", "build", *arguments, "."])


def _run(command: Sequence[str], typed: str | None = None) -> None:
    """Run it with its output on our stderr: stdout is for the image's name."""
    shown = " ".join(word for word in command if "=" not in word and word != "env")
    if subprocess.run(command, input=typed, text=True, stdout=2, check=False).returncode != 0:
        raise UserError(f"`{shown}` failed: what it said is above")


def _output(command: Sequence[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise UserError(f"`{' '.join(command)}` failed: {run.stderr.strip()}")
    return run.stdout.strip()
