"""Opening an album: which kind of run a folder holds, or pictures alone."""

from pathlib import Path

from advcam.errors import RunError, SettingError, one_line
from advcam.pipeline.album.album import Album
from advcam.pipeline.album.chain_run import ChainAlbum
from advcam.pipeline.album.pictures import PictureAlbum
from advcam.pipeline.album.runs import LocalizeAlbum, PredictAlbum
from advcam.pipeline.chain.recipe_file import RECIPE
from advcam.pipeline.config import SETTINGS
from advcam.untrusted import read_json

_CONFIG = "config.json"


def open_album(folder: Path, work: Path | None = None) -> Album:
    """Open a run, or a folder of pictures.

    Args:
        folder: The `--out` of `advcam run`, `segment`, `refine`, `localize` or `predict`, or any folder of pictures.
        work: Where corrections of a folder of pictures go; None: nothing but a run is opened.

    Raises:
        SettingError: It is neither.
        RunError: What says which pictures the run has is damaged or missing.
        AdvcamError: The pictures are not where they were.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise SettingError(f"{folder} {found}; name the --out of advcam run, localize or predict")
    if (folder / RECIPE).is_file():
        return ChainAlbum(folder)
    if (folder / SETTINGS).is_file():
        return PredictAlbum(folder) if _asked(folder / SETTINGS, "segmenter") else LocalizeAlbum(folder)
    if (folder / _CONFIG).is_file():
        raise RunError(
            f"{folder / SETTINGS} is missing, which says where the pictures of the run are; give the command of this "
            "run again, which writes it anew"
        )
    part_of = next((up for up in folder.resolve().parents[:3] if (up / RECIPE).is_file()), None)
    if part_of is not None:
        raise SettingError(f"{folder} is part of a run of advcam; name the run itself, {part_of}")
    if work is None:
        raise SettingError(
            f"{folder} holds no run of advcam: neither {RECIPE} nor {SETTINGS}; name the --out of advcam run, "
            "localize or predict"
        )
    return PictureAlbum(folder, work)


def _asked(path: Path, key: str) -> bool:
    """Whether the settings of a run have a key.

    Raises:
        RunError: They are damaged.
    """
    try:
        return key in read_json(path)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({one_line(error)}); give the command of this run again, which writes it anew"
        ) from error
