"""Who may see the page: whoever asks for it by a name that is its own, and knows the token if there is one.

The Host header is checked because a web page elsewhere can have its own name resolve to this machine's loopback
address, and would then read what is here as its own (DNS rebinding).
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_COOKIE = "tickertape_token"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NEEDS_TOKEN = "This page needs its token: open the whole address that `tickertape dashboard` printed.\n"  # noqa: S105  (a message)
_WRONG_TOKEN = "This token is not the right one: open the address that `tickertape dashboard` printed last.\n"  # noqa: S105


class Safety:
    """Stands before the application: lets in whom it may, and has the browser keep to our own files.

    Parameters
    ----------
    app
        What is behind it.
    token
        What has to be known; None lets in everybody who can connect.
    names
        Host names that are ours, beside ``localhost`` and addresses, which nobody can make resolve to us.

    """

    def __init__(self, app: App, token: str | None, names: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._names = names | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        answer = self._refuse(scope) or self._app
        return await answer(scope, receive, _with_headers(send))

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            return PlainTextResponse(
                "This server does not go by that name: use its address, or start it with --allow-host NAME.\n", 421
            )
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and headers.get("sec-fetch-mode") != "navigate":
            return PlainTextResponse("Other sites may link to this page, and read nothing of it.\n", 403)
        return None if self._token is None else self._refuse_without_token(scope, headers, self._token)

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower()
        return name in self._names or _is_address(name)

    def _refuse_without_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        given = asked.pop("token", [""])[0]
        if given:
            if not _equal(given, token):
                return PlainTextResponse(_WRONG_TOKEN, 403)
            # from the address into a cookie: it is to be in no history, no bookmark and no picture of the screen
            answer = RedirectResponse(scope["path"] + ("?" + urlencode(asked, doseq=True) if asked else ""), 303)
            answer.set_cookie(_COOKIE, given, httponly=True, samesite="strict")
            return answer
        return None if _equal(_cookie(headers), token) else PlainTextResponse(_NEEDS_TOKEN, 401)


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _equal(given: str, token: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(given.encode(), token.encode())


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-cache")
        await send(message)

    return sending
