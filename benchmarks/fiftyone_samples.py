"""What FiftyOne makes of the samples that `to_fiftyone` gives it.

    python benchmarks/fiftyone_samples.py RUN [--limit 100]

RUN is a folder that `advcam export` takes; the environment needs advcam and fiftyone. Each picture becomes a sample,
which FiftyOne checks field by field; its mask is read back and compared. Where FiftyOne finds its database, the samples
also go through a data set and back. One line of JSON is printed: versions, pictures, masks that came back as they were,
fields, objects by class, and what the database said.
"""

import argparse
import importlib
import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from advcam.export.adapters import fiftyone_targets, from_fiftyone, to_fiftyone
from advcam.export.annotated import AnnotatedPicture, Classes
from advcam.pipeline.album import open_album


def through_database(samples: list[Any], classes: Classes) -> list[Any] | str:
    """The samples of a data set, or why there is none."""
    fiftyone = importlib.import_module("fiftyone")
    try:
        dataset = fiftyone.Dataset("advcam-check", overwrite=True)
    except Exception as error:  # noqa: BLE001, whatever the driver of the database raises
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    dataset.default_mask_targets = fiftyone_targets(classes)
    dataset.add_samples(samples)
    found = list(dataset)
    fiftyone.delete_dataset("advcam-check")
    return found


def same(samples: list[Any], pictures: list[AnnotatedPicture], classes: Classes) -> int:
    """How many masks are those of the pictures."""
    found = [from_fiftyone(sample, classes) for sample in samples]
    pairs = zip(found, pictures, strict=True)
    return sum(one.name == picture.id and np.array_equal(one.mask, picture.mask) for one, picture in pairs)


def main() -> None:
    """Make samples, read them back, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    arguments = parser.parse_args()
    album = open_album(arguments.run)
    found = (album.annotated(sample.id) for sample in album.samples[: arguments.limit])
    pictures = [one for one in found if one is not None]
    samples = [to_fiftyone(one, album.classes) for one in pictures]
    stored = through_database(samples, album.classes)
    facts = {
        "fiftyone": version("fiftyone"),
        "pictures": len(pictures),
        "same": same(samples, pictures, album.classes),
        "fields": sorted(samples[0].field_names) if samples else [],
        "objects": Counter(one.label for sample in samples for one in sample.objects.detections),
        "database": stored if isinstance(stored, str) else f"{same(stored, pictures, album.classes)} the same",
    }
    print(json.dumps(facts, ensure_ascii=False))


if __name__ == "__main__":
    main()
