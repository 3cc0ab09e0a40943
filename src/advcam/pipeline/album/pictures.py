"""A folder of pictures that nothing was done with yet."""

from contextlib import suppress
from pathlib import Path

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.folder import ClassFolders
from advcam.datasets.pictures import EXTENSIONS, find_pictures
from advcam.errors import DatasetError, SettingError
from advcam.pipeline.album.album import Album
from advcam.pipeline.album.classes import ClassTable


class PictureAlbum(Album):
    """Pictures to look at, to climb on and to draw masks for.

    Args:
        pictures: Their folder; nothing is written to it.
        work: Where corrections go.

    Raises:
        PictureError: There is no picture.
        SettingError: The folder for corrections lies in that of the pictures.
    """

    kind = "pictures"

    def __init__(self, pictures: Path, work: Path) -> None:
        if pictures.resolve() in (work.resolve(), *work.resolve().parents):
            raise SettingError(
                f"what is drawn for {pictures} cannot be kept in it, where it would be taken for more of its pictures: "
                f"{work} lies in it; name another folder with --out"
            )
        dataset = None
        with suppress(DatasetError):  # any folder of pictures will do
            dataset = open_dataset(pictures)
        if dataset is None or (isinstance(dataset, ClassFolders) and _has_loose_ones(pictures)):
            dataset = None
            samples, table = find_pictures([pictures]), ClassTable()
        else:
            samples = list({one.id: one for split in dataset.splits for one in dataset.samples(split)}.values())
            table = ClassTable.of(dataset.class_names)
        super().__init__(work, samples, table)
        self.title, self.dataset = pictures.resolve().name, dataset
        self.facts = [("Pictures", f"{len(samples):,}"), ("Folder", str(pictures))]


def _has_loose_ones(folder: Path) -> bool:
    """Whether pictures lie beside the folders of classes: then these are folders of any kind."""
    return any(path.suffix.lower() in EXTENSIONS for path in folder.iterdir() if path.is_file())
