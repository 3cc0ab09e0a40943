"""The figures of the analyses: what they plot, what their axes say, and that they are files a paper can take."""

import io
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from advcam.report.analysis_figures import (
    AmplificationCurves,
    LandscapeLines,
    LandscapePlanes,
    StepsPanel,
    SweepPanel,
    TrajectoryCurves,
    amplification_figure,
    landscape_figure,
    lines_figure,
    render,
    steps_figure,
    sweeps_figure,
    trajectory_figure,
)

RNG = np.random.default_rng(0)
STEPS = np.arange(5.0)
TRAJECTORY = TrajectoryCurves(
    score=10 + STEPS,
    rival=5 - STEPS,
    fixed=np.stack([50 + STEPS, 80 - STEPS, 40 + STEPS], axis=1),
    oracle=np.stack([60 + STEPS, 70 - STEPS, 55 + STEPS], axis=1),
    threshold=0.4,
)
AMPLIFICATION = [AmplificationCurves(f"λ = {k}", *(1 + RNG.random((3, 5)) * STEPS for _ in range(4))) for k in (0, 1)]
GRID = np.linspace(-1, 1, 5)
PLANES = [LandscapePlanes("a cat", GRID, np.add.outer(GRID, 0 * GRID), np.add.outer(-GRID, GRID**2))]
LINES = LandscapeLines(np.linspace(0, 1, 4), "cross entropy", *(RNG.random((3, 4)) for _ in range(4)))
SWEEPS = [
    SweepPanel("penalty $λ$", ["0", "0.3", "1"], [60.0, 62.0, 61.0], [50.0, 52.0, 55.0], 2),
    SweepPanel("other classes", ["none", "all"], [61.0, 40.0], [55.0, 30.0], None),
]
PANELS = [StepsPanel("penalty $λ$", ["0", "1"], [STEPS, STEPS[:3] + 1])]

FIGURES: dict[str, Callable[[], Figure]] = {
    "trajectory": lambda: trajectory_figure(TRAJECTORY),
    "amplification": lambda: amplification_figure(AMPLIFICATION),
    "landscape": lambda: landscape_figure(PLANES, "cross entropy"),
    "lines": lambda: lines_figure(LINES),
    "sweeps": lambda: sweeps_figure(SWEEPS, 0.4),
    "steps": lambda: steps_figure(PANELS),
}


def lines_of(axes: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.lines}


def labels(figure: Figure) -> list[tuple[str, str]]:
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]


def legend_texts(figure: Figure) -> list[str]:
    found = [*figure.legends, *(legend for axes in figure.axes if (legend := axes.get_legend()))]
    return [text.get_text() for legend in found for text in legend.get_texts()]


def test_trajectory_plots_scores_and_seeds_with_their_units():
    figure = trajectory_figure(TRAJECTORY)
    names = ["class score (before softmax)", "mIoU (%)", "foreground precision (%)", "foreground recall (%)"]
    assert labels(figure) == [("step $t$", name) for name in names]
    scores, *seeds = (lines_of(axes) for axes in figure.axes)
    np.testing.assert_array_equal(scores["climbed class"], TRAJECTORY.score)
    np.testing.assert_array_equal(scores["strongest other class"], TRAJECTORY.rival)
    for column, panel in enumerate(seeds):
        np.testing.assert_array_equal(panel["best threshold"], TRAJECTORY.oracle[:, column])
        np.testing.assert_array_equal(panel["threshold 0.4"], TRAJECTORY.fixed[:, column])
    assert legend_texts(figure) == ["climbed class", "strongest other class", "best threshold", "threshold 0.4"]


def test_amplification_has_a_panel_a_run_and_one_vertical_axis():
    figure = amplification_figure(AMPLIFICATION)
    assert [axes.get_title() for axes in figure.axes] == ["λ = 0", "λ = 1"]
    assert labels(figure)[0] == ("step $t$", "amplification")
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_yscale() == "log", "a ratio of 2 and one of 1/2 are as far from 1"
    found = lines_of(figure.axes[1])
    np.testing.assert_allclose(found["$R_D$, ratio of sums"], np.median(AMPLIFICATION[1].discriminative, axis=0))
    np.testing.assert_allclose(
        found["$R_{ND}$, mean of ratios"], np.median(AMPLIFICATION[1].non_discriminative_mean, axis=0)
    )
    assert len(legend_texts(figure)) == 4


def test_landscape_has_the_climb_across_and_shares_its_levels():
    figure = landscape_figure([*PLANES, *PLANES], "cross entropy")
    *planes, first_bar, second_bar = figure.axes
    assert [axes.get_title(loc="left") for axes in planes] == ["a cat", "", "a cat", ""]
    assert planes[2].get_xlabel() == "along the climb (climb lengths)"
    assert planes[3].get_xlabel() == "along the attack (climb lengths)"
    assert planes[0].get_ylabel() == "random direction"
    assert [bar.get_ylabel() for bar in (first_bar, second_bar)] == ["cross entropy"] * 2
    assert [[text.get_text() for text in axes.texts] for axes in planes[:2]] == [["$x^0$", "$x^T$"], ["$x^0$"]]
    first, second = (axes.collections[0] for axes in planes[:2])
    np.testing.assert_array_equal(first.levels, second.levels)
    # Levels from -1 to 2 in steps of 0.25. The loss of the climb is a, which runs across: the lowest level is a strip.
    np.testing.assert_allclose(first.levels, np.linspace(-1, 2, 13))
    strip = first.get_paths()[0].vertices
    np.testing.assert_allclose([strip.min(axis=0), strip.max(axis=0)], [[-1, -1], [-0.75, 1]])


