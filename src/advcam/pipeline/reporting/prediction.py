"""The report of `advcam predict`."""

from collections import Counter
from collections.abc import Iterator

from advcam.pipeline.album.runs import PredictAlbum
from advcam.pipeline.reporting.data import data_section
from advcam.pipeline.reporting.making import cost_of, differences, repeat_predict, version_of
from advcam.pipeline.reporting.pictures import lowest, reviews_in_words, shown_pictures
from advcam.pipeline.reporting.summary import read_summary
from advcam.report.chain_page import ChainHead, ChainPicture, write_chain_page
from advcam.report.sections import Sections, StageRow
from advcam.store.places import Place

_INTRO = (
    "A segmentation network said of each pixel of each picture what it shows: one of its classes, or background. "
    "There is no truth here to hold against it; its own confidence says where to look twice."
)


def write_predict_report(album: PredictAlbum, out: Place, count: int) -> list[str]:
    """Write the report of a prediction.

    Args:
        album: The run.
        out: Of the file.
        count: Most pictures that are shown.

    Returns:
        What of the run is missing or damaged, one line each.

    Raises:
        RunError: It cannot be written.
    """
    summary, settings = read_summary(album.folder), album.settings
    facts = [
        ("Segmentation network", str(settings.segmenter)),
        ("Classes", f"{len(album.classes):,}"),
        *reviews_in_words(album),
        ("advcam", version_of(album.folder)),
    ]
    seen = Counter(album.classes[number] for sample in album.samples for number in album.confidence(sample.id))
    gone = [] if album.mask_sets else [f"The masks are gone: advcam verify {album.folder} makes them again."]
    missing = [*summary.missing, *gone]
    sections = Sections(
        notes=[*missing, *summary.notes],
        data=data_section(album.samples, summary.skipped, shown=seen),
        stages=[StageRow("predict", summary.seconds, (), (), 0)] if summary.seconds else [],
        cost=cost_of(album.folder),
        settings=differences(settings, ("inputs", "segmenter", "out", "shard_pictures")),
        repeat=repeat_predict(settings),
    )
    head = ChainHead(
        "What the network sees", facts, [_INTRO], has_maps=False, without_pictures="No picture has a mask yet."
    )
    write_chain_page(out, head, sections, _pictures(album, count))
    return missing


def _pictures(album: PredictAlbum, count: int) -> Iterator[ChainPicture]:
    """The most doubtful ones, and others."""
    sure = lowest(album, album.samples)
    yield from shown_pictures(album, album.samples, count, None, sure, {}, set(album.sets), "among all pictures")
