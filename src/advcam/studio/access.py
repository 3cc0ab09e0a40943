"""Who may ask the studio what: one layer of plain ASGI in front of every route.

The threats are web pages of others in the browser of the same person, and people in the same network:

- A page elsewhere may point a name of its own at this machine (DNS rebinding): without a token, only requests that
  call the server by a loopback name are answered.
- A page elsewhere may show pictures from here, so that this machine works for it: what browsers say they ask for
  another site, links that people follow aside, is refused (Fetch Metadata).
- A page elsewhere may send forms here: whatever changes something needs the header `X-Advcam`, which forms cannot set
  and which scripts of other origins may not (Fetch standard, CORS-safelisted request headers).
- People in the network: a server that others can reach has a token, as a cookie or in the header `Authorization`.
- Bodies without end: they are counted while they come, whatever their header says.
"""

import hmac
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from advcam.errors import SettingError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Header that every request that changes something carries.
HEADER = "X-Advcam"
#: Bytes of a body where a route does not say otherwise: JSON of a few values.
MOST_JSON = 64 * 2**10
#: A body that is too large is read to its end, up to so many times the limit, so that its sender hears why.
_PATIENCE = 8
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")
_SAFE = ("GET", "HEAD", "OPTIONS")
#: Nothing from elsewhere, nothing inline; pictures may be made in the page.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",  # but for what says otherwise itself
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """What the server asks of its visitors.

    Args:
        token: They have to know it; None on a loopback address, where the name that they call is looked at.
        cookie: Its name. Browsers share cookies between the ports of a machine, so it tells servers apart.
    """

    token: str | None = None
    cookie: str = "advcam"


def checked_access(host: str, port: int, token: str | None) -> Access:
    """What a server at an address asks of its visitors: a token where others can reach it, else only if one is given.

    Args:
        host: Address or name that it listens on.
        port: Its port.
        token: That was asked for.

    Raises:
        SettingError: The token is too short, or cannot stand in an address.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise SettingError("a token has 16 characters at least, letters, digits, - and _; leave --token away for one")
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    return Access(token, f"advcam-{port}")


class Guard:
    """Lets through what may pass, and adds headers that tell browsers to trust nothing else.

    Args:
        app: Behind it.
        access: What is asked of visitors.
        most_bytes: Bytes that the body of a request may have, by its path.
    """

    def __init__(self, app: App, access: Access, most_bytes: Callable[[str], int]) -> None:
        self.app, self.access, self.most_bytes = app, access, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":  # the beginning and the end of the server; nothing here speaks WebSocket
            await self.app(scope, receive, send)
            return
        given = _token_in_query(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if given is not None and self._knows(given):
                    headers.append("Set-Cookie", f"{self.access.cookie}={given}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        refusal = self._refusal(scope, given)
        if refusal is not None:
            await refusal(scope, receive, sending)
            return
        await self.app(scope, _Counted(receive, self.most_bytes(scope["path"])), sending)

    def _refusal(self, scope: Scope, given: str | None) -> Response | None:
        """The answer to a request that may not pass; None for one that may."""
        headers = Headers(scope=scope)
        if self.access.token is None and not is_loopback(_host_name(headers.get("host", ""))):
            return _refused(
                421,
                f"this server answers to loopback names such as localhost, not to {headers.get('host', '')!r}; open "
                "the address that `advcam studio` printed",
            )
        if self.access.token is not None and not self._is_known(headers, given):
            return _refused(401, "this server asks for its token; open the address that `advcam studio` printed")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return _refused(403, "a page of another site asks for this; open it from the studio's own page")
        if scope["method"] not in _SAFE and HEADER not in headers:
            return _refused(403, f"a request that changes something carries the header {HEADER}: 1")
        return None

    def _is_known(self, headers: Headers, given: str | None) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        offered = [given, _cookies(headers).get(self.access.cookie), bearer if scheme.lower() == "bearer" else None]
        return any(one is not None and self._knows(one) for one in offered)

    def _knows(self, token: str) -> bool:
        wanted = self.access.token
        return wanted is not None and hmac.compare_digest(token.encode(), wanted.encode())


class _Counted:
    """The body of a request, counted."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive, self.most, self.read = receive, most, 0

    async def __call__(self) -> Message:
        message = await self.receive()
        self.read += len(message.get("body", b""))
        if self.read <= self.most:
            return message
        while message.get("more_body") and self.read <= _PATIENCE * self.most:
            message = await self.receive()
            self.read += len(message.get("body", b""))
        words = f"more than {_size(self.most)}, which is the most that is taken here"
        raise HTTPException(413, words, {"Connection": "close"})  # whatever is still on its way is not read


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nobody else can use it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost")


def _host_name(host: str) -> str:
    """The name in a Host header, without port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _token_in_query(scope: Scope) -> str | None:
    """The token that a GET brings in its address."""
    if scope["method"] != "GET":
        return None
    values = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
    return values[0] if values and values[0].isascii() else None


def _cookies(headers: Headers) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}


def _refused(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)


def _size(count: int) -> str:
    """Bytes for people: "32 MB", "64 KB"."""
    return f"{count / 2**20:,.0f} MB" if count >= 2**20 else f"{count / 2**10:,.0f} KB"
