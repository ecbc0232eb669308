"""A local run whose feed is in an account: the producer keeps the account, all else is the embedded AWS."""

import os

import pytest

from infra.local.stack import environment_in, own_account, use_endpoint


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # what use_endpoint does to it ends with the test
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "KEPT": "1"}


def test_the_producer_keeps_the_account_and_publishes_to_the_embedded_aws() -> None:
    """It has the user's credentials, and the embedded AWS for Kinesis alone, in the region of its stream."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}
    account = own_account()
    use_endpoint("http://127.0.0.1:1")
    assert os.environ["AWS_ACCESS_KEY_ID"] == "embedded"
    told = environment_in(account)
    assert told is not None
    assert (told["AWS_ACCESS_KEY_ID"], told["AWS_ENDPOINT_URL_KINESIS"]) == ("mine", "http://127.0.0.1:1")
    assert (told["AWS_REGION"], told["KEPT"]) == ("us-east-1", "1")
    assert "AWS_ENDPOINT_URL" not in told


def test_without_an_account_the_producer_has_what_all_have() -> None:
    """Where there are no credentials, those of the embedded AWS do, as for an emulator of SQS."""
    account = own_account()
    use_endpoint("http://127.0.0.1:1")
    assert account == {}
    assert environment_in(account) is None
