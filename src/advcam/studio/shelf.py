"""The album that is shown, opened anew while its run is being written."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from advcam.errors import AdvcamError
from advcam.pipeline.album import Album
from advcam.store.files import check_stays

#: Seconds without a change after which a run counts as finished, or as dead.
_QUIET = 45.0
#: What changes in a run while it is being written, beside its maps and masks.
_SIGNS = ("log.jsonl", "metrics.json", "stages")


class Shelf:
    """An album and how to open it.

    Args:
        open_: Opens it.

    Raises:
        RunError: What the studio keeps would be written, and at some time removed, outside of the run.
    """

    def __init__(self, open_: Callable[[], Album]) -> None:
        self._open = open_
        self.album = open_()
        for path in (self.work, *self.work.glob("*")):
            check_stays(path, self.album.folder)

    @property
    def work(self) -> Path:
        """Folder of what the studio itself keeps."""
        return self.album.folder / "studio"

    @property
    def is_being_written(self) -> bool:
        """Whether the run changed a moment ago."""
        album = self.album
        made = [*album.stores.values(), *(masks.folder for masks in album.sets.values())]
        return any(_age(path) < _QUIET for path in (*made, *(album.folder / sign for sign in _SIGNS)))

    def renew(self) -> None:
        """Open the album again. It stays as it is where that fails, or where it has other pictures now.

        Pictures are known to pages by their place in the list.
        """
        with suppress(AdvcamError, OSError):
            album = self._open()
            if [one.id for one in album.samples] == [one.id for one in self.album.samples]:
                self.album = album


def _age(path: Path) -> float:
    """Seconds since a file or folder changed; infinite where there is none."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
