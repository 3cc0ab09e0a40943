"""Which picture of a run a name in the files of another tool means.

A name is that of a picture if it is its path, the name of its files in the run, or the end of its path at a slash, each
with or without the extension of a picture; or if it ends with one of the first two (`/data/upload/train/cat.jpg`).
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from advcam.datasets.pictures import EXTENSIONS
from advcam.errors import DatasetError


class PictureNames:
    """The pictures of a run by every name that others may give them.

    Args:
        names: Name of the files of each picture in the run, by its id.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._whole = {name: id_ for id_, name in names.items()} | {id_: id_ for id_ in names}
        self._ends: dict[str, list[str]] = {}
        for id_ in names:
            for end in _ends(_bare(id_)):
                self._ends.setdefault(end, []).append(id_)

    def find(self, name: str) -> str | None:
        """Id of the picture, None where there is none.

        Raises:
            DatasetError: The name fits several pictures.
        """
        for spelling in dict.fromkeys((name, _bare(name))):
            if spelling in self._whole:
                return self._whole[spelling]
        fitting = self._ends.get(_bare(name), [])
        exact = [id_ for id_ in fitting if id_ == name or id_.endswith(f"/{name}")]
        fitting = exact if len(exact) == 1 else fitting  # the extension tells cat.jpg from cat.png
        if len(fitting) > 1:
            raise DatasetError(f"{name} may be {fitting[0]} or {fitting[1]}; give it with more of its path")
        if fitting:
            return fitting[0]
        spellings = [end for spelling in (name, _bare(name)) for end in _ends(spelling)]
        return next((self._whole[end] for end in sorted(spellings, key=len, reverse=True) if end in self._whole), None)


def _bare(name: str) -> str:
    """A name without the extension of a picture; other dots belong to the name."""
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in EXTENSIONS else name


def _ends(path: str) -> list[str]:
    """The ends of a path at its slashes, the longest first."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]
