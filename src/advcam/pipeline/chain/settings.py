"""What a recipe of `advcam run` can say: the data, and one section for each stage."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from advcam.pipeline.config import MethodSettings, ModelSettings, OutputSettings, Settings
from advcam.segment.inference import InferenceSettings
from advcam.segment.settings import SegmenterSettings
from advcam.training.schedule import OptimizerName
from advcam.training.settings import ClassifierSettings

#: Steps of refinement, joined by "+": each works on the scores of the one before it, the first on the maps.
Refinement = str
_STEPS = ("crf", "irn", "affinity")


class GeneratedData(Settings):
    """A data set that is drawn, for a first run.

    Args:
        layout: See `advcam data layouts`.
        pictures: How many.
        seed: Decides what is drawn.
    """

    layout: str = "folders"
    pictures: int = Field(default=60, ge=1)
    seed: int = Field(default=0, ge=0)


class DataSettings(Settings):
    """The pictures.

    Args:
        root: Root folder of the data set: a public layout, folders of classes, or a table labels.csv.
        generated: Draw the data set where the root does not exist.
        layout: See `advcam data layouts`; found out where it is left out.
        train: Split whose labels the classifier learns; None: train, or the only split.
        val: Split that chooses its best epoch; None: val, or held out pictures of `train` where there is no val.
        holdout: Share of `train` that is held out where there is no `val`; 0 trains on everything.
        masks: Split that gets maps and masks; None takes `train`, held out pictures included.
        thresholds: Split with true masks or boxes whose pictures choose the threshold of the maps (train-fullsup in
            WSOL); they get maps, too. None: no truth decides it.
        test: Split whose pictures the segmentation network is shown in the end; None: val where there is one, else the
            pictures that it learnt from, each limited to the classes of its labels.
        limit: Most pictures of a split that get masks or maps, evenly spread, for a quick try; None takes all.
    """

    root: Path
    generated: GeneratedData | None = None
    layout: str | None = None
    train: str | None = None
    val: str | None = None
    holdout: float = Field(default=0.2, ge=0, lt=1)
    masks: str | None = None
    thresholds: str | None = None
    test: str | None = None
    limit: int | None = Field(default=None, ge=1)

    @property
    def masks_split(self) -> str:
        """The split that gets masks."""
        return self.masks or self.train or "train"


class CrfRefinement(Settings):
    """Dense CRF on the label masks of the maps.

    Args:
        threshold: Background of the label masks; None takes that of the maps.
        confidence: Probability that a label is right.
        kernels: Published set of constants: "deeplab" or "irn".
    """

    threshold: float | None = Field(default=None, ge=0, le=1)
    confidence: float = Field(default=0.7, gt=0, lt=1)
    kernels: Literal["deeplab", "irn"] = "deeplab"


class IrnRefinement(Settings):
    """IRN: confident labels, a network of boundaries trained on them, and the random walk.

    Args:
        conf_fg: A class is sure above it; None: 0.05 above the threshold of the maps.
        conf_bg: Background is sure below it; None: 0.15 below the threshold of the maps.
        epochs: Of the network.
        batch_size: Of the network.
        crop: Side of its inputs in pixels.
        lr: Learning rate; ten times as much for the displacements.
        optimizer: See `create_optimizer`; "sgd-published" has the published trap of momentum.
        weight_decay: Of the optimiser.
        power: Of the maps before the walk.
        beta: Exponent of the affinities.
        steps: Of the walk.
        instances: Write class-wise instance masks as well.
        seed: Of order and crops.
    """

    conf_fg: float | None = Field(default=None, ge=0, le=1)
    conf_bg: float | None = Field(default=None, ge=0, le=1)
    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=16, ge=1)
    crop: int = Field(default=512, ge=64, multiple_of=32)
    lr: float = Field(default=0.1, gt=0)
    optimizer: OptimizerName = "sgd-published"
    weight_decay: float = Field(default=1e-4, ge=0)
    power: float = Field(default=1.5, gt=0)
    beta: float = Field(default=10.0, gt=0)
    steps: int = Field(default=256, ge=1)
    instances: bool = False
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "IrnRefinement":
        if self.conf_fg is not None and self.conf_bg is not None and self.conf_bg > self.conf_fg:
            raise ValueError("thresholds crossed: conf_bg is at most conf_fg, for in between nothing is sure")
        return self


class AffinityRefinement(Settings):
    """Training-free averaging over neighbours of similar colour.

    Args:
        iterations: How often.
    """

    iterations: int = Field(default=30, ge=1)


class RefineSettings(Settings):
    """Refinement of the maps.

    Args:
        methods: Each is done and scored; the last gives the masks. "crf", "irn" and "affinity" start from the maps,
            "affinity+crf" from what "affinity", listed before it, left. Without any the masks are made of the maps.
        crf, irn, affinity: Constants of each.
    """

    methods: tuple[Refinement, ...] = ("crf",)
    crf: CrfRefinement = CrfRefinement()
    irn: IrnRefinement = IrnRefinement()
    affinity: AffinityRefinement = AffinityRefinement()

    @model_validator(mode="after")
    def _once(self) -> "RefineSettings":
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("name each refinement once")
        for place, method in enumerate(self.methods):
            unknown = [step for step in method.split("+") if step not in _STEPS]
            if unknown:
                raise ValueError(
                    f"no refinement is called {unknown[0]!r}; take {', '.join(_STEPS)}, or some joined by +"
                )
            before = method.rpartition("+")[0]
            if before and before not in self.methods[:place]:
                raise ValueError(f"{method} goes on from {before}; list {before} before it")
        return self


class PseudoLabelSettings(Settings):
    """Label masks; see `advcam.pseudo.PseudoSettings`.

    Args:
        threshold: None: 0.5 for the marginals of a CRF, that of the maps for the maps, else by the label-free rule.
        class_thresholds: By class name.
        background_power: In place of the threshold.
        band: Width of the band around the threshold that stays undecided (255).
        min_area: Share of the picture that a part of a class needs.
        boxes: The largest part of each class, or all.
    """

    threshold: float | None = Field(default=None, ge=0, le=1)
    class_thresholds: dict[str, float] = Field(default_factory=dict)
    background_power: float | None = None
    band: float = Field(default=0.0, ge=0, le=1)
    min_area: float = Field(default=0.0, ge=0, lt=1)
    boxes: Literal["largest", "all"] = "all"


class SegmentSettings(SegmenterSettings):
    """The segmentation network, on top of the settings of its training.

    Args:
        strong: True masks that it may learn, in semi-supervised training: a number, a share ("1/32") or a list file.
            The other pictures are weak. None: it learns pseudo-labels alone, or all that `label_masks` names.
        strong_seed: Of the draw of the strong pictures.
        validation: Split whose true masks choose the best epoch, which is supervision; None keeps the last one.
        confidence_weights: Pictures weigh as much as their pseudo-labels are sure (`confidence.csv`).
        self_training: Rounds of self-training: the network labels its pictures anew, each limited to the classes of its
            image labels, and another learns these.
        self_confidence: Probability below which a pixel stays undecided (255) in that.
        inference: How pictures are looked at in the end.
        onnx: Write the network as ONNX, too.
    """

    strong: str | None = None
    strong_seed: int = Field(default=0, ge=0)
    validation: str | None = None
    confidence_weights: bool = False
    self_training: int = Field(default=0, ge=0)
    self_confidence: float = Field(default=0.0, ge=0, lt=1)
    inference: InferenceSettings = InferenceSettings()
    onnx: bool = False

    @property
    def of_pseudo_labels(self) -> bool:
        """Whether something is asked for that pseudo-labels alone need."""
        return self.semi is not None or self.self_training > 0 or self.confidence_weights

    @property
    def training(self) -> SegmenterSettings:
        """The settings of one training, which are kept with the network."""
        return SegmenterSettings(**{name: getattr(self, name) for name in SegmenterSettings.model_fields})

    @model_validator(mode="after")
    def _one_way(self) -> "SegmentSettings":
        if (self.strong is None) != (self.semi is None):
            raise ValueError("semi-supervised training needs both: strong (which true masks) and semi (the method)")
        if self.semi is not None and (self.self_training or self.confidence_weights):
            raise ValueError(
                "self_training and confidence_weights are for pseudo-labels alone; leave them, or semi, out"
            )
        return self


class ScoringSettings(Settings):
    """Evaluation, where the pictures have true masks or boxes.

    Args:
        labelled: Pictures of the split that choose the validated threshold and are left out of the scores.
        resamples: Of the bootstrap intervals.
        seed: Of the labelled pictures and of the bootstrap.
    """

    labelled: int = Field(default=0, ge=0)
    resamples: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)


class ChainSettings(Settings):
    """A recipe.

    Args:
        data: The pictures.
        maps: A run of `advcam localize` whose maps are taken: nothing is trained or localized.
        train: The classifier's training; None takes the classifier of `model` as it is.
        model: The classifier where none is trained.
        localize: The attribution method.
        baseline: A method whose maps are scored beside those of `localize`, to see what the climb gained; None: none.
        threshold: Of the maps, for all that is made of them; None: the best on the split `data.thresholds`, or by the
            label-free rule where there is none.
        outputs: Of the localization.
        refine: Refinement of the maps.
        pseudo: Label masks.
        label_masks: Masks that were made before, for the segmentation network: the folder `pseudo` of a run, a folder
            of PNG files, or "true" for those of the data set. Nothing but the network is made.
        segment: The segmentation network that learns the masks; None: none.
        evaluate: Scores.
        device: Where everything is computed.
    """

    data: DataSettings
    maps: Path | None = None
    train: ClassifierSettings | None = None
    model: ModelSettings = ModelSettings()
    localize: MethodSettings = MethodSettings()
    baseline: Literal["cam"] | None = "cam"
    threshold: float | None = Field(default=None, ge=0, le=1)
    outputs: OutputSettings = OutputSettings()
    refine: RefineSettings = RefineSettings()
    pseudo: PseudoLabelSettings = PseudoLabelSettings()
    label_masks: Path | Literal["true"] | None = None
    segment: SegmentSettings | None = None
    evaluate: ScoringSettings = ScoringSettings()
    device: str = "cpu"

    @field_validator("label_masks", mode="before")
    @classmethod
    def _true_masks(cls, masks: object) -> object:
        return "true" if masks is True else masks  # YAML reads the word as a bool

    @model_validator(mode="after")
    def _one_classifier(self) -> "ChainSettings":
        if self.train is not None and "model" in self.model_fields_set:
            raise ValueError("a recipe trains a classifier (train) or names one (model), not both")
        if self.label_masks is not None and self.segment is None:
            raise ValueError("label_masks are what a segmentation network learns: add segment, or leave them out")
        if self.label_masks == "true" and self.segment is not None and self.segment.of_pseudo_labels:
            raise ValueError(
                "self_training, confidence_weights and semi are for pseudo-labels, and label_masks are the true masks; "
                "leave one of them out"
            )
        if self.train is not None and self.maps is not None:
            raise ValueError("maps are there already: leave train out, or maps")
        if self.data.thresholds is not None and self.maps is not None:
            raise ValueError("data.thresholds needs maps of its own split: leave it out, or maps")
        if self.data.thresholds is not None and self.evaluate.labelled:
            raise ValueError("a split chooses the threshold (data.thresholds) or some scored pictures, not both")
        return self