def test_a_flat_landscape_can_be_drawn():
    flat = LandscapePlanes("flat", GRID, np.zeros((5, 5)), np.zeros((5, 5)))
    assert len(render(landscape_figure([flat], "cross entropy"), "png")) > 1000


def test_a_name_is_no_formula_and_a_long_one_is_cut():
    rows = [LandscapePlanes(title, GRID, PLANES[0].climb, PLANES[0].attack) for title in ("$\\no$ $x", "a" * 90 + "b")]
    figure = landscape_figure(rows, "cross entropy")
    first, second = (figure.axes[i].get_title(loc="left") for i in (0, 2))
    assert first == r"\$\no\$ \$x"
    assert second == "..." + "a" * 60 + "b"
    assert len(render(figure, "png")) > 1000


def test_lines_show_every_climb_and_the_median():
    figure = lines_figure(LINES)
    assert labels(figure) == [
        ("distance from the picture (climb lengths)", "cross entropy"),
        ("distance from the picture (climb lengths)", "class score (before softmax)"),
    ]
    loss = figure.axes[0]
    assert len(loss.lines) == 2 * (3 + 1)
    np.testing.assert_allclose(lines_of(loss)["along the attack (median)"], np.median(LINES.attack_loss, axis=0))
    np.testing.assert_allclose(
        lines_of(figure.axes[1])["along the climb (median)"], np.median(LINES.climb_score, axis=0)
    )


def test_sweeps_name_values_and_ring_the_base():
    figure = sweeps_figure(SWEEPS, 0.4)
    penalty, others = figure.axes
    assert labels(figure) == [("penalty $λ$", "mIoU (%)"), ("other classes", "")]
    assert [text.get_text() for text in penalty.get_xticklabels()] == ["0", "0.3", "1"]
    assert [text.get_text() for text in others.get_xticklabels()] == ["none", "all"]
    np.testing.assert_array_equal(lines_of(penalty)["best threshold"], [60, 62, 61])
    np.testing.assert_array_equal(lines_of(penalty)["threshold 0.4"], [50, 52, 55])
    rings = [line for line in penalty.lines if line.get_markerfacecolor() == "none"]
    assert [(*ring.get_xdata(), *ring.get_ydata()) for ring in rings] == [(2, 61), (2, 55)]
    assert not [line for line in others.lines if line.get_markerfacecolor() == "none"]


def test_many_values_do_not_crowd_the_axis():
    panel = SweepPanel("steps $T$", [str(t) for t in range(28)], [1.0] * 28, [2.0] * 28, 27)
    shown = [text.get_text() for text in sweeps_figure([panel], 0.4).axes[0].get_xticklabels()]
    assert 5 <= len(shown) <= 8
    assert shown[0] == "0"
    assert len({int(b) - int(a) for a, b in pairwise(shown)}) == 1


def test_runs_of_different_length_share_a_panel():
    figure = steps_figure(PANELS)
    assert labels(figure) == [("step $t$", "mIoU at the best threshold (%)")]
    assert {name: len(values) for name, values in lines_of(figure.axes[0]).items()} == {"0": 5, "1": 3}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_the_page_and_keep_their_text(name: str):
    figure = FIGURES[name]()
    assert 5 <= figure.get_size_inches()[0] <= 7.2
    pdf = render(figure, "pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/Type /Font" in pdf, "text is text, not outlines"


def test_pixels_are_fine_enough_for_print():
    figure = FIGURES["sweeps"]()
    with Image.open(io.BytesIO(render(figure, "png"))) as picture:
        assert picture.info["dpi"][0] == pytest.approx(300, abs=1)
        assert picture.width == round(300 * figure.get_size_inches()[0])
        assert picture.convert("L").getextrema() == (0, 255)


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_the_same_data_give_the_same_file(kind: Literal["png", "pdf"]):
    assert render(FIGURES["sweeps"](), kind) == render(FIGURES["sweeps"](), kind)


@pytest.mark.parametrize("name", FIGURES)
def test_text_can_be_read_in_print(name: str):
    figure = FIGURES[name]()
    texts = [text for axes in figure.axes for text in [*axes.get_xticklabels(), axes.xaxis.label, axes.yaxis.label]]
    assert min(text.get_fontsize() for text in texts) >= 7


@pytest.mark.parametrize("name", FIGURES)
def test_lines_of_one_panel_differ_in_more_than_colour(name: str):
    for axes in FIGURES[name]().axes:
        named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        looks = [(line.get_linestyle(), line.get_marker(), line.get_color()) for line in named]
        assert len(set(looks)) == len(looks)


def test_no_global_state_is_touched():
    before = dict(mpl.rcParams)
    for make in FIGURES.values():
        make()
    render(FIGURES["sweeps"](), "pdf")
    assert dict(mpl.rcParams) == before
    code = "import sys; import advcam.report.analysis_figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
