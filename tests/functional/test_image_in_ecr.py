"""`make scan-image` against an ECR that answers as AWS does, state by state."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ecs.__main__ import main

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/tickertape:3f2c1ab-arm64"
_IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>me</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""

Answer = tuple[int, dict[str, Any]]


class Ecr:
    """A server that says who one is, and of the scan one answer after the other, the last one again and again."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []
        ecr = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if "X-Amz-Target" not in self.headers:
                    self._say(200, "text/xml", _IDENTITY)
                    return
                assert self.headers["X-Amz-Target"].endswith(".DescribeImageScanFindings")
                ecr.asked.append(json.loads(body))
                status, answer = ecr.answers.pop(0) if len(ecr.answers) > 1 else ecr.answers[0]
                self._say(status, "application/x-amz-json-1.1", json.dumps(answer))

            def _say(self, status: int, kind: str, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def ecr(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecr]:
    """The answers are the test's parameter."""
    ecr = Ecr(list(request.param))
    for name in ("STACK", "STORES", "SERVICES", "SIZE", "ARCH", "EMPTY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    settings = {"AWS_ENDPOINT_URL": ecr.url, "AWS_REGION": "us-east-1", "IMAGE": IMAGE}
    for name, value in {**settings, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    thread = threading.Thread(target=ecr.server.serve_forever)
    thread.start()
    yield ecr
    ecr.server.shutdown()
    thread.join()
    ecr.server.server_close()


def state(status: str, critical: int = 0, **more: object) -> Answer:
    """What ECR says of a scan."""
    findings = {"findingSeverityCounts": {"CRITICAL": critical, "LOW": 7} if critical else {"LOW": 7}, **more}
    return 200, {"imageScanStatus": {"status": status, "description": "because"}, "imageScanFindings": findings}


NOT_YET: Answer = (400, {"__type": "ScanNotFoundException", "message": "Image scan does not exist"})
BASIC = "No critical weakness is known in the image's Debian packages. ECR's basic scan sees no others: `make sbom`\n"


@pytest.mark.parametrize(
    ("ecr", "said"),
    [
        ([NOT_YET, state("PENDING"), state("IN_PROGRESS"), state("COMPLETE")], BASIC),
        ([state("ACTIVE", enhancedFindings=[])], ""),
        ([NOT_YET, NOT_YET, state("ACTIVE", enhancedFindings=[])], ""),
    ],
    ids=["basic", "enhanced", "enhanced, later"],
    indirect=["ecr"],
)
def test_a_clean_image_passes(ecr: Ecr, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It waits until the scan is there and over, in basic and in enhanced scanning, and says what basic cannot see."""
    assert main(["scan-image"]) == 0
    assert capsys.readouterr().out == said
    assert len(ecr.answers) == 1
    assert {asked["repositoryName"] for asked in ecr.asked} == {"tickertape"}
    assert ecr.asked[0]["imageId"] == {"imageTag": "3f2c1ab-arm64"}


@pytest.mark.parametrize(
    ("ecr", "said"),
    [
        ([NOT_YET, state("COMPLETE", critical=2)], "2 critical weaknesses are known in"),
        ([state("ACTIVE", critical=1, enhancedFindings=[])], "1 critical weaknesses are known in"),
        ([state("FAILED")], "ECR cannot scan it (FAILED): because"),
        ([state("PENDING"), state("UNSUPPORTED_IMAGE")], "ECR cannot scan it (UNSUPPORTED_IMAGE): because"),
        ([state("SCAN_ELIGIBILITY_EXPIRED")], "ECR cannot scan it (SCAN_ELIGIBILITY_EXPIRED): because"),
        ([(400, {"__type": "AccessDeniedException", "message": "not you"})], "AWS refused DescribeImageScanFindings"),
    ],
    ids=["basic", "enhanced", "failed", "unsupported", "expired", "denied"],
    indirect=["ecr"],
)
def test_any_other_is_refused_in_one_line(ecr: Ecr, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Critical weaknesses, and a scan that there will not be, stop the workflow and say why."""
    assert main(["scan-image"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"make scan-image: {said}")
    assert ecr.asked


@pytest.mark.parametrize("ecr", [[state("COMPLETE")]], indirect=True)
def test_only_ecr_is_asked_about_its_images(
    ecr: Ecr, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of other registries are not ECR's to scan; a digest names one as well as a tag."""
    monkeypatch.setenv("IMAGE", "public.ecr.aws/x/tickertape:1")
    assert main(["scan-image"]) == 2
    assert "is not in ECR" in capsys.readouterr().err
    digest = f"sha256:{'0' * 64}"
    monkeypatch.setenv("IMAGE", f"{IMAGE.partition(':')[0]}@{digest}")
    assert main(["scan-image"]) == 0
    assert ecr.asked[-1]["imageId"] == {"imageDigest": digest}
