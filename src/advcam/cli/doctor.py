"""`advcam doctor`: versions, devices, memory, what is missing and how to get it."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass

import torch

from advcam.classifiers.catalogue import EMBEDDED, embedded_file, load_classifier
from advcam.errors import AdvcamError, one_line

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "pyarrow",
    "safetensors",
    "scikit-image",
)


@dataclass(frozen=True)
class Finding:
    """One line of the examination: what, its state, whether that is fine, and what to do about it."""

    what: str
    state: str
    fine: bool = True
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything that a run needs."""
    return [*_versions(), *_devices(), _memory(), _disk(), *_weights(), _trial()]


def _versions() -> list[Finding]:
    found = [Finding("Python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append(Finding(package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(package, "missing", False, f"pip install {package}"))
    return found


def _devices() -> list[Finding]:
    found = [Finding("cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(Finding(f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"))
    if torch.backends.mps.is_available():
        found.append(Finding("mps", "Apple GPU"))
    if len(found) == 1:
        found.append(Finding("GPU", "none found by torch; everything works on the CPU, slower"))
    return found


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "unknown on this system")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if total < 4:
        return Finding(
            "memory", f"{total:.1f} GiB", False, "close other programs, or use --max-side 384 --batch-size 1"
        )
    return Finding("memory", f"{total:.0f} GiB")


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 2**30
    remedy = "" if free >= 1 else "free some space or choose another --out"
    return Finding("disk here", f"{free:.0f} GiB free", not remedy, remedy)


def _weights() -> list[Finding]:
    found = []
    for name, entry in EMBEDDED.items():
        try:
            found.append(Finding(f"weights of {name}", f"{embedded_file(name).stat().st_size / 1e6:.0f} MB"))
        except (AdvcamError, OSError) as error:
            optional = entry.extra is not None
            state = "not installed (optional)" if optional else "not installed"
            found.append(Finding(f"weights of {name}", state, optional, one_line(error)))
    return found


def _trial() -> Finding:
    try:
        load_classifier()
    except AdvcamError as error:
        return Finding("trial", "the embedded classifier does not load", False, one_line(error))
    return Finding("trial", "the embedded classifier loads and answers")
