"""What is tried again, how often, and what is said at the end."""

import aiohttp
import pytest
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError
from fsspec.exceptions import FSTimeoutError
from s3fs.errors import translate_boto_error

from advcam.errors import RunError
from advcam.store import retries
from advcam.store.retries import FIRST_WAIT, LAST_START, TRIES, passes, retried, retries_so_far


def answer(status, code="x"):
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.ClientError(response, "GetObject")


def with_attributes(**values):
    error = OSError("of a library")
    for name, value in values.items():
        setattr(error, name, value)
    return error


def in_context(error, while_handling):
    try:
        try:
            raise while_handling
        except type(while_handling):
            raise error  # noqa: B904, the context is the point
    except type(error) as raised:
        return raised


PASSING = [
    answer(500),
    answer(502),
    answer(503, "SlowDown"),
    answer(429),
    answer(408),
    answer(400, "RequestTimeout"),
    translate_boto_error(answer(500, "InternalError")),
    translate_boto_error(answer(503, "SlowDown")),
    in_context(OSError(5, "Server error"), answer(500)),
    botocore.EndpointConnectionError(endpoint_url="http://x"),
    botocore.ConnectionClosedError(endpoint_url="http://x"),
    botocore.ReadTimeoutError(endpoint_url="http://x"),
    botocore.ConnectTimeoutError(endpoint_url="http://x"),
    ResponseParserError("no XML"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientPayloadError("cut short"),
    FSTimeoutError(),
    TimeoutError(),
    ConnectionResetError(),
    BrokenPipeError(),
    in_context(botocore.HTTPClientError(error="Data after the end"), with_attributes(code=400)),
    with_attributes(code=503),
    with_attributes(status_code=500),
]
STAYING = [
    answer(403),
    answer(404),
    answer(400, "InvalidArgument"),
    translate_boto_error(answer(403, "AccessDenied")),
    translate_boto_error(answer(404, "NoSuchBucket")),
    in_context(FileNotFoundError("x"), answer(404)),
    botocore.NoCredentialsError(),
    botocore.ParamValidationError(report="x"),
    FileNotFoundError(),
    PermissionError(),
    OSError(28, "No space left on device"),
    ValueError("x"),
    with_attributes(code=403),
    with_attributes(status_code=404),
    with_attributes(code="NotFound"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda e: f"{type(e).__name__}: {e}")
def test_passing_errors(error):
    assert passes(error)


@pytest.mark.parametrize("error", STAYING, ids=lambda e: f"{type(e).__name__}: {e}")
def test_staying_errors(error):
    assert not passes(error)


class Clock:
    """Sleeping takes no time, and is remembered; each request takes `seconds`."""

    def __init__(self, monkeypatch, seconds=0.0):
        self.now, self.seconds, self.waits = 0.0, seconds, []
        monkeypatch.setattr(retries.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(retries.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds

    def failing(self, times, error=None):
        left = [error or ConnectionResetError("Connection reset by peer")] * times

        def request():
            self.now += self.seconds
            if left:
                raise left.pop()
            return "done"

        return request


@pytest.mark.parametrize("times", range(TRIES))
def test_each_retry_is_counted(monkeypatch, times):
    clock, before = Clock(monkeypatch), retries_so_far()
    assert retried(clock.failing(times), "s3://b/k") == "done"
    assert retries_so_far() - before == len(clock.waits) == times


def test_waits_double_and_vary(monkeypatch):
    waits = []
    for _ in range(50):
        clock = Clock(monkeypatch)
        retried(clock.failing(TRIES - 1), "s3://b/k")
        waits.append(clock.waits)
    for number, column in enumerate(zip(*waits, strict=True)):
        most = FIRST_WAIT * 2**number
        assert most / 2 <= min(column) < 0.7 * most < 0.8 * most < max(column) <= most


def test_the_end_names_the_place_the_error_and_what_to_do(monkeypatch):
    clock, before = Clock(monkeypatch, seconds=2.0), retries_so_far()
    with pytest.raises(RunError) as caught:
        retried(clock.failing(TRIES), "s3://b/k")
    assert str(caught.value) == (
        f"s3://b/k cannot be reached: Connection reset by peer (6 tries in {clock.now:.0f} s); see that the store is "
        "up and the network reaches it, then run the same command again: it goes on where it stopped"
    )
    assert retries_so_far() - before == TRIES - 1


def test_no_try_starts_late(monkeypatch):
    clock = Clock(monkeypatch, seconds=LAST_START / 2.5)
    with pytest.raises(RunError, match=r"\(3 tries in 14\d s\)"):
        retried(clock.failing(TRIES), "s3://b/k")


def test_a_store_that_was_given_up_is_asked_once_until_it_answers(monkeypatch):
    clock = Clock(monkeypatch)
    with pytest.raises(RunError, match=rf"\({TRIES} tries in"):
        retried(clock.failing(TRIES), "s3://b/k")
    for _ in range(2):
        with pytest.raises(RunError, match=r"\(1 try in 0 s\)"):
            retried(clock.failing(1), "s3://b/other")
    assert retried(clock.failing(0), "s3://b/k") == "done"
    assert retried(clock.failing(2), "s3://b/k") == "done", "as patient as ever"


@pytest.mark.parametrize("error", [PermissionError("no"), FileNotFoundError("no"), KeyboardInterrupt()])
def test_what_stays_is_raised_at_once(monkeypatch, error):
    clock, before = Clock(monkeypatch), retries_so_far()
    with pytest.raises(type(error)) as caught:
        retried(clock.failing(1, error), "s3://b/k")
    assert caught.value is error
    assert (clock.waits, retries_so_far()) == ([], before)
