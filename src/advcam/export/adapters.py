"""Pictures with masks as objects of other libraries, in Python: supervision's detections, FiftyOne's samples.

    for id_ in album.names: detections = to_supervision(album.annotated(id_), album.classes)

The libraries are imported when a function is called; advcam does not need them.
"""

import importlib
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from advcam.errors import SettingError
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.types import IGNORE, Instance

#: FiftyOne's name for undecided pixels in the legend of a mask.
_UNDECIDED = "undecided"


def to_supervision(picture: AnnotatedPicture, classes: Classes) -> Any:  # noqa: ANN401, supervision.Detections
    """The objects of a picture as `supervision.Detections`.

    Args:
        picture: What is undecided in its mask belongs to no object.
        classes: Of the run.

    Returns:
        `xyxy` (N, 4) in pixels, half open; `mask` (N, H, W), bool; `class_id` (N,), the number in the mask less one;
        `confidence` (N,), the scores; `data["class_name"]` (N,).

    Raises:
        SettingError: supervision is not installed.
    """
    supervision = _imported("supervision")
    if not picture.objects:
        return supervision.Detections.empty()
    boxes = np.array([_box(one) for one in picture.objects], dtype=np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return supervision.Detections(
        xyxy=boxes,
        mask=np.stack([one.mask for one in picture.objects]),
        confidence=np.array([one.score for one in picture.objects], dtype=np.float32),
        class_id=np.array([one.class_id for one in picture.objects]),
        data={"class_name": np.array([classes[one.class_id + 1] for one in picture.objects])},
    )


def from_supervision(detections: Any, name: str, size: tuple[int, int], classes: Classes) -> ImportedMask:  # noqa: ANN401
    """The mask that detections with masks make, the most confident one above the others.

    Args:
        detections: `supervision.Detections`, numbered as those of `to_supervision`.
        name: Of the picture.
        size: (H, W) of the picture.
        classes: Of the run.

    Raises:
        SettingError: There are detections but no masks of this size, or a class that is not among the classes.
    """
    mask = np.zeros(size, dtype=np.int32)
    count = len(detections)
    if count and (detections.mask is None or detections.mask.shape != (count, *size)):
        raise SettingError(
            f"detections of {name} have no masks of height {size[0]} and width {size[1]}; give them masks"
        )
    order = range(count) if detections.confidence is None else np.argsort(detections.confidence, kind="stable").tolist()
    numbers = [] if detections.class_id is None else [int(class_id) + 1 for class_id in detections.class_id]
    unknown = sorted({number for number in numbers if number not in classes})
    if len(numbers) != count or unknown:
        have = f"the classes {unknown}, which are not of the run" if unknown else "no classes"
        raise SettingError(f"detections of {name} have {have}; number them as the run does, less one")
    for place in order:
        mask[detections.mask[place]] = numbers[place]
    return ImportedMask(name, mask, {number: classes[number] for number in sorted(set(numbers))})


def to_fiftyone(picture: AnnotatedPicture, classes: Classes) -> Any:  # noqa: ANN401, fiftyone.Sample
    """A picture as a `fiftyone.Sample`.

    Args:
        picture: Its file is not copied.
        classes: Of the run.

    Returns:
        A sample with `segmentation` (the mask; its legend is `fiftyone_targets`), `objects` (detections with masks and
        confidence), `image_labels` (classifications), and `advcam_id`.

    Raises:
        SettingError: FiftyOne is not installed.
    """
    fiftyone = _imported("fiftyone")
    small = int(picture.mask.max(initial=0)) <= IGNORE
    return fiftyone.Sample(
        filepath=str(picture.path.resolve()),
        advcam_id=picture.id,
        segmentation=fiftyone.Segmentation(mask=picture.mask.astype(np.uint8 if small else np.uint16)),
        objects=fiftyone.Detections(detections=[_detection(fiftyone, one, classes) for one in picture.objects]),
        image_labels=fiftyone.Classifications(
            classifications=[fiftyone.Classification(label=classes[number]) for number in picture.labels]
        ),
    )


def fiftyone_targets(classes: Classes) -> dict[int, str]:
    """The legend of the masks, for `dataset.default_mask_targets`; FiftyOne leaves out 0."""
    return {**classes, IGNORE: _UNDECIDED}


def from_fiftyone(sample: Any, classes: Classes, field: str = "segmentation") -> ImportedMask:  # noqa: ANN401
    """The mask of a sample that `to_fiftyone` made.

    Args:
        sample: A `fiftyone.Sample`.
        classes: Of the run.
        field: Of the segmentation.

    Raises:
        SettingError: It has no mask there.
    """
    found = sample[field] if sample.has_field(field) else None
    mask = found.get_mask() if found is not None and found.has_mask else None
    if mask is None or mask.ndim != 2:
        raise SettingError(f"the sample {sample.filepath} has no mask of numbers in the field {field!r}; name another")
    name = sample["advcam_id"] if sample.has_field("advcam_id") else sample.filepath
    return ImportedMask(name, mask.astype(np.int32), dict(classes))


def _detection(fiftyone: ModuleType, one: Instance, classes: Classes) -> Any:  # noqa: ANN401, fiftyone.Detection
    """A box relative to the picture, and the pixels in it."""
    x, y, width, height = _box(one)
    rows, columns = one.mask.shape
    return fiftyone.Detection(
        label=classes[one.class_id + 1],
        bounding_box=[x / columns, y / rows, width / columns, height / rows],
        mask=one.mask[y : y + height, x : x + width],
        confidence=one.score,
    )


def _box(one: Instance) -> tuple[int, int, int, int]:
    """x, y, width and height in pixels."""
    x, y, width, height = cv2.boundingRect(one.mask.view(np.uint8))
    return x, y, width, height


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingError(f"{name} is not installed; run: pip install {name}") from error
