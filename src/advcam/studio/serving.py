"""The server: an address of its own, one process, an end in order."""

import errno
import socket
import threading
import webbrowser

import uvicorn

from advcam.errors import SettingError, one_line
from advcam.studio.access import Access, is_loopback
from advcam.studio.app import create_app
from advcam.studio.climbing import core_to_spare
from advcam.studio.studio import Studio

#: Seconds that answers may take to the end when the server is told to end.
_GRACE = 3
#: Seconds that a connection without a request is kept.
_KEPT = 20
#: Connections that wait for their turn.
_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: Address or name.
        port: 0 takes any that is free.

    Raises:
        SettingError: The port is in use or not allowed, or the host is not one of this machine.
    """
    if not 0 <= port <= 65535:
        raise SettingError(f"a port is a number from 0 to 65535; got {port}")
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((str(where[0]), port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE:
            raise SettingError(
                f"port {port} of {host} is in use, perhaps by another studio; take another with --port, or any that is "
                "free with --port 0"
            ) from error
        if number == errno.EACCES:
            raise SettingError(f"port {port} is reserved for the system; take one above 1023 with --port") from error
        reason = getattr(error, "strerror", None) or one_line(error)
        raise SettingError(
            f"cannot listen on {host} ({reason}); --host takes 127.0.0.1, 0.0.0.0 or an address of this machine"
        ) from error


def address(listening: socket.socket, access: Access) -> str:
    """The address of the page for a browser on this machine, or in the network where it can be reached from there."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104, compared, not listened on
        host = socket.gethostname()
    elif is_loopback(host):
        host = "localhost" if host == "::1" else host
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{port}/" + ("" if access.token is None else f"?token={access.token}")


def serve(studio: Studio, access: Access, listening: socket.socket, page: str | None) -> None:
    """Answer until Ctrl-C or SIGTERM, which then go their usual way.

    Args:
        studio: What is shown.
        access: What is asked of visitors.
        listening: See `listen`.
        page: Opened in the browser; None opens nothing.
    """
    config = uvicorn.Config(
        create_app(studio, access),
        log_config=None,
        access_log=False,
        log_level="critical",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=_KEPT,
        backlog=_BACKLOG,
    )
    if page is not None:
        threading.Timer(0.5, webbrowser.open, [page]).start()
    with core_to_spare():
        uvicorn.Server(config).run(sockets=[listening])
