"""Which pictures a run could not use, and why."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from advcam.errors import RunError
from advcam.pipeline.album.album import Album
from advcam.pipeline.chain.stage import read_record
from advcam.untrusted import read_json


def skipped_by_run(album: Album) -> Mapping[str, str]:
    """Why a run skipped pictures, by id: "skipped by localize: it is no picture".

    The first stage that said so counts. What the run does not tell, or no longer, is left out.
    """
    if album.kind == "chain":
        return _of_stages(album.folder / "stages")
    with suppress(OSError, ValueError, LookupError, TypeError):
        content = read_json(album.folder / "summary.json")["skipped"]
        return {str(id_): f"skipped by {album.kind}: {reason}" for id_, reason in content}
    return {}


def _of_stages(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        with suppress(RunError):
            record = read_record(path)
            for id_, reason in record.skipped:
                found.setdefault(id_, f"skipped by {record.name}: {reason}")
    return found
