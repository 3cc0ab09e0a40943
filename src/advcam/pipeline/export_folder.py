"""The folder of an export: whole or absent, and never in the place of what somebody else made.

It is written into a folder beside it, `.NAME.partial`, and renamed when it is complete. `advcam-export.json` in it says
what made it; an export is only ever replaced by another one, and only while nobody has changed or added a file.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from advcam.errors import RunError, counted, one_line
from advcam.store.files import PARTIAL, try_lock, write_text
from advcam.untrusted import read_json

#: Says that a folder is an export, and of what.
MARKER = "advcam-export.json"
FORMAT_VERSION = 1


@contextmanager
def new_export(out: Path) -> Iterator[Path]:
    """A new and empty folder that takes the place of `out` when the block ends without an error.

    The last that the block does is `write_marker`.

    Args:
        out: Does not exist, is empty, or holds an export that nobody changed.

    Raises:
        RunError: `out` holds something else, is being written by another process, or cannot be written.
    """
    out = out.resolve()
    try:
        check_replaceable(out)
        with _workplace(out) as work:
            _give_back(work / "old", out)
            new = work / "new"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            yield new
            if out.exists():
                out.rename(work / "old")
            new.rename(out)
    except OSError as error:
        raise RunError(
            f"cannot write {out} ({error.strerror or one_line(error)}); make room, change the permissions or choose "
            "another --out"
        ) from error


def write_marker(folder: Path, facts: Mapping[str, Any]) -> None:
    """Say what made an export that is complete.

    Args:
        folder: Of the export.
        facts: JSON values.
    """
    content = {"advcam_export": FORMAT_VERSION, **facts, "files": len(_files(folder)) + 1}
    write_text(folder / MARKER, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def check_replaceable(out: Path) -> None:
    """Raise `RunError` where something lies in `out` that is no export, or one that somebody has changed."""
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out} is a file; choose another --out, an export takes a folder")
    if not any(out.iterdir()):
        return
    marker = out / MARKER
    if not marker.is_file():
        raise RunError(f"{out} is not empty and holds no export of advcam; choose another --out or empty it")
    try:
        written = read_json(marker)["files"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{marker} is damaged ({one_line(error)}); choose another --out or empty the folder") from error
    _check_unchanged(out, written, marker.stat().st_mtime_ns)


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """A folder beside `out` that this process alone works in; what a killed one left in it is still there."""
    work = out.with_name(f".{out.name}{PARTIAL}")
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("ab") as lock:
        if not try_lock(lock):
            raise RunError(f"another process is exporting to {out}; wait for it or choose another --out")
        try:
            yield work
        finally:
            _give_back(work / "old", out)
            shutil.rmtree(work, ignore_errors=True)


def _give_back(old: Path, out: Path) -> None:
    """The export that was to be replaced, where the new one did not come."""
    if old.exists() and not out.exists():
        with suppress(OSError):
            old.rename(out)


def _check_unchanged(out: Path, written: object, until: int) -> None:
    """Raise `RunError` where a file is newer than the last one of the export, or files came or went."""
    files = _files(out)
    changed = next((path for path in files if path.lstat().st_mtime_ns > until), None)
    advice = (
        "nothing that was changed there is replaced, imported or not; bring corrections back by advcam import, then "
        "choose another --out, or delete the folder"
    )
    if changed is not None:
        raise RunError(f"{out} was worked on since it was exported: {changed} was written after the export; {advice}")
    if len(files) != written:
        raise RunError(f"{out} holds {counted(len(files), 'file')}, the export that it was had {written}; {advice}")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
