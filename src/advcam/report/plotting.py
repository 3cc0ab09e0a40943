"""What all figures share: their look, their size, how a row of panels is made, and how a figure becomes a file.

Colours are Okabe and Ito's, which the colour-blind can tell apart. Widths are those of a two-column page. No state is
shared between figures.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
FileFormat = Literal["png", "pdf"]

BLUE, VERMILION, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#666666"
#: Width of the text of a two-column page, inches.
PAGE_WIDTH = 7.16


def render(figure: Figure, file_format: FileFormat) -> bytes:
    """The figure as a file of 300 dots per inch or vectors, without the time of writing: equal data, equal bytes."""
    buffer = io.BytesIO()
    with page_style():
        figure.savefig(buffer, format=file_format, metadata={"CreationDate": None} if file_format == "pdf" else {})
    return buffer.getvalue()


def page_style() -> AbstractContextManager[None]:
    """Fonts and lines of all figures, while it lasts."""
    return rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 8,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "figure.titlesize": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.7,
            "legend.fontsize": 7,
            "legend.frameon": False,
            "lines.linewidth": 1.4,
            "lines.markersize": 3.5,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "mathtext.fontset": "dejavusans",
            "pdf.fonttype": 42,  # TrueType: text stays text, as publishers ask
            "savefig.dpi": 300,
        }
    )


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, whose parts make room for each other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def panel_row(widths: Sequence[float], height: float, share_y: bool = False) -> Iterator[tuple[Figure, list[Axes]]]:
    """A row of panels of these relative widths over the whole page, under the style of this file."""
    with page_style():
        figure = new_figure(PAGE_WIDTH, height)
        row = list(figure.subplots(1, len(widths), squeeze=False, sharey=share_y, width_ratios=widths)[0])
        yield figure, row


def legend_below(figure: Figure, *shown: Axes) -> None:
    """One legend for the lines of several panels, below them all."""
    entries = [entry for axes in shown for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def plain(name: str, longest: int = 64) -> str:
    """A name as it is: no formula between dollar signs, and only the end of one that is longer than there is room."""
    shown = name if len(name) <= longest else "..." + name[3 - longest :]
    return shown.replace("$", r"\$")
