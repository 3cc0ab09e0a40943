"""Geometry of the line charts of a report, for inline SVG: where lines, marks and ticks lie.

Colours are Okabe and Ito's, which the colour-blind can tell apart; lines differ in their dashes as well, and marks in
their shape. The page draws them in light and dark.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from advcam.report.sections import CurveSection

#: Colour on light and on dark ground, and dashes of the lines, in their order.
LOOKS = (
    ("#0072b2", "#56b4e9", ""),
    ("#d55e00", "#ff8c42", "7 3"),
    ("#009e73", "#2fd6a8", "2 3"),
    ("#8a4f7d", "#d59bc6", "10 3 2 3"),
    ("#9a6700", "#e6b84d", "4 2"),
    ("#555555", "#bbbbbb", "1 2"),
)
#: SVG path of the mark of each supervision, around 0, 0.
SHAPES = {
    "oracle": "M-5,0 A5,5 0 1 1 5,0 A5,5 0 1 1 -5,0 Z",
    "validated": "M0,-6 L6,0 L0,6 L-6,0 Z",
    "fixed": "M-5,-5 H5 V5 H-5 Z",
    "label-free": "M0,-6 L6,5 L-6,5 Z",
}
_OTHER = "M-5,0 H5 M0,-5 V5"


@dataclass(frozen=True)
class Line:
    """A curve.

    Args:
        name: For the legend.
        look: Its place in `LOOKS`.
        paths: Unbroken pieces, as the points of an SVG polyline.
    """

    name: str
    look: int
    paths: Sequence[str]


@dataclass(frozen=True)
class MarkPoint:
    """A chosen threshold.

    Args:
        x, y: Where it lies.
        look: Of its line.
        shape: SVG path around 0, 0.
        words: For the title of the mark.
    """

    x: float
    y: float
    look: int
    shape: str
    words: str


@dataclass(frozen=True)
class Chart:
    """A line chart in units of its own drawing area, y downwards.

    Args:
        lines: The curves.
        marks: On them.
        x_ticks, y_ticks: Place and label.
        legend: Shape and name of each supervision that occurs.
        left, right, top, bottom: Edges of the area inside the axes.
    """

    lines: Sequence[Line]
    marks: Sequence[MarkPoint]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    legend: Sequence[tuple[str, str]]
    left: int = 58
    right: int = 704
    top: int = 14
    bottom: int = 296


def curve_chart(section: CurveSection) -> Chart:
    """Lay out the curves: thresholds 0 to 1 across, scores from 0 to a round number above the best upwards."""
    area = Chart((), (), (), (), ())
    scores = [score for _, values in section.lines.values() for score in values if math.isfinite(score)]
    highest = max(scores, default=1.0)
    step = 0.1 if highest <= 0.5 else 0.2
    top = step * max(1, math.ceil(round(highest / step, 6)))

    def place(threshold: float, score: float) -> tuple[float, float]:
        x = area.left + (area.right - area.left) * threshold
        return round(x, 1), round(area.bottom - (area.bottom - area.top) * score / top, 1)

    looks = {name: number % len(LOOKS) for number, name in enumerate(section.lines)}
    marks = [
        MarkPoint(
            *place(one.threshold, one.score),
            looks[one.line],
            SHAPES.get(one.supervision, _OTHER),
            f"{one.line}, {one.supervision}: {100 * one.score:.1f} % at {one.threshold:.2f}",
        )
        for one in section.choices
        if one.line in looks and math.isfinite(one.score)
    ]
    kinds = dict.fromkeys(one.supervision for one in section.choices)
    return Chart(
        [Line(name, looks[name], _pieces(x, y, place)) for name, (x, y) in section.lines.items()],
        marks,
        [(place(t / 5, 0)[0], f"{t / 5:g}") for t in range(6)],
        [(place(0, k * step)[1], f"{100 * k * step:.0f}") for k in range(round(top / step) + 1)],
        [(SHAPES.get(kind, _OTHER), kind) for kind in kinds],
    )


def _pieces(
    thresholds: Sequence[float], scores: Sequence[float], place: Callable[[float, float], tuple[float, float]]
) -> list[str]:
    """The curve as polylines, broken where it is not defined."""
    pieces: list[list[str]] = [[]]
    for threshold, score in zip(thresholds, scores, strict=True):
        if math.isfinite(score):
            x, y = place(threshold, score)
            pieces[-1].append(f"{x:g},{y:g}")
        elif pieces[-1]:
            pieces.append([])
    return [" ".join(piece) for piece in pieces if piece]
