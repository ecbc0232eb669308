"""What is never asked for through a proxy."""

import pytest
from requests.utils import should_bypass_proxies

from common.proxies import spare_loopback

LOOPBACK = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("environment", "spared"),
    [
        ({}, LOOPBACK),
        ({"NO_PROXY": ""}, LOOPBACK),
        ({"NO_PROXY": "example.org, .corp"}, f"example.org,.corp,{LOOPBACK}"),
        ({"no_proxy": "example.org"}, f"example.org,{LOOPBACK}"),
        ({"no_proxy": "b", "NO_PROXY": "a"}, f"a,b,{LOOPBACK}"),
        ({"NO_PROXY": "*"}, f"*,{LOOPBACK}"),
        ({"NO_PROXY": "localhost,a"}, "localhost,a,127.0.0.1,::1"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.9:4566"}, f"{LOOPBACK},127.0.0.9"),
        ({"AWS_ENDPOINT_URL_KINESIS": "http://kinesis.localhost:1"}, f"{LOOPBACK},kinesis.localhost"),
        ({"AWS_ENDPOINT_URL": "http://[::1]:4566"}, LOOPBACK),
        ({"AWS_ENDPOINT_URL": "https://10.0.0.1"}, LOOPBACK),
        ({"AWS_ENDPOINT_URL": "http://[bad"}, LOOPBACK),
    ],
)
def test_loopback_is_added_to_what_is_told(environment: dict[str, str], spared: str) -> None:
    """Both spellings of NO_PROXY have what either had, and loopback; doing it again changes nothing."""
    spare_loopback(environment)
    assert (environment["NO_PROXY"], environment["no_proxy"]) == (spared, spared)
    spare_loopback(environment)
    assert environment["NO_PROXY"] == spared


def test_libraries_understand_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written there spares loopback, and nothing else."""
    environment = {"no_proxy": ""}
    spare_loopback(environment)
    monkeypatch.setenv("no_proxy", environment["no_proxy"])
    hosts = ["127.0.0.1:5000", "localhost:5000", "kinesis.us-east-1.amazonaws.com"]
    assert [should_bypass_proxies(f"http://{host}", None) for host in hosts] == [True, True, False]
