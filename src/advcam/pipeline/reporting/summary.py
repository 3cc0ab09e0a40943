"""summary.json of a localization or a prediction, as its report tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from advcam.errors import one_line
from advcam.untrusted import read_json

SUMMARY = "summary.json"


@dataclass(frozen=True)
class RunSummary:
    """What a run says of itself.

    Args:
        notes: Warnings.
        skipped: Id and reason of the pictures that could not be used.
        facts: How it was made, as the run itself told it.
        seconds: Of the last session.
        computed: Pictures of the last session.
        missing: Why it is not all that there is to say, one line each.
    """

    notes: Sequence[str] = ()
    skipped: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    seconds: float = 0.0
    computed: int = 0
    missing: Sequence[str] = ()


def read_summary(folder: Path) -> RunSummary:
    """The summary of a run; of one that has none yet, or a damaged one, a line that says so."""
    path = folder / SUMMARY
    try:
        content = read_json(path)
        missing = ["The run was interrupted; its command goes on where it stopped."] if content["interrupted"] else []
        return RunSummary(
            [str(note) for note in content["warnings"]],
            [(str(id_), str(reason)) for id_, reason in content["skipped"]],
            [(str(name), str(value)) for name, value in content.get("facts", ())],
            float(content["seconds"]),
            int(content["computed"]),
            missing,
        )
    except FileNotFoundError:
        return RunSummary(missing=[f"The run is not finished: {SUMMARY} is missing. Its command goes on with it."])
    except (OSError, ValueError, TypeError, KeyError) as error:
        words = f"{path} is damaged ({one_line(error)}): skipped pictures and warnings are not known."
        return RunSummary(missing=[words])
