"""Whether the last session of a run came to an end, or died: killed, out of memory, brought down by a broken file."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from advcam.errors import RunError
from advcam.store.files import write_text
from advcam.store.places import Place

_MARK = ".working"


@contextmanager
def session(folder: Place) -> Iterator[bool]:
    """Mark a run as being worked on while the block lasts; whether an earlier mark was left behind.

    An error or an interrupt is an end as well: the mark is left by a process that could not say anything any more.

    Args:
        folder: Of the run.

    Raises:
        RunError: The mark cannot be written.
    """
    mark = folder / _MARK
    died = mark.exists()
    write_text(mark, "a session of advcam is working here, or died\n")
    try:
        yield died
    finally:
        with suppress(OSError, RunError):  # where the disk or the store is gone, what came before says more
            mark.unlink()
