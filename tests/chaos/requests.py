"""A request to AWS as it is on the wire."""

import re
from dataclasses import dataclass
from typing import Literal

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Request:
    """One request, read as far as it tells what is asked for."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def access_key(self) -> str:
        """Whose signature it is, empty if there is none."""
        return self._credential[0]

    @property
    def region(self) -> str:
        """The region in the signature's credential scope, likewise."""
        return self._credential[1]

    @property
    def service(self) -> str:
        """The service in the signature's credential scope, likewise."""
        return self._credential[2]

    @property
    def _credential(self) -> tuple[str, str, str]:
        found = re.search(rb"Credential=([^/]+)/\d+/([a-z0-9-]+)/([a-z0-9-]+)/", self._header(b"authorization"))
        return (found[1].decode(), found[2].decode(), found[3].decode()) if found else ("", "", "")

    @property
    def agent(self) -> str:
        """What the client calls itself."""
        return self._header(b"user-agent").decode()

    @property
    def form(self) -> Literal["json", "query", "s3"]:
        """The form in which its service is spoken to."""
        if self._header(b"x-amz-target"):
            return "json"
        return "query" if self._header(b"content-type").startswith(b"application/x-www-form-urlencoded") else "s3"

    @property
    def operation(self) -> str:
        """The operation's name in the API."""
        if self.form == "json":
            return self._header(b"x-amz-target").rpartition(b".")[2].decode()
        if self.form == "query":
            found = re.search(rb"(?:^|&)Action=(\w+)", self.body)
            return found[1].decode() if found else ""
        return f"{self.method.title()}Object"

    def _header(self, wanted: bytes) -> bytes:
        return next((value for name, value in self.headers if name == wanted), b"")
