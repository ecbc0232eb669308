"""What the dashboard can be told."""

import secrets
from ipaddress import ip_address
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from desk.system import SystemSettings

USUAL_PORT = 8765
_SHORTEST_TOKEN = 16
_MADE = "random"


class DashboardSettings(SystemSettings):
    """Serve a live page of the market, its alerts and the pipeline.

    It shows the local run while there is one, else the account's system, whose stream, tables and bucket are named as
    for `tickertape consume`.
    """

    model_config = SettingsConfigDict(env_prefix="DASHBOARD_")

    host: str = Field("127.0.0.1", description="The address to listen on; another than loopback needs a token.")
    port: int = Field(USUAL_PORT, ge=0, le=65535, description="The port to listen on; 0 is any that is free.")
    token: SecretStr | None = Field(
        None,
        description="What a browser must know to see the page, 16 characters or more; 'random' makes and prints one.",
    )
    allow_host: str = Field(
        "", description="Names that the page may be asked for by, beside localhost and addresses, separated by commas."
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        given = self.token.get_secret_value() if self.token else None
        if given is None and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} lets others see the page: add --token random, which makes a token and prints it,"
                " or set DASHBOARD_TOKEN"
            )
        if given is not None and given != _MADE and len(given) < _SHORTEST_TOKEN:
            raise ValueError(f"TOKEN: it has fewer than {_SHORTEST_TOKEN} characters; --token random makes a good one")
        return self

    def names(self) -> frozenset[str]:
        """Give the host names that are allowed, beside addresses."""
        return frozenset(name.strip().lower() for name in self.allow_host.split(",") if name.strip())

    def secret(self) -> str | None:
        """Give the token, made now if it is to be a random one."""
        if self.token is None:
            return None
        given = self.token.get_secret_value()
        return secrets.token_urlsafe(24) if given == _MADE else given


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
