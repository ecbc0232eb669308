"""Proxies of the environment, and what is never asked for through one."""

import os
from collections.abc import MutableMapping
from ipaddress import ip_address
from urllib.parse import urlsplit

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_VARIABLES = ("NO_PROXY", "no_proxy")
"""Some libraries read the one, some the other, some both."""


def spare_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have this process and those that it starts reach their own machine directly, whatever HTTP_PROXY says.

    What NO_PROXY has already stays. An endpoint of AWS on another address of loopback is added.
    """
    told = [host.strip() for name in _VARIABLES for host in environment.get(name, "").split(",")]
    endpoints = (_host(url) for name, url in environment.items() if name.startswith("AWS_ENDPOINT_URL"))
    spared = (*told, *_LOOPBACK, *(host for host in endpoints if _is_loopback(host)))
    for name in _VARIABLES:
        environment[name] = ",".join(dict.fromkeys(host for host in spared if host))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # boto3 says what is wrong with it
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.endswith(".localhost")
