"""The report of a run, whatever made it: one HTML file, from what lies in the run's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from advcam.errors import SettingError
from advcam.pipeline.album.chain_run import ChainAlbum
from advcam.pipeline.album.opening import open_album
from advcam.pipeline.album.runs import LocalizeAlbum, PredictAlbum
from advcam.pipeline.reporting.chain import ChainReport
from advcam.pipeline.reporting.localization import write_localize_report
from advcam.pipeline.reporting.prediction import write_predict_report
from advcam.store.places import Place

REPORT = "report.html"
#: Most pictures of the report of a prediction.
PICTURES = 24


@dataclass(frozen=True)
class WrittenReport:
    """A report.

    Args:
        path: Where it is.
        missing: What of the run is missing, damaged or to come, one line each; the page says it too.
    """

    path: Place
    missing: Sequence[str]


def write_report(run: Path, out: Place | None = None, pictures: int | None = None) -> WrittenReport:
    """Write the report of a run.

    Args:
        run: Its folder.
        out: Of the file; None: report.html in the run.
        pictures: Most pictures that it shows; None: as many as the run was asked for.

    Raises:
        SettingError: The folder holds no run.
        RunError: What the run says of itself is damaged, or the file cannot be written.
        AdvcamError: Its pictures are not there.
    """
    album, path = open_album(run), run / REPORT if out is None else out
    if isinstance(album, ChainAlbum):
        report = ChainReport(album)
        report.write(path, album.settings.outputs.report_pictures if pictures is None else pictures)
        missing = report.missing
    elif isinstance(album, LocalizeAlbum):
        count = album.settings.outputs.report_pictures if pictures is None else pictures
        missing = write_localize_report(album, path, count)
    elif isinstance(album, PredictAlbum):
        missing = write_predict_report(album, path, PICTURES if pictures is None else pictures)
    else:
        raise SettingError(f"{run} is no run of advcam; name the --out of advcam run, localize or predict")
    return WrittenReport(path, missing)
