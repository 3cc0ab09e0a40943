"""What is made of the maps of a run: mask and overlay of a picture, boxes and report of all."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from advcam.datasets.pictures import read_picture
from advcam.pipeline.config import OutputSettings
from advcam.report import ReportPicture, ReportSummary, write_report
from advcam.store.classes import ClassNumbers
from advcam.store.files import replacing, write_picture
from advcam.store.maps import MapStore
from advcam.store.masks import write_mask
from advcam.store.run import RunDirectory
from advcam.types import Attribution, Sample


class Outputs:
    """Writes the outputs of a run.

    Args:
        run: Where to.
        settings: Threshold, kind of boxes, overlays or not.
        numbers: The class numbers of the masks.
        names: Output name of each picture (see `store.run.output_names`).
    """

    def __init__(
        self, run: RunDirectory, settings: OutputSettings, numbers: ClassNumbers, names: dict[str, str]
    ) -> None:
        self.run = run
        self.settings = settings
        self.numbers = numbers
        self.names = names

    def present(self, sample_id: str) -> bool:
        """Whether mask and overlay of a picture have been written."""
        wanted = [self._mask(sample_id)] + ([self._overlay(sample_id)] if self.settings.overlays else [])
        return all(path.exists() for path in wanted)

    def write_picture(self, sample: Sample, picture: Image.Image, attribution: Attribution) -> None:
        """Mask and overlay of one picture."""
        self.numbers.extend(attribution.class_ids)
        mask = self.numbers.mask(attribution.label_mask(self.settings.threshold))
        write_mask(self._mask(sample.id), mask)
        if self.settings.overlays:
            write_picture(self._overlay(sample.id), attribution.overlay(picture))

    def write_boxes(self, store: MapStore, samples: Sequence[Sample]) -> None:
        """boxes.json: for each picture its size and boxes (0-based, half open, pixels), streamed."""
        wanted = {sample.id for sample in samples}
        with replacing(self.run.boxes_file) as file:
            separator = b'{"threshold": %s, "pictures": {\n' % json.dumps(self.settings.threshold).encode()
            for row in store:
                if row.sample_id in wanted:
                    entry = f"{json.dumps(row.sample_id)}: {json.dumps(self._boxes(row.attribution))}"
                    file.write(separator + entry.encode())
                    separator = b",\n"
            file.write((separator if separator.startswith(b"{") else b"") + b"\n}}\n")

    def write_report(self, store: MapStore, samples: Sequence[Sample], summary: ReportSummary) -> None:
        """report.html with the given pictures."""
        write_report(self.run.report_file, summary, self._report_pictures(store, samples))

    def _report_pictures(self, store: MapStore, samples: Sequence[Sample]) -> Iterator[ReportPicture]:
        for sample in samples:
            row = store.get(sample.id)
            mask = self.numbers.mask(row.attribution.label_mask(self.settings.threshold))
            yield ReportPicture(
                sample.id,
                read_picture(sample.path),
                row.attribution,
                mask,
                self.numbers.names_in(mask),
                row.step_scores,
                row.attribution.boxes(self.settings.threshold, self.settings.boxes),
            )

    def _boxes(self, attribution: Attribution) -> dict[str, object]:
        names = dict(zip(attribution.class_ids, attribution.class_names, strict=True))
        found = attribution.boxes(self.settings.threshold, self.settings.boxes)
        boxes = [{"class": names[box.class_id], **asdict(box)} for box in found]
        return {"height": attribution.image_size[0], "width": attribution.image_size[1], "boxes": boxes}

    def _mask(self, sample_id: str) -> Path:
        return self.run.masks_folder / f"{self.names[sample_id]}.png"

    def _overlay(self, sample_id: str) -> Path:
        return self.run.overlays_folder / f"{self.names[sample_id]}.jpg"
