"""Requests to a store over a network: what passes is tried again, what stays is an error at once.

The libraries below are told not to retry by themselves, where they can be told (see `store.remote`), so that this is
the one policy: six tries, with waits that double from half a second and vary at random, so that many workers do not
come back together. That bridges about fifteen seconds; a store that answers nothing at all is given up after the
timeouts of six tries, and no try starts later than two minutes after the first. Once a store was given up, requests of
the next minute have one try, until one succeeds: what a run still puts away at its end does not wait for each object.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from advcam.errors import RunError, one_line

Result = TypeVar("Result")

TRIES = 6
FIRST_WAIT = 0.5
"""Seconds before the second try, at most; the waits after it are twice as long each."""
LAST_START = 120.0
"""Seconds after the first try in which another one may start."""

# By name, so that no library has to be there: of botocore, aiohttp, requests and Azure.
_PASSING_KINDS = {
    "ClientConnectionError",
    "ClientPayloadError",
    "ConnectionError",
    "HTTPClientError",
    "IncompleteRead",
    "IncompleteReadError",
    "ResponseParserError",
    "ServiceRequestError",
    "ServiceResponseError",
    "TimeoutError",
}
_PASSING_CODES = {"RequestTimeout", "RequestTimeoutException", "SlowDown", "Throttling", "ThrottlingException"}
_TOO_MANY, _TIMED_OUT, _SERVERS_FAULT = 429, 408, 500


class _Counter:
    """A number that several threads add to."""

    def __init__(self) -> None:
        self.lock, self.value = threading.Lock(), 0

    def add(self) -> None:
        with self.lock:
            self.value += 1


_retries = _Counter()
#: When a request was given up last, if none succeeded since; seconds of the monotonic clock.
_given_up: float | None = None
_REMEMBERED = 60.0


def retries_so_far() -> int:
    """How many requests of this process were tried again."""
    return _retries.value


def retried(request: Callable[[], Result], place: object) -> Result:
    """What a request returns; it is tried again while its errors are such as pass.

    Args:
        request: Safe to be done twice.
        place: What the error names.

    Raises:
        RunError: No try succeeded.
        Exception: Whatever else the request raises, at once.
    """
    global _given_up
    started = time.monotonic()
    tries = 1 if _given_up is not None and started - _given_up < _REMEMBERED else TRIES
    for number in range(1, tries + 1):
        try:
            result = request()
            _given_up = None
            return result
        except Exception as error:
            if not passes(error):
                raise
            seconds = time.monotonic() - started
            if number == tries or seconds > LAST_START:
                _given_up = time.monotonic()
                tried = "1 try" if number == 1 else f"{number} tries"
                raise RunError(
                    f"{place} cannot be reached: {one_line(error)} ({tried} in {seconds:.0f} s); see that the "
                    "store is up and the network reaches it, then run the same command again: it goes on where it "
                    "stopped"
                ) from error
        _retries.add()
        time.sleep(FIRST_WAIT * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311, no secret
    raise AssertionError("unreachable")


def passes(error: BaseException) -> bool:
    """Whether an error is of the network, or of a store that is busy or failing, and may be gone at the next try."""
    for link in _chain(error):
        if _PASSING_KINDS & {kind.__name__ for kind in type(link).__mro__}:
            return True
        status, code = _answer(link)
        if status is not None:
            return status >= _SERVERS_FAULT or status in (_TOO_MANY, _TIMED_OUT) or code in _PASSING_CODES
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _answer(error: BaseException) -> tuple[int | None, str]:
    """Status and error code of the answer that an error tells of; None where there was no answer."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # of botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, str(response.get("Error", {}).get("Code", ""))
    status = vars(error).get("status_code", vars(error).get("code"))  # of Azure, of gcsfs
    return (status, "") if isinstance(status, int) else (None, "")
