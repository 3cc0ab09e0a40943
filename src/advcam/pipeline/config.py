"""What a user can set of a localization run, validated once, written beside the result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError

from advcam.errors import AdvcamError, RunError, SettingError, one_line
from advcam.store.files import write_text
from advcam.store.places import Place, place
from advcam.store.run import JSON
from advcam.types import DEFAULT_THRESHOLD, BoxContours
from advcam.untrusted import parse_json

#: Name of the file in which a run keeps what it was asked for.
SETTINGS = "settings.json"


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnySettings = TypeVar("AnySettings", bound=Settings)

Out: TypeAlias = Annotated[Place, PlainValidator(place), PlainSerializer(str)]
"""Where a run lies: a folder, or a URL of an object store."""


class ModelSettings(Settings):
    """The classifier; see `advcam.load_classifier`."""

    model: str = "lite0"
    weights: Path | None = None
    class_names: Path | None = None
    num_classes: int | None = Field(default=None, ge=1)
    output_stride: Literal[8, 16, 32] | None = None
    multi_label: bool = False
    device: str = "cpu"


class MethodSettings(Settings):
    """The attribution method; None leaves a value to the method. See `advcam.AdvCAM`."""

    method: str = "advcam"
    variant: Literal["paper", "published"] | None = None
    effort: Literal["fast", "balanced", "paper"] | None = None
    iterations: int | None = None
    small_iterations: int | None = None
    step_size: float | None = None
    penalty: float | None = None
    mask_threshold: float | None = None
    other_classes: int | str | None = None
    step_norm: Literal["max", "rms", "raw"] | None = None
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    fusion: Literal["sum", "geometric"] | None = None
    max_side: int | None = None
    momentum: float | None = None
    stop: float | None = None
    size_grid: int | None = None
    precision: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    batch_size: int | None = None
    compiled: bool | None = None

    def deciding(self) -> dict[str, Any]:
        """What decides the maps, as JSON: everything but what only decides how fast they come."""
        return self.model_dump(mode="json", exclude={"batch_size", "compiled", "precision"})

    def chosen(self) -> dict[str, Any]:
        """The arguments for `create_method`: what was set."""
        return {name: value for name, value in self if name != "method" and value is not None}


class OutputSettings(Settings):
    """What is made of the maps."""

    threshold: float = Field(default=DEFAULT_THRESHOLD, ge=0, le=1)
    boxes: BoxContours = "largest"
    overlays: bool = True
    report_pictures: int = Field(default=24, ge=0)


class LocalizeSettings(Settings):
    """A localization run; of a data set `limit` takes so many pictures, evenly spread.

    `shard_pictures` consecutive pictures are worked on by one process and kept in one file.

    Of a recipe, `supervision` says for the report what chose its threshold, and `labelled` which pictures did.
    """

    inputs: tuple[str, ...] = ()
    labels: str = "data"
    data: Path | None = None
    split: str | None = None
    layout: str | None = None
    limit: int | None = Field(default=None, ge=1)
    groups: Path | None = None
    out: Out
    top: int = Field(default=1, ge=1)
    shard_pictures: int = Field(default=64, ge=1)
    supervision: str = ""
    labelled: tuple[str, ...] = ()
    model: ModelSettings = ModelSettings()
    method: MethodSettings = MethodSettings()
    outputs: OutputSettings = OutputSettings()

    def sections(self, classifier: str, precision: str) -> dict[str, dict[str, JSON]]:
        """The two sections of the run's config.json: what decides the maps, and what is made of them.

        Device and batch size decide neither; the classifier counts by the fingerprint of its weights, the precision as
        what "auto" means where the run is.
        """
        maps = self.method.deciding() | {"precision": precision}
        maps |= {"model": self.model.model, "classifier": classifier, "top": self.top}
        if self.labels == "predicted":  # given labels are compared picture by picture, these are known only by the maps
            maps["labels"] = self.labels
        if self.groups is not None:
            maps["groups"] = self.groups.read_text(encoding="utf-8")
        return {"maps": maps, "outputs": self.outputs.model_dump(mode="json", exclude={"report_pictures"})}


def keep_settings(folder: Place, settings: Settings) -> None:
    """Keep what a run was asked for beside its result, so that `advcam verify` can make anew what is damaged.

    All but where it lies: it may be moved.

    Raises:
        RunError: The file cannot be written.
    """
    write_text(folder / SETTINGS, settings.model_dump_json(indent=1, exclude={"out"}) + "\n")


def kept_settings(folder: Place, kind: type[AnySettings]) -> AnySettings:
    """What the run in a folder was asked for.

    Raises:
        RunError: The file is missing or damaged.
    """
    path = folder / SETTINGS
    try:
        return validated(kind, {**parse_json(path.read_bytes()), "out": folder})
    except (OSError, ValueError, TypeError) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else one_line(error)
        raise RunError(
            f"{path} cannot be read ({reason}); give the command of this run again, which writes it anew"
        ) from error


def localize_settings(**values: object) -> LocalizeSettings:
    """Validated settings.

    Raises:
        SettingError: A value of the wrong type or out of range; one line for the first of them.
    """
    return validated(LocalizeSettings, values)


def validated(kind: type[AnySettings], values: Mapping[str, object]) -> AnySettings:
    """Settings of a kind from values.

    Raises:
        SettingError: A value of the wrong type or out of range, or an unknown key; one line for the first of them.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(own := first.get("ctx", {}).get("error"), AdvcamError):
            raise own from error
        where = next(
            (str(key) for key in first["loc"] if key not in ("method", "model", "outputs", "inference")), "settings"
        )
        raise SettingError(f"{where.replace('_', '-')}: {first['msg']}; got {first['input']!r}") from error
