"""Asks the studio as a browser would, without a server between."""

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

from advcam.studio.access import App

_HEADERS = {"host": "localhost", "x-advcam": "1"}


def ask(
    app: App,
    path: str,
    method: str = "GET",
    query: str = "",
    headers: Mapping[str, str] = _HEADERS,
    body: bytes = b"",
) -> int:
    """The status of the answer; an AssertionError where the studio failed, or left its headers away.

    Args:
        app: The studio.
        path: Decoded.
        method: Of the request.
        query: Encoded.
        headers: By their names in lower case.
        body: In one piece.

    Raises:
        UnicodeEncodeError: No server would hand such a request on.
    """
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}
    scope |= {"method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode("ascii")}
    scope["headers"] = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    scope |= {"root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    status, named = asyncio.run(_answer(app, scope, body))
    assert 200 <= status < 500, f"{method} {path}: {status}"  # noqa: S101, a finding where it fails
    assert b"content-security-policy" in named  # noqa: S101, a finding where it fails
    return status


async def _answer(app: App, scope: dict[str, Any], body: bytes) -> tuple[int, set[bytes]]:
    """Status and names of the headers."""
    begins: list[MutableMapping[str, Any]] = []
    bodies = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        return bodies.pop() if bodies else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            begins.append(message)

    await app(scope, receive, send)
    return begins[0]["status"], {name for name, _ in begins[0]["headers"]}
