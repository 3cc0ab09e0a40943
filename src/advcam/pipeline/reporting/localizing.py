"""What a localization has to say beside its pictures, while it is being made and afterwards."""

from collections.abc import Sequence

from advcam.pipeline.config import LocalizeSettings
from advcam.pipeline.reporting.data import data_section
from advcam.pipeline.reporting.making import differences, repeat_localize
from advcam.report.sections import Sections
from advcam.types import Sample

TITLE = "Where the classifier looks"
#: Settings that say which pictures, and stand among the facts.
_APART = ("inputs", "out", "data", "split", "layout", "labels", "shard_pictures", "labelled", "supervision")


def localize_sections(settings: LocalizeSettings, samples: Sequence[Sample]) -> Sections:
    """The pictures, the settings, and how to make the run again.

    Args:
        settings: Of the run.
        samples: Its pictures.
    """
    return Sections(
        data=data_section(samples), settings=differences(settings, _APART), repeat=repeat_localize(settings)
    )
