"""The figures of `effort.py`: two tables in Markdown, and quality over cost for both data sets."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_TITLES = {"voc": "PASCAL VOC 2012, 20 classes", "pets": "Oxford-IIIT Pet, foreground"}
_LINES = {"even": "as many steps at every scale", "quarter": "a quarter of the steps at half size"}
_MARKS = {"without scale 2": "v", "without scale 0.5": "^", "T =": "s", "plain maps": "x"}


def table(found: dict[str, Any]) -> str:
    """Schedules with both data sets beside each other, then the options."""
    voc, pets = ([row for row in found["schedules"] if row["data"] == data] for data in _TITLES)
    lines = ["| schedule | passes | VOC | at 0.3 | validated | Pets | at 0.3 | validated |", "|---|" + "---|" * 7]
    for a, b in zip(voc, pets, strict=True):
        cells = [a["name"], f"{a['passes']:.4g}"]
        for row in (a, b):
            oracle = f"{row['oracle']:.1f} ({row['threshold']:.2f})"
            cells += [oracle, f"{row['default']:.1f}", f"{row['validated']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| option | data | pictures | passes | without | oracle mIoU | without | correlation |",
        "|---|" + "---|" * 7,
    ]
    for row in found["options"]:
        cells = [row["name"], row["data"], str(row["pictures"]), f"{row['passes']:.4g}", f"{row['passes_without']:.4g}"]
        lines.append(
            "| "
            + " | ".join([*cells, f"{row['oracle']:.1f}", f"{row['without']:.1f}", f"{row['correlation']:.4f}"])
            + " |"
        )
    return "\n".join(lines) + "\n"


def write_plot(path: Path, found: dict[str, Any]) -> None:
    """One panel a data set."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for axis, (data, title) in zip(axes, _TITLES.items(), strict=True):
        _panel(axis, [row for row in found["schedules"] if row["data"] == data], found["efforts"])
        axis.set(title=title, xlabel="passes of one view at scale 1 (picture, class)", ylabel="mIoU of seeds, %")
        axis.set_xscale("log")
        axis.margins(y=0.08)
        axis.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
        axis.minorticks_off()
    axes[0].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis: Axes, rows: list[dict[str, Any]], efforts: dict[str, int]) -> None:
    for start, label in _LINES.items():
        line = [row for row in rows if row["name"].startswith(f"{start}, ")]
        axis.plot([row["passes"] for row in line], [row["oracle"] for row in line], "o-", ms=3, label=label)
    for start, mark in _MARKS.items():
        some = [row for row in rows if row["name"].startswith(start)]
        names = {"T =": "half of the steps at double size", "plain maps": "plain maps with the same weights"}
        axis.plot(
            [row["passes"] for row in some],
            [row["oracle"] for row in some],
            mark,
            ms=6,
            label=names.get(start, start),
        )
    for name, t in efforts.items():
        (row,) = (row for row in rows if row["name"] == f"quarter, T = {t}")
        note = name + (" (without flips)" if name == "paper" else "")
        axis.annotate(note, (row["passes"], row["oracle"]), xytext=(-4, 6), textcoords="offset points", ha="right")
