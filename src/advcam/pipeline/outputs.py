"""What is made of the maps of a run: mask, overlay and boxes of a picture, and the report of all."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from PIL import Image

from advcam.datasets.pictures import read_picture
from advcam.pipeline.config import OutputSettings
from advcam.report import ReportPicture, ReportSummary, write_report
from advcam.report.sections import Sections
from advcam.store.classes import ClassNumbers
from advcam.store.files import write_picture
from advcam.store.maps import MapStore
from advcam.store.masks import write_mask
from advcam.store.places import Place
from advcam.store.run import RunDirectory
from advcam.types import Attribution, Sample


class Outputs:
    """Writes the outputs of a run, in any of its processes.

    Args:
        folder: Of the run.
        settings: Threshold, kind of boxes, overlays or not.
        class_names: Of the classifier.
    """

    def __init__(self, folder: Place, settings: OutputSettings, class_names: Sequence[str]) -> None:
        self.run, self.settings = RunDirectory(folder), settings
        #: The class numbers of the masks. Whoever runs the run gives them, its other processes read them.
        self.numbers = ClassNumbers(folder / "classes.json", class_names)

    def present(self, name: str) -> bool:
        """Whether mask and overlay of a picture have been written, by its output name."""
        wanted = [self._mask(name)] + ([self._overlay(name)] if self.settings.overlays else [])
        return all(path.exists() for path in wanted)

    def write_picture(self, name: str, picture: Image.Image, attribution: Attribution) -> None:
        """Mask and overlay of one picture; without a mask where a class has no number yet."""
        if self.numbers.given(attribution.class_ids):
            write_mask(self._mask(name), self.numbers.mask(attribution.label_mask(self.settings.threshold)))
        if self.settings.overlays:
            write_picture(self._overlay(name), attribution.overlay(picture))

    def boxes(self, attribution: Attribution) -> dict[str, object]:
        """The entry of a picture in boxes.json: its size and boxes (0-based, half open, pixels)."""
        names = dict(zip(attribution.class_ids, attribution.class_names, strict=True))
        found = attribution.boxes(self.settings.threshold, self.settings.boxes)
        boxes = [{"class": names[box.class_id], **asdict(box)} for box in found]
        return {"height": attribution.image_size[0], "width": attribution.image_size[1], "boxes": boxes}

    def write_report(
        self, store: MapStore, samples: Sequence[Sample], summary: ReportSummary, sections: Sections
    ) -> None:
        """report.html with the given pictures."""
        write_report(self.run.report_file, summary, self._report_pictures(store, samples), sections)

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

    def _mask(self, name: str) -> Place:
        return self.run.masks_folder / f"{name}.png"

    def _overlay(self, name: str) -> Place:
        return self.run.overlays_folder / f"{name}.jpg"
