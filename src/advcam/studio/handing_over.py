"""Exports from the page: a folder as `advcam export` writes it, zipped for the way through the browser."""

import re
import shutil
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from advcam.errors import RunError, counted
from advcam.pipeline.album import Album
from advcam.pipeline.exporting import Only, export_run
from advcam.store.files import replacing
from advcam.studio.jobs import Job

#: Zip files that are kept; the oldest go first.
_KEPT = 10
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_PACKED = (".png", ".jpg", ".jpeg", ".parquet")


@dataclass(frozen=True)
class Exported:
    """A finished export."""

    path: Path


class _Told:
    """Hands what is heard of an export on to its job; the pictures are the larger part of the work."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def start(self, words: str, total: int) -> None:
        self.job.detail, self.job.total = words, total

    def step(self) -> None:
        self.job.step()


def export(album: Album, format_name: str, only: Only, folder: Path, job: Job) -> Exported:
    """Export the masks of a run into a zip file.

    Args:
        album: The run.
        format_name: Of the export.
        only: Which pictures.
        folder: Of zip files.
        job: Hears of each picture, and may end it.

    Raises:
        AdvcamError: See `export_run`.
    """
    title = _UNSAFE.sub("-", album.title).strip("-")[:60] or "run"
    target = folder / f"{title}-{_UNSAFE.sub('-', format_name)}-{job.id}.zip"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
            written = Path(temporary) / title
            summary = export_run(album, format_name, written, only, _Told(job))
            job.detail = "packing"
            _pack(written, target, job)
    except OSError as error:
        raise RunError(f"cannot write the export to {folder} ({error.strerror}); make room there") from error
    _forget(folder)
    left_out = f", {len(summary.skipped)} could not be exported" if summary.skipped else ""
    job.detail = f"{counted(summary.pictures, 'picture')}{left_out}"
    return Exported(target)


def _pack(written: Path, target: Path, job: Job) -> None:
    """All files of a folder, below its name; what is packed already is stored as it is."""
    with replacing(target) as file, zipfile.ZipFile(file, "w", strict_timestamps=False) as packed:
        for path in sorted(written.rglob("*")):
            job.check()
            if path.is_file() and not path.name.startswith("."):
                how = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
                info = zipfile.ZipInfo.from_file(path, path.relative_to(written.parent), strict_timestamps=False)
                info.compress_type = how
                with path.open("rb") as read, packed.open(info, "w", force_zip64=True) as write:
                    shutil.copyfileobj(read, write, 1 << 20)


def _forget(folder: Path) -> None:
    """Remove the oldest zip files."""
    with suppress(OSError):
        found = sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime)
        for path in found[:-_KEPT]:
            path.unlink()
