"""An S3 on this machine that fails as real ones do: busy, broken, slow, cut off, or done without saying so."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = "fake-key", "fake-secret"
FAULTS = ("busy", "broken", "cut", "lost")
#: After so many failures the next requests pass, one less than this many: six tries suffice, whatever the seed.
_FAILURES, _CALM = 3, 6
_ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>on purpose</Message></Error>"
_ANSWERS = {
    "busy": ("503 Service Unavailable", "SlowDown"),
    "broken": ("500 Internal Server Error", "InternalError"),
    "denied": ("403 Forbidden", "AccessDenied"),
    "key": ("403 Forbidden", "InvalidAccessKeyId"),
}


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


class FakeS3:
    """moto's S3 behind a front that spoils requests; a context manager.

    Args:
        share: Of the requests that fail, 0 to 1: busy (503), broken (500), cut (the connection is closed before
            anything is done), lost (everything is done and the connection is closed before the answer).
        seed: Of which ones.
        delay: Seconds that each request takes longer.
        stalled: Share of the requests that take `stall` seconds longer.
        stall: Seconds.

    Attributes:
        faults: Of `FAULTS`, the kinds that occur.
        denied: HTTP methods that are answered by 403.
        requests: So many have come.
        failures: So many of them were spoilt.
    """

    def __init__(
        self, share: float = 0.0, seed: int = 0, delay: float = 0.0, stalled: float = 0.0, stall: float = 0.0
    ) -> None:
        self.share, self.delay, self.stalled, self.stall = share, delay, stalled, stall
        self.faults: Sequence[str] = FAULTS
        self.denied: set[str] = set()
        self.requests = self.failures = 0
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._left, self._calm = _FAILURES, 0
        self._store = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody answers any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        names = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        return names | {"AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}

    @lru_cache  # noqa: B019, lives as long as the tests
    def client(self) -> Any:
        """boto3's own client, as a second opinion of what is in the store."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Everything in a bucket, by key."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def _may_fail(self) -> bool:
        """Whether a failure is due; a store that is down fails always."""
        if self.share == 1.0:
            return True
        if self._calm:
            return False
        self._left -= 1
        if not self._left:
            self._left, self._calm = _FAILURES, _CALM
        return True

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self.requests += 1
            self._calm = max(self._calm - 1, 0)
            spoilt, stalls = self._random.random() < self.share, self._random.random() < self.stalled
            spoilt = spoilt and self._may_fail()
            fault = self._random.choice(self.faults) if spoilt else None
            self.failures += spoilt
        time.sleep(self.delay + stalls * self.stall)
        if environ["REQUEST_METHOD"] in self.denied:
            fault = "denied"
        if f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            fault = "key"
        if fault == "lost":
            b"".join(self._store(environ, lambda *_: lambda _: None))
        if fault in ("cut", "lost"):
            connection: socket.socket = environ["werkzeug.socket"]
            connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        if fault is not None:
            status, code = _ANSWERS[fault]
            start(status, [("Content-Type", "application/xml")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [_ERROR.format(code).encode()]
        answer: Iterable[bytes] = self._store(environ, start)
        return answer
