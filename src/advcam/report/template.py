"""Pages from templates: one HTML file that needs nothing else, written piece by piece and whole or absent."""

import io
import math
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from advcam.report.charts import LOOKS, curve_chart
from advcam.report.sections import Sections
from advcam.store.files import replacing
from advcam.store.places import Place


def render_report(path: Place, template: str, sections: Sections, **values: object) -> None:
    """Write the page of a run with its sections; see `render`."""
    charts = [curve_chart(curve) for curve in sections.curves]
    render(path, template, sections=sections, charts=charts, looks=LOOKS, **values)


def render(path: Place, template: str, **values: object) -> None:
    """Write a page.

    Values that are generators are taken one by one, so memory does not grow with their number.

    Args:
        path: Of the page; it appears only when it is complete.
        template: Name of the template beside this file.
        values: What it shows.

    Raises:
        RunError: The file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("advcam.report", package_path=""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["score"] = "{:.2f}".format
    environment.globals |= {"duration": duration, "at": _at}
    chunks = environment.get_template(template).generate(**values)
    # A file name that is not valid Unicode holds lone surrogates: they are shown as \\udc.. .
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="\n")
        text.writelines(chunks)
        text.detach()


def duration(seconds: float) -> str:
    """A time in the unit that people would use: 0.4 s, 31 s, 4 min 10 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def _at(line: tuple[Sequence[float], Sequence[float]], threshold: float) -> float:
    """The score of a curve at a threshold; NaN where it was not computed there."""
    found = [score for one, score in zip(*line, strict=True) if math.isclose(one, threshold, abs_tol=1e-9)]
    return found[0] if found else math.nan
