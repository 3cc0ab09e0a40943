"""Where the pictures of a run are now: paths of its settings count from where its command was started."""

import glob
from contextlib import suppress
from pathlib import Path

from advcam.errors import SettingError

_UPWARDS = 4  # folders above the run that are tried


def found_again(path: Path, run: Path) -> Path:
    """A path of the settings of a run, as it leads somewhere from here.

    It is tried as it is, then from the folders above the run, for a command is mostly started beside the run that it
    writes, then by less and less of its beginning, for both may have been moved. Patterns stay as they are.

    Args:
        path: Of the settings.
        run: The run's folder.

    Raises:
        SettingError: It leads nowhere.
    """
    if _is_there(path, patterns=True):
        return path
    above = run.resolve().parents[:_UPWARDS]
    parts = path.relative_to(path.anchor).parts
    tried = (up.joinpath(*parts[start:]) for start in range(len(parts)) for up in above)
    there = next(filter(_is_there, tried), None)
    if there is None:
        raise SettingError(
            f"{path}, which {run} was made of, is not there; start the command in the folder where the run was made, "
            f"or put {path.name} beside the run"
        )
    return there


def _is_there(path: Path, patterns: bool = False) -> bool:
    with suppress(OSError):  # a name, or a pattern, that is too long for the disk
        return path.exists() or (patterns and glob.has_magic(str(path)))
    return False
