"""The index of the pictures: how doubtful each one is, found out in the background, sorted and filtered from memory.

    doubt = (v + m) / 2       v = 1 where a class that the picture is known to show has no pixel in its mask, else 0
                              m = mean of what is known of  1 - confidence  and  disagreement between stages

So whatever lost a class comes before everything else, and within both halves the least sure ones come first. What was
found is kept in RUN/studio/index.parquet with a fingerprint of the picture's files, so that the next server begins with
it and looks again only at what has changed.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from advcam.errors import AdvcamError
from advcam.pipeline.album import Album
from advcam.store.corrections import STATUSES, Review, Status
from advcam.studio.measuring import Measured, measure
from advcam.studio.remembered import Remembered
from advcam.studio.shelf import Shelf

#: Status of a picture as lists show it: what cannot be read waits for nobody.
Shown: TypeAlias = Status | Literal["unreadable"]
Order: TypeAlias = Literal["doubt", "name", "confidence", "disagreement", "iou"]
UNREADABLE: Literal["unreadable"] = "unreadable"
#: How a list can be sorted.
ORDERS: tuple[Order, ...] = get_args(Order)

#: What the most is worth seeing of comes first: of these columns the largest values, of the others the smallest.
_LARGEST_FIRST = ("doubt", "disagreement")
#: Seconds between two looks at a run that is being written, and between two times that the index is kept.
_LOOK_AGAIN, _KEEP = 15.0, 60.0
#: Looking takes a fifth of the time at most, however many pictures there are.
_SHARE = 5.0


@dataclass(frozen=True)
class Wanted:
    """Which pictures a list shows.

    Args:
        order: How it is sorted, the worst first.
        number: Only pictures that are known to show this class, or whose mask does.
        status: Only these.
        vanished: Only those that lost a class.
        text: Only those whose id contains it, whatever the case.
    """

    order: Order = "doubt"
    number: int | None = None
    status: Shown | None = None
    vanished: bool = False
    text: str = ""


class Listing:
    """What is known of all pictures of an album.

    Args:
        shelf: Has the album as it is now.
        remembered: What an earlier server found out.
    """

    def __init__(self, shelf: Shelf, remembered: Remembered) -> None:
        self._shelf, self._remembered = shelf, remembered
        self._ids = [sample.id for sample in shelf.album.samples]
        self._folded: list[str] | None = None
        self._places = {id_: place for place, id_ in enumerate(self._ids)}
        count = len(self._ids)
        self._rows: list[Measured | None] = [None] * count
        self._columns = {name: np.full(count, np.nan, np.float32) for name in ORDERS if name != "name"}
        self._vanished, self._broken = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        self._status = np.zeros(count, np.int8)
        self._revisions = np.zeros(count, np.int64)
        self._by_class: dict[int, set[int]] = {}
        self._done = 0
        self._lock = threading.Lock()
        self._stale: set[int] = set()
        self._wake, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="advcam-index", daemon=True)

    def start(self) -> None:
        """Begin to look at the pictures, in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; what was found is kept."""
        self._end.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    @property
    def done(self) -> int:
        """Pictures that were looked at."""
        return self._done

    @property
    def total(self) -> int:
        """All pictures."""
        return len(self._ids)

    @property
    def has_truth(self) -> bool:
        """Whether a mask could be compared with a true one."""
        return bool(np.isfinite(self._columns["iou"]).any())

    def row(self, place: int) -> Measured | None:
        """What is known of a picture; None while nobody has looked."""
        return self._rows[place]

    def refresh(self, place: int) -> None:
        """Look at a picture again now: it was changed."""
        self._look(place, self._shelf.album, force=True)

    def counts(self) -> dict[Shown, int]:
        """How many pictures have each status."""
        self._take_reviews()
        return {status: int(self._of_status(status).sum()) for status in (*STATUSES, UNREADABLE)}

    def _of_status(self, status: Shown) -> NDArray[np.bool_]:
        """The pictures of a status; of those that nobody judged, what cannot be read is not open."""
        kept: NDArray[np.bool_] = self._status == STATUSES.index("open" if status == UNREADABLE else status)
        if status == "open":
            kept &= ~self._broken
        return kept & self._broken if status == UNREADABLE else kept

    def places(self, wanted: Wanted) -> NDArray[np.intp]:
        """The pictures that are wanted, in order."""
        self._take_reviews()
        kept = np.ones(self.total, np.bool_)
        if wanted.number is not None:
            kept[:] = False
            with self._lock:
                kept[list(self._by_class.get(wanted.number, ()))] = True
        if wanted.status is not None:
            kept &= self._of_status(wanted.status)
        if wanted.vanished:
            kept &= self._vanished
        if wanted.text:
            kept &= self._named(wanted.text)
        found = np.flatnonzero(kept)
        if wanted.order == "name":
            return found
        values = self._columns[wanted.order][found]
        return found[np.argsort(-values if wanted.order in _LARGEST_FIRST else values, kind="stable")]

    def _named(self, text: str) -> NDArray[np.bool_]:
        if self._folded is None:
            self._folded = [id_.casefold() for id_ in self._ids]
        wanted = text.casefold()
        return np.fromiter((wanted in id_ for id_ in self._folded), np.bool_, self.total)

    def _take_reviews(self) -> None:
        """What was said of the pictures meanwhile, here or by another process."""
        for id_, review in self._shelf.album.corrections.reviews().items():
            place = self._places.get(id_)
            if place is not None and self._revisions[place] != review.revision:
                self._note(place, review)

    def _note(self, place: int, review: Review) -> None:
        self._status[place] = STATUSES.index(review.status)
        self._revisions[place] = review.revision
        self._stale.add(place)
        self._wake.set()

    def _keep_up(self) -> None:
        """Look at everything once, then at what changes."""
        self._remembered.load()
        self._take_labels()
        everything: Sequence[int] = range(self.total)
        self._pass(everything)
        self._keep()
        was_written, took = False, 0.0
        while not self._end.is_set():
            self._wake.wait(max(_LOOK_AGAIN, _SHARE * took))
            self._wake.clear()
            written = self._shelf.is_being_written
            stale, self._stale = self._stale, set()
            if written or was_written:
                self._shelf.renew()
                stale.update(everything)
            was_written = written
            if stale:
                began = time.monotonic()
                self._pass(sorted(stale))
                self._keep()
                took = time.monotonic() - began

    def _take_labels(self) -> None:
        """What the lists of pictures say of their classes, so that they can be filtered at once."""
        album = self._shelf.album
        for place, sample in enumerate(album.samples):
            for number in filter(None, map(album.table.number, sample.labels or ())):
                with self._lock:
                    self._by_class.setdefault(number, set()).add(place)

    def _pass(self, places: Sequence[int]) -> None:
        album, kept = self._shelf.album, time.monotonic()
        for place in places:
            if self._end.is_set():
                return
            self._look(place, album)
            if time.monotonic() - kept > _KEEP:
                self._keep()
                kept = time.monotonic()

    def _keep(self) -> None:
        self._remembered.keep(zip(self._ids, self._rows, strict=True))

    def _look(self, place: int, album: Album, force: bool = False) -> None:
        """Find out about a picture, unless its files are as they were."""
        id_, known = self._ids[place], self._rows[place]
        try:
            fingerprint = album.fingerprint(id_)
            if not force and known is not None and known.fingerprint == fingerprint and not known.problem:
                return
            row = self._remembered.find(id_, fingerprint) or measure(album, id_, fingerprint)
        except (AdvcamError, OSError):  # half written or half deleted; nothing is known of it
            row = known or Measured(fingerprint=0)
        self._take(place, row)

    def _take(self, place: int, row: Measured) -> None:
        with self._lock:
            before, self._rows[place] = self._rows[place], row
            self._done += before is None
            for number in before.classes if before is not None else ():
                self._by_class[number].discard(place)
            for number in row.classes:
                self._by_class.setdefault(number, set()).add(place)
        for name, column in self._columns.items():
            value = getattr(row, name)
            column[place] = np.nan if value is None else value
        self._vanished[place], self._broken[place] = bool(row.vanished), bool(row.problem)
