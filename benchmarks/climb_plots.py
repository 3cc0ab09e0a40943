"""The figures of `climb.py` as tables in Markdown and as one plot."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_SECTIONS = (
    "memory",
    "equal T and scales",
    "balanced",
    "utilisation",
    "throughput",
    "many pictures",
    "plain",
    "projection",
)


def table(found: dict[str, Any]) -> str:
    """Every section as a table under its name."""
    parts = [f"{found['device']}; torch {found['torch']}; {found['network']}"]
    return "\n\n".join(parts + [_rows(name, found[name]) for name in _SECTIONS if name in found]) + "\n"


def _rows(name: str, rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row[key]) for key in names) + " |" for row in rows]
    return f"**{name}**\n\n" + "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 1e6 else f"{value / 1e12:.3f} T"
    if isinstance(value, tuple | list):
        return " x ".join(str(one) for one in value) if len(value) == 2 else ", ".join(str(one) for one in value)
    return str(value)


def write_plot(path: Path, found: dict[str, Any]) -> None:
    """Pictures a second over each thing that was varied, time over the number of pictures, plain CAM against peers."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, name in zip(axes.flat, ("batch", "size", "classes", "T"), strict=False):
        rows = [row for row in found["throughput"] if row["varied"] == name]
        values = [row[name][0] * row[name][1] / 1e3 if name == "size" else row[name] for row in rows]
        axis.plot(values, [row["pictures_per_s"] for row in rows], "o-")
        axis.set(xlabel={"size": "thousand pixels", "batch": "batch size"}.get(name, name), ylabel="pictures / s")
        axis.set(xscale="log", ylim=(0, 1.1 * max(row["pictures_per_s"] for row in rows)))
        axis.set_xticks(values, [f"{value:.0f}" for value in values])
        axis.minorticks_off()
    axis = axes[1, 1]
    many = found["many pictures"]
    axis.plot([row["pictures"] for row in many], [row["seconds"] for row in many], "o-", label="seconds")
    axis.plot([row["pictures"] for row in many], [row["peak_gb"] for row in many], "s--", label="peak memory, GB")
    axis.set(xlabel="pictures", ylim=(0, None))
    axis.legend()
    axis = axes[1, 2]
    plain = sorted(found["plain"], key=lambda row: row["ms_per_picture"])
    axis.barh(
        [row["what"].replace(" of ", "\nof ").replace(", ", ",\n") for row in plain],
        [row["ms_per_picture"] for row in plain],
    )
    axis.set(xlabel="ms a picture, plain maps")
    axis.tick_params(axis="y", labelsize=7)
    figure.suptitle(f"{found['network']} on {found['device']}")
    figure.savefig(path, dpi=110)
    plt.close(figure)
