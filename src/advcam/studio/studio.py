"""One running studio: a run on its shelf, what is known of its pictures, the work at hand."""

import os
from collections.abc import Callable

from anyio import CapacityLimiter

from advcam.errors import SettingError
from advcam.pipeline.album import Album
from advcam.pipeline.config import ModelSettings
from advcam.studio.climbing import LiveClassifier, model_of
from advcam.studio.drops import Drops
from advcam.studio.jobs import Jobs
from advcam.studio.listing import Listing
from advcam.studio.missing import MissingError
from advcam.studio.pictures import Renderer
from advcam.studio.remembered import Remembered
from advcam.studio.run_method import kept_localization
from advcam.studio.shelf import Shelf

#: Bytes of a dropped picture, where nothing else is said.
DEFAULT_UPLOAD = 32 * 2**20
_EXPORTS = "exports"
#: Uploads that are read at once.
_UPLOADS = 4


class Studio:
    """What all routes share.

    Args:
        open_: Opens the album.
        model: The classifier of live climbs; None: that of the run.
        device: Of the classifier.
        most_upload: Bytes of a dropped picture.

    Attributes:
        method: That the maps of the run were made by; None where there are none, or for another classifier.
        heavy: Lets as many requests decode pictures at once as there are cores, so that the others need not wait.
        uploads: Lets so many bodies lie in memory at once.

    Raises:
        AdvcamError: The album cannot be opened.
    """

    def __init__(
        self,
        open_: Callable[[], Album],
        model: ModelSettings | None = None,
        device: str = "cpu",
        most_upload: int = DEFAULT_UPLOAD,
    ) -> None:
        if most_upload < 1:
            raise SettingError(f"the limit of an upload is positive; got {most_upload} bytes")
        self.shelf = Shelf(open_)
        self.most_upload = most_upload
        self.listing = Listing(self.shelf, Remembered(self.shelf.work / "index.parquet"))
        kept = None if model is not None else kept_localization(self.album)
        self.method = None if kept is None else kept.method
        self.live = LiveClassifier(model or model_of(self.album).model_copy(update={"device": device}))
        self.drops, self.renderer, self.jobs = Drops(self.shelf.work / "dropped"), Renderer(), Jobs()
        self.exports = self.shelf.work / _EXPORTS
        self.heavy, self.uploads = CapacityLimiter(os.cpu_count() or 1), CapacityLimiter(_UPLOADS)

    @property
    def album(self) -> Album:
        """The run as it is now."""
        return self.shelf.album

    def start(self) -> None:
        """Begin to look at the pictures."""
        self.listing.start()

    def close(self) -> None:
        """End the work at hand; what was found out is kept."""
        self.jobs.close()
        self.listing.close()

    def id_of(self, place: int) -> str:
        """Id of a picture by its place.

        Raises:
            MissingError: There is no such picture.
        """
        if not 0 <= place < len(self.album.samples):
            count = len(self.album.samples)
            raise MissingError(f"there is no picture {place}; the run has {count:,}, numbered from 0")
        return self.album.samples[place].id
