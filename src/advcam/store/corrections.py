"""What people say of the masks of a run: accepted, rejected, or drawn anew.

    RUN/corrected/masks/NAME.png    masks that were drawn anew, named as those of the run, in its class numbers
    RUN/corrected/reviews.jsonl     a line for each change of a picture; the last one counts

Every change of a picture raises its revision by one. Who changes a picture names the revision that they looked at, and
is refused if somebody else was faster, so that of two windows on the same picture neither overwrites the other unseen.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal, get_args

from advcam.errors import RunError, one_line
from advcam.store.files import check_stays, try_lock
from advcam.store.masks import read_mask, write_mask
from advcam.types import Mask
from advcam.untrusted import parse_json

Status = Literal["open", "accepted", "rejected", "corrected"]
#: What a picture can be.
STATUSES: Final[tuple[Status, ...]] = get_args(Status)

FOLDER = "corrected"
#: Revisions from here on are taken for damage; pages count exactly as far.
_MOST_REVISIONS = 2**53
_WAIT, _PAUSE = 10.0, 0.02  # seconds that a change waits for that of another process, and between two looks


@dataclass(frozen=True)
class Review:
    """What was said of a picture.

    Args:
        status: "open" (nothing yet), "accepted", "rejected" or "corrected".
        revision: How often it was changed.
        mask: Name of the files of the picture, where there is a corrected mask; accepting or rejecting keeps it.
    """

    status: Status = "open"
    revision: int = 0
    mask: str | None = None


class ConflictError(RunError):
    """Somebody else changed the picture since it was looked at; `review` is what they left."""

    def __init__(self, id_: str, review: Review) -> None:
        super().__init__(
            f"{id_} was changed elsewhere meanwhile (it is {review.status} now); look at it again before you change it"
        )
        self.review = review


class Corrections:
    """The corrections of a run. Threads and processes may use them at once.

    Args:
        run: The run's folder. Nothing is created in it before the first change.
    """

    def __init__(self, run: Path) -> None:
        self._run, self.folder = run, run / FOLDER
        self._journal, self._lock_file = self.folder / "reviews.jsonl", self.folder / ".lock"
        self._lock = threading.RLock()
        self._known: dict[str, Review] = {}
        self._read_to = 0

    def review(self, id_: str) -> Review:
        """What was said of a picture last.

        Raises:
            RunError: The list of reviews is damaged or cannot be read.
        """
        with self._lock:
            self._catch_up()
            return self._known.get(id_, Review())

    def reviews(self) -> dict[str, Review]:
        """What was said of each picture that was ever changed.

        Raises:
            RunError: The list of reviews is damaged or cannot be read.
        """
        with self._lock:
            self._catch_up()
            return dict(self._known)

    def masks(self) -> dict[str, Path]:
        """Where the corrected mask of each picture that has one lies, by the id of the picture.

        Raises:
            RunError: The list of reviews is damaged or cannot be read.
        """
        return {id_: self._path(review.mask) for id_, review in self.reviews().items() if review.mask is not None}

    def mask(self, id_: str) -> Mask | None:
        """The corrected mask (H, W) of a picture, in the class numbers of the run; None where there is none.

        Raises:
            PictureError: It is damaged or missing.
            RunError: The list of reviews cannot be read.
        """
        name = self.review(id_).mask
        return None if name is None else read_mask(self._path(name))

    def save_mask(self, id_: str, name: str, mask: Mask, revision: int) -> Review:
        """Keep a mask that was drawn anew.

        Args:
            id_: Of the picture.
            name: Of its files.
            mask: (H, W), in the class numbers of the run.
            revision: Of the picture when it was looked at.

        Raises:
            ConflictError: It was changed since.
            RunError: It cannot be written.
        """
        with self._changing(id_, revision):
            check_stays(self._path(name), self._run)
            write_mask(self._path(name), mask)
            return self._note(id_, "corrected", name)

    def set_status(self, id_: str, status: Status, revision: int) -> Review:
        """Accept or reject a picture, or open it again; a corrected mask stays.

        Raises:
            ConflictError: It was changed since.
            RunError: It cannot be written.
        """
        with self._changing(id_, revision):
            return self._note(id_, status, self.review(id_).mask)

    def discard_mask(self, id_: str, revision: int) -> Review:
        """Go back to the mask of the run.

        Raises:
            ConflictError: It was changed since.
            RunError: It cannot be written.
        """
        with self._changing(id_, revision):
            name = self.review(id_).mask
            if name is not None:
                check_stays(self._path(name).parent, self._run)
            review = self._note(id_, "open", None)
            if name is not None:
                self._path(name).unlink(missing_ok=True)
            return review

    @contextmanager
    def _changing(self, id_: str, revision: int) -> Iterator[None]:
        """Alone, and only if nobody else changed the picture."""
        with self._lock, _in_words(self.folder):
            for path in (self._lock_file, self._journal):
                check_stays(path, self._run)
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock_file.open("ab") as lock:
                until = time.monotonic() + _WAIT
                while not try_lock(lock):
                    if time.monotonic() > until:
                        raise RunError(f"another process is changing {self.folder}; try again in a moment")
                    time.sleep(_PAUSE)
                now = self.review(id_)
                if now.revision != revision:
                    raise ConflictError(id_, now)
                yield

    def _path(self, name: str) -> Path:
        return self.folder / "masks" / f"{name}.png"

    def _note(self, id_: str, status: Status, mask: str | None) -> Review:
        review = Review(status, self.review(id_).revision + 1, mask)
        line = json.dumps({"id": id_, **asdict(review)}, ensure_ascii=False) + "\n"
        with self._journal.open("a+b") as file:
            end = file.seek(0, 2)
            file.seek(max(end - 1, 0))
            whole = end == 0 or file.read(1) == b"\n"  # else a kill cut the last line short
            file.write((line if whole else "\n" + line).encode("utf-8", "surrogatepass"))
        self._catch_up()
        return review

    def _catch_up(self) -> None:
        """Read what was written since the last look; a last line without its end is not written yet."""
        with suppress(FileNotFoundError), _in_words(self._journal):
            size = self._journal.stat().st_size
            if size < self._read_to:  # somebody removed it
                self._known, self._read_to = {}, 0
            if size == self._read_to:
                return
            with self._journal.open("rb") as file:
                file.seek(self._read_to)
                *lines, _unfinished = file.read().split(b"\n")
            for line in lines:
                self._take(line)
            self._read_to += sum(len(line) + 1 for line in lines)
            return
        self._known, self._read_to = {}, 0

    def _take(self, line: bytes) -> None:
        """One line of the list; what a kill left of one is passed over."""
        with suppress(ValueError, KeyError, TypeError):
            entry = parse_json(line)
            id_, status, revision, mask = (entry[key] for key in ("id", "status", "revision", "mask"))
            named = mask is None or (isinstance(mask, str) and is_inside(mask))
            counted = type(revision) is int and 0 < revision < _MOST_REVISIONS
            if status in STATUSES and counted and isinstance(id_, str) and named:
                self._known[id_] = Review(status, revision, mask)


def is_inside(name: str) -> bool:
    """Whether a name of files with `/` stays in their folder."""
    path = PurePosixPath(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


@contextmanager
def _in_words(place: Path) -> Iterator[None]:
    """Errors of the disk as errors of the run, but for a file that is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(
            f"cannot keep corrections in {place} ({error.strerror or one_line(error)}); make room, or change the "
            "permissions of the run"
        ) from error
