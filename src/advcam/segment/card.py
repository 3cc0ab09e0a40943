"""The model card of a segmentation network: what it is, what it learnt from, how good it is and where it is not.

MODEL_CARD.md is for people, model_card.json has the same facts for programs. Both lie beside the weights and go with
them, so neither names a place on the machine that trained: of a path the last name is left. What is not known is said
to be unknown.
"""

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path, PurePath, PureWindowsPath

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

import advcam
from advcam.errors import SettingError
from advcam.segment.export import BACKGROUND
from advcam.store.files import write_text
from advcam.store.run import JSON

FORMAT_VERSION = 1
CARD_FILE, CARD_FACTS_FILE = "MODEL_CARD.md", "model_card.json"
#: Packages that decide what a network is and answers.
PACKAGES = ("torch", "torchvision", "timm", "segmentation-models-pytorch", "numpy", "pillow")
_UNKNOWN = "unknown"
_WEAKEST = 3


@dataclass(frozen=True)
class CardData:
    """Pictures that the network learnt from.

    Args:
        name: Of the data set's root folder, or of the data set.
        layout: Such as "voc2012".
        split: Such as "train".
        pictures: How many.
        digest: Tells whether another training had the same pictures; empty where it is not known.
    """

    name: str
    layout: str
    split: str
    pictures: int
    digest: str = ""


@dataclass(frozen=True)
class CardScore:
    """A score.

    Args:
        metric: Such as "mIoU".
        value: A share between 0 and 1.
        split: The pictures that it was measured on.
        pictures: How many they are.
        protocol: How it was measured: scales, flips, CRF, which classes were possible.
        supervision: Which truth any choice behind the score has seen.
        low, high: Ends of its confidence interval; None: there is none.
    """

    metric: str
    value: float
    split: str
    pictures: int
    protocol: str
    supervision: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for value in (self.value, self.low, self.high):
            if value is not None and not (math.isnan(value) or 0 <= value <= 1):
                raise SettingError(f"scores of a card are shares between 0 and 1; {self.metric} is {value:g}")


@dataclass(frozen=True)
class CardFacts:
    """What a card says. Empty strings, None and empty collections mean that it is not known.

    Args:
        title: Its first line.
        class_names: K classes, without the background.
        data: What it learnt from.
        supervision: What it learnt from in a sentence: pseudo-labels from image labels, true masks, or both.
        true_masks: True masks that it learnt from, or None.
        label_masks: How the masks came about, name and value, in order; paths are shortened.
        best_epoch: What chose the epoch that was kept, in words.
        network: Name and value: head, backbone, output stride.
        pretrained: Where the weights of the backbone come from, in words.
        settings: Of the training.
        scores: Of the network.
        class_iou: IoU of each class, the background too, a share; NaN or None where it is not defined.
        class_iou_of: The pictures of `class_iou`.
        seconds: That the training took.
        machine: Where it was trained; see `machine_of`.
        versions: Of packages; see `versions`.
        licences: Name and licence of what the weights derive from: data, pretrained weights.
        limits: Known ones, a sentence each.
    """

    title: str
    class_names: tuple[str, ...]
    data: tuple[CardData, ...]
    supervision: str
    true_masks: int | None
    label_masks: Mapping[str, JSON] = field(default_factory=dict)
    best_epoch: str = ""
    network: Mapping[str, JSON] = field(default_factory=dict)
    pretrained: str = ""
    settings: Mapping[str, JSON] = field(default_factory=dict)
    scores: tuple[CardScore, ...] = ()
    class_iou: Mapping[str, float | None] = field(default_factory=dict)
    class_iou_of: str = ""
    seconds: float | None = None
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


def card_text(facts: CardFacts) -> str:
    """The card in Markdown."""
    environment = Environment(
        loader=PackageLoader("advcam.segment", package_path=""),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "per_cent": _per_cent, "duration": _duration}
    known = card_json(facts)
    return environment.get_template("card.md.j2").render(
        **known,
        counted=sum(data.pictures for data in facts.data),
        weakest=_weakest(facts.class_iou),
        unscored=[name for name, iou in facts.class_iou.items() if not _defined(iou)],
        setting_rows=list(_flat(known["settings"])),
        mask_rows=list(_flat(known["label_masks"])),
        network_rows=list(_flat(known["network"])),
    )


def card_json(facts: CardFacts) -> dict[str, JSON]:
    """The facts as JSON; of paths the last name, of numbers that are none null."""
    return {"advcam_card": FORMAT_VERSION, **{name: _shown(value) for name, value in asdict(facts).items()}}


def write_card(folder: Path, facts: CardFacts) -> None:
    """Write MODEL_CARD.md and model_card.json into the folder of the weights.

    Raises:
        RunError: They cannot be written.
    """
    text = card_text(facts)
    write_text(folder / CARD_FACTS_FILE, json.dumps(card_json(facts), indent=1, ensure_ascii=False) + "\n")
    write_text(folder / CARD_FILE, text)


def versions() -> dict[str, str]:
    """Of advcam, Python, and the packages that are there."""
    found = {"advcam": advcam.__version__, "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine_of(device: torch.device) -> str:
    """The device in words: the name of the GPU, or the kind of processor and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    return device.type


def _shown(value: object) -> JSON:
    """A value as JSON that may be shown to anybody."""
    if isinstance(value, Mapping):
        return {str(name): _shown(entry) for name, entry in value.items()}
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, str):
        return _last_name(value) if _is_place(value) else value
    if isinstance(value, Sequence):
        return [_shown(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else str(value)


def _is_place(text: str) -> bool:
    """Whether a text is a path of a machine; "smp/unet" is none."""
    lone = "\n" not in text and ("/" in text or "\\" in text)
    return lone and (text.startswith(("/", "~", "./", "../")) or PureWindowsPath(text).is_absolute())


def _last_name(text: str) -> str:
    return PureWindowsPath(text).name  # takes / and \\


def _flat(values: JSON, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots and values of nested settings."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else name)
    elif isinstance(values, Sequence) and not isinstance(values, str):
        yield prefix, ", ".join(str(value) for value in values)
    else:
        yield prefix, "none" if values is None else str(values)


def _weakest(class_iou: Mapping[str, float | None]) -> list[tuple[str, float]]:
    scored = [(name, iou) for name, iou in class_iou.items() if iou is not None and _defined(iou)]
    scored = [pair for pair in scored if pair[0] != BACKGROUND]
    return sorted(scored, key=lambda pair: pair[1])[:_WEAKEST]


def _defined(iou: float | None) -> bool:
    return iou is not None and not math.isnan(iou)


def _cell(value: object) -> str:
    """Text inside a table or a line of Markdown."""
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _per_cent(value: float | None) -> str:
    return "not defined" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
