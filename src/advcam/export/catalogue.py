"""All formats by name."""

import difflib

from advcam.errors import SettingError
from advcam.export.coco import Coco, CocoPolygons, CocoResults
from advcam.export.cvat import Cvat
from advcam.export.format import Format
from advcam.export.image_folder import ImageFolder
from advcam.export.label_studio import LabelStudio
from advcam.export.labelme import LabelMe
from advcam.export.panoptic import Panoptic
from advcam.export.parquet import Parquet
from advcam.export.voc import Voc
from advcam.export.yolo import Yolo, YoloBoxes

_KINDS: tuple[type[Format], ...] = (
    *(Voc, Coco, CocoPolygons, CocoResults, Panoptic, Yolo, YoloBoxes),
    *(LabelStudio, Cvat, LabelMe),
    *(Parquet, ImageFolder),
)
#: Every format of masks by its name on the command line.
FORMATS: dict[str, Format] = {kind.name: kind() for kind in _KINDS}
#: Maps are exported as well, though in no format of masks.
SCORE_MAPS = "score-maps"


def find_format(name: str) -> Format:
    """A format of masks by its name.

    Raises:
        SettingError: There is none; the message says which there are.
    """
    if name not in FORMATS:
        near = difflib.get_close_matches(name.lower(), [*FORMATS, SCORE_MAPS], n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingError(f"there is no format {name!r}{advice} (they are {', '.join([*FORMATS, SCORE_MAPS])})")
    return FORMATS[name]


def describe_formats() -> list[tuple[str, str, str]]:
    """Name, title and summary of each format, for people."""
    described = [(one.name, one.title, one.summary) for one in FORMATS.values()]
    return [*described, (SCORE_MAPS, "Score maps", "the evaluator of wsolevaluation: maps of pictures of one class")]
