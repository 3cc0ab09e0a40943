"""A segmentation network from masks to a folder and back; kills, semi-supervised training, and all that is refused."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import LabelError, ModelError, PictureError, RunError, SettingError, WeightsError
from advcam.evaluate.segmentation import ConfusionMatrix
from advcam.segment.inference import InferenceSettings, label_mask
from advcam.segment.pictures import MaskOf
from advcam.segment.segmenter import Masked, TrainedSegmenter, train_segmenter, validation_miou
from advcam.segment.settings import SegmenterSettings
from advcam.segment.trained import load_segmenter
from advcam.training import loop as loop_module
from advcam.types import Mask, Sample

NAMES = ("ellipse", "rectangle", "triangle", "wheel")
TOY = {
    "network": {"head": "linear", "model": "test_resnet", "weights": "random"},
    "objective": {"frozen_statistics": False},
    "crop": 64,
    "scales": (0.8, 1.2),
    "epochs": 2,
    "batch_size": 3,
    "precision": "float32",
}
CCT = {
    "method": "cct",
    "cct": {"dropout": 1, "vat": 1, "cutout": 0, "upscale": 1}
    | dict.fromkeys(("context_masking", "object_masking", "feature_drop", "feature_noise"), 0),
}
UNIMATCH = {"method": "unimatch", "unimatch": {"confidence": 0.3}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Eight pictures of 96 pixels in train and four in val, of four shapes, with true masks."""
    root = tmp_path_factory.mktemp("data") / "folders"
    write_dataset("folders", root, 12)
    return open_dataset(root)


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TrainedSegmenter:
    """A training with an average and a validation, to be looked at and copied."""
    folder = tmp_path_factory.mktemp("finished") / "segmenter"
    settings = {"objective": {"frozen_statistics": False, "average": 0.9}}
    return fit(dataset, folder, val=true_masks(dataset, "val"), **settings)


def true_masks(dataset: Dataset, split: str, mask_of: MaskOf | None = None, **more: object) -> Masked:
    def truth(sample: Sample) -> Mask:
        mask = dataset.mask(sample.id)
        assert mask is not None
        return mask

    return Masked(list(dataset.samples(split)), mask_of or truth, **more)


def fit(
    dataset: Dataset,
    folder: Path,
    masked: Masked | None = None,
    weak: Masked | None = None,
    val: Masked | None = None,
    names: Sequence[str] = NAMES,
    **settings: object,
) -> TrainedSegmenter:
    chosen = SegmenterSettings(**(TOY | settings))
    return train_segmenter(masked or true_masks(dataset, "train"), names, chosen, folder, weak=weak, val=val)


def halves(dataset: Dataset) -> tuple[Masked, Masked]:
    """Three strong pictures and five weak ones."""
    whole = true_masks(dataset, "train")
    return replace(whole, samples=whole.samples[:3]), replace(whole, samples=whole.samples[3:])


def constant(value: int) -> MaskOf:
    """Masks of one value, of the size of the picture."""

    def mask_of(sample: Sample) -> Mask:
        width, height = Image.open(sample.path).size
        return np.full((height, width), value, dtype=np.int32)

    return mask_of


def test_what_is_in_the_folder(dataset: Dataset, finished: TrainedSegmenter) -> None:
    files = ["best.safetensors", "classes.txt", "last.safetensors", "segmenter.json"]
    assert sorted(path.name for path in finished.folder.iterdir()) == files
    assert (finished.folder / "classes.txt").read_text().splitlines() == list(NAMES)
    facts = json.loads((finished.folder / "segmenter.json").read_text())
    masks = np.concatenate([dataset.mask(sample.id).ravel() for sample in dataset.samples("train")])
    assert facts["pixels"] == list(finished.pixels) == [int((masks == number).sum()) for number in range(5)]
    assert facts["steps"] == finished.training.step == 6
    assert [set(epoch) for epoch in facts["history"]] == [{"epoch", "training_loss", "lr", "miou"}] * 2
    assert (finished.unreadable, finished.warnings) == ({}, ())
    assert SegmenterSettings(**facts["settings"]).objective.average == 0.9


def test_what_is_loaded_answers_as_what_was_trained(dataset: Dataset, finished: TrainedSegmenter) -> None:
    """The average of the best epoch: its weights are those of the file, its mIoU the one that chose it."""
    loaded = load_segmenter(finished.folder)
    assert (loaded.class_names, loaded.device) == (NAMES, torch.device("cpu"))
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    state, best = load_file(finished.folder / "last.safetensors"), load_file(finished.folder / "best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in loaded.network.state_dict().items())
    if finished.training.best_epoch == finished.training.epoch:
        assert all(torch.equal(value, state[f"model.averaged.{name}"]) for name, value in best.items())
    assert any(not torch.equal(value, state[f"model.network.{name}"]) for name, value in best.items())
    assert validation_miou(loaded.network, true_masks(dataset, "val")) == {"miou": finished.training.best}


def test_the_metric_is_that_of_whole_pictures(dataset: Dataset, finished: TrainedSegmenter) -> None:
    network, matrix = load_segmenter(finished.folder).network, ConfusionMatrix(5)
    for sample in dataset.samples("val"):
        answer = label_mask(network, np.asarray(read_picture(sample.path)), InferenceSettings(flip=False))
        matrix.add(dataset.mask(sample.id), answer)
    assert finished.training.best == matrix.scores().miou


def test_a_run_is_known_by_its_folder(finished: TrainedSegmenter) -> None:
    run = finished.folder.parent
    assert load_segmenter(run).class_names == load_segmenter(run / "segmenter").class_names


def test_shapes_are_learnt(dataset: Dataset, tmp_path: Path) -> None:
    """A linear head on the embedded features tells objects from background."""
    network = {"head": "linear", "model": "lite0", "trained": "head"}
    settings = {"network": network, "objective": {"loss": "balanced"}, "epochs": 12, "lr": 1e-4, "batch_size": 4}
    result = fit(dataset, tmp_path, **settings).training
    losses = [epoch["training_loss"] for epoch in result.history]
    assert losses[-1] < 0.6 * losses[0]
    matrix, network = ConfusionMatrix(2), load_segmenter(tmp_path).network
    for sample in dataset.samples("train"):
        answer = label_mask(network, np.asarray(read_picture(sample.path)))
        truth = dataset.mask(sample.id)
        matrix.add(np.where(truth == 255, 255, np.minimum(truth, 1)), np.minimum(answer, 1))
    scores = matrix.scores()
    assert scores.foreground_recall > 0.4
    assert scores.foreground_precision > 0.18, "an eighth of the pixels are an object's"


def test_a_finished_training_is_left_alone(dataset: Dataset, finished: TrainedSegmenter, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    settings = {"objective": {"frozen_statistics": False, "average": 0.9}, "accumulate": 3, "log_every": 1}
    again = fit(dataset, folder, val=true_masks(dataset, "val"), **settings)
    assert again.training == finished.training
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in after if name != "segmenter.json"} == {
        name: before[name] for name in before if name != "segmenter.json"
    }


def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch, dataset: Dataset, folder: Path, **how: object) -> None:
    """A training that ends in the middle of a step."""
    done: list[float] = []

    def check(loss: float, *_: object) -> None:
        done.append(loss)
        if len(done) > steps:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "check_loss", check)
        with pytest.raises(KeyboardInterrupt):
            fit(dataset, folder, **how)


@pytest.mark.parametrize("semi", [None, CCT, UNIMATCH], ids=["supervised", "cct", "unimatch"])
def test_a_killed_training_goes_on_bit_for_bit(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, semi: dict[str, object] | None
) -> None:
    """Average, auxiliary decoders and ramps included, killed in the second epoch."""
    how: dict[str, object] = {"objective": {"frozen_statistics": False, "average": 0.9}, "semi": semi}
    if semi is not None:
        how["masked"], how["weak"] = halves(dataset)
    fit(dataset, tmp_path / "through", **how)
    steps = 4 if semi is None else 3
    killed_after(steps, monkeypatch, dataset, tmp_path / "killed", save_minutes=0, **how)
    assert not (tmp_path / "killed" / "segmenter.json").exists()
    with pytest.raises(RunError, match="holds no trained segmentation network"):
        load_segmenter(tmp_path / "killed")
    fit(dataset, tmp_path / "killed", save_minutes=0, **how)
    for name in ("last.safetensors", "best.safetensors"):
        expected, resumed = load_file(tmp_path / "through" / name), load_file(tmp_path / "killed" / name)
        assert expected.keys() == resumed.keys()
        assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    if semi is CCT:
        assert any(key.startswith("model.decoders.") for key in load_file(tmp_path / "through" / "last.safetensors"))
        assert not any("decoders" in key for key in load_file(tmp_path / "through" / "best.safetensors"))
        load_segmenter(tmp_path / "through")


def test_weights_of_pictures_reach_the_loss(dataset: Dataset, tmp_path: Path) -> None:
    """A picture of weight 0 teaches nothing, whatever its mask says."""
    first = next(iter(dataset.samples("train")))
    weights, truth = {first.id: 0.0}, true_masks(dataset, "train").mask_of

    def wrong(sample: Sample) -> Mask:
        mask = truth(sample)
        return mask[::-1].copy() if sample.id == first.id else mask

    how = {"epochs": 1, "objective": {"frozen_statistics": True}}
    for folder, mask_of in (("right", truth), ("wrong", wrong)):
        fit(dataset, tmp_path / folder, true_masks(dataset, "train", mask_of, weights=weights), **how)
    fit(dataset, tmp_path / "all", true_masks(dataset, "train", wrong), **how)
    right, other, all_ = (load_file(tmp_path / name / "best.safetensors") for name in ("right", "wrong", "all"))
    assert all(torch.equal(right[name], other[name]) for name in right)
    assert not torch.equal(right["head.0.weight"], all_["head.0.weight"])


def test_another_training_in_the_folder(dataset: Dataset, finished: TrainedSegmenter, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    how = {"objective": {"frozen_statistics": False, "average": 0.9}, "val": true_masks(dataset, "val")}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for other, words in (
        ({"lr": 0.5}, "lr was 0.0003, is now 0.5"),
        ({"names": (*NAMES[:3], "Rad")}, 'class_names.3 was "wheel", is now "Rad"'),
        ({"masked": true_masks(dataset, "train", constant(1))}, "samples was "),
        ({"val": true_masks(dataset, "val", constant(1))}, "samples was "),
    ):
        with pytest.raises(RunError) as caught:
            fit(dataset, folder, **(how | other))
        assert f"{folder} holds a training with other settings: {words}" in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_other_weak_masks_are_another_training(dataset: Dataset, tmp_path: Path) -> None:
    strong, weak = halves(dataset)
    how = {"semi": UNIMATCH, "epochs": 1}
    fit(dataset, tmp_path, strong, weak, **how)
    with pytest.raises(RunError, match="holds a training with other settings: samples was "):
        fit(dataset, tmp_path, strong, replace(weak, mask_of=constant(2)), **how)


def test_masks_that_do_not_fit_are_named_before_anything_is_done(dataset: Dataset, tmp_path: Path) -> None:
    first, second, *_ = dataset.samples("train")
    truth = true_masks(dataset, "train").mask_of

    def small(sample: Sample) -> Mask:
        return truth(sample)[:-1] if sample.id == first.id else truth(sample)

    def foreign(sample: Sample) -> Mask:
        return np.full_like(truth(sample), 7) if sample.id == second.id else truth(sample)

    def both(sample: Sample) -> Mask:
        return foreign(sample) if sample.id == second.id else small(sample)

    for mask_of, words in (
        (small, f"1 mask of another size (make them from the pictures as they are shown): {first.id} (the mask has "),
        (foreign, f"1 mask with values of no class (name all classes, or make them anew): {second.id} (the mask holds"),
        (both, f"; 1 mask with values of no class (name all classes, or make them anew): {second.id} (the mask holds"),
    ):
        wrong = true_masks(dataset, "train", mask_of)
        strong, weak = halves(dataset)
        for how in (
            {"masked": wrong},
            {"masked": strong, "weak": replace(wrong, samples=wrong.samples[:2]), "semi": UNIMATCH},
            {"val": wrong},
        ):
            if "weak" in how:
                how["masked"] = replace(strong, samples=weak.samples)
            with pytest.raises(PictureError) as caught:
                fit(dataset, tmp_path / "run", **how)
            assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_nothing_to_learn_from(dataset: Dataset, tmp_path: Path) -> None:
    blank = true_masks(dataset, "train", constant(255))
    gone = replace(blank, samples=[Sample("gone.jpg", tmp_path / "gone.jpg", ("wheel",))])
    for masked, error, words in (
        (replace(blank, samples=[]), SettingError, "no pictures to train with; name pictures and their masks"),
        (blank, PictureError, "all 8 masks are undecided (255) everywhere; make pseudo-labels with a smaller band"),
        (gone, PictureError, "not one of the pictures can be read; the first: gone.jpg: "),
    ):
        with pytest.raises(error) as caught:
            fit(dataset, tmp_path / "run", masked)
        assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_a_reader_should_know(dataset: Dataset, tmp_path: Path) -> None:
    """A class without a pixel, a mask and a crop without a decided one, and pictures that cannot be read."""
    first, _, second, third, *_ = samples = list(dataset.samples("train"))
    truth = true_masks(dataset, "train").mask_of
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(third.path.read_bytes()[:-300])
    absent = Sample("gone.jpg", tmp_path / "gone.jpg", ("wheel",))

    def masks(sample: Sample) -> Mask:
        if sample.id == "cut.jpg":
            return truth(third)
        mask = np.where(truth(sample) == 3, 0, truth(sample)).astype(np.int32)
        if sample.id == first.id:
            mask[:] = 255
        if sample.id == second.id:
            mask[:] = 255
            mask[-1, -1] = 0
        return mask

    samples = [*samples, Sample("cut.jpg", cut, ("wheel",)), absent]
    masked = Masked([s for s in samples if "triangle" not in (s.labels or ())], masks)
    val = Masked([*dataset.samples("val"), replace(absent, id="lost.jpg")], truth)
    result = fit(dataset, tmp_path / "run", masked, val=val, crop=32, epochs=1, scales=(2.0, 2.0), workers=1)
    assert result.warnings == (
        "triangle is in no mask: the network cannot learn what it is never shown",
        "1 mask left out: undecided (255) everywhere",
        "1 picture gave a crop without a decided pixel; others took their place",
    )
    assert set(result.unreadable) == {"cut.jpg", "gone.jpg", "lost.jpg"}
    facts = json.loads((tmp_path / "run" / "segmenter.json").read_text())
    assert facts["warnings"] == list(result.warnings)
    assert facts["unreadable"] == dict(result.unreadable)


def test_weak_masks_show_a_class_too(dataset: Dataset, tmp_path: Path) -> None:
    strong, weak = halves(dataset)
    background = replace(strong, mask_of=constant(0))
    result = fit(dataset, tmp_path, background, weak, semi=UNIMATCH, epochs=1)
    shown = {label for sample in weak.samples for label in sample.labels or ()}
    absent = [name for name in NAMES if name not in shown]
    assert len(absent) < len(NAMES)
    assert [line.split(" in no mask")[0] for line in result.warnings] == ([f"{', '.join(absent)} is"] if absent else [])


def test_a_validation_without_a_picture(dataset: Dataset, finished: TrainedSegmenter, tmp_path: Path) -> None:
    val = true_masks(dataset, "val")
    lost = replace(val, samples=[Sample("lost.jpg", tmp_path / "lost.jpg", None)])
    with pytest.raises(PictureError, match="no picture to choose the epoch by can be read; the first: "):
        validation_miou(load_segmenter(finished.folder).network, lost)


def test_semi_supervised_settings_that_do_not_go_together(dataset: Dataset, tmp_path: Path) -> None:
    strong, weak = halves(dataset)
    whole = true_masks(dataset, "train")
    for how, words in (
        ({"weak": weak}, "semi-supervised training needs both: weak pictures, and the method in semi"),
        ({"semi": CCT}, "semi-supervised training needs both: weak pictures, and the method in semi"),
        ({"weak": whole, "semi": CCT}, "3 pictures in the list of strong and in that of weak pictures (train/"),
        (
            {"weak": replace(weak, weights={"a": 0.5}), "semi": CCT},
            "semi-supervised training takes no weights of pictures; leave them out",
        ),
    ):
        with pytest.raises(SettingError) as caught:
            fit(dataset, tmp_path / "run", strong, **how)
        assert words in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValidationError) as invalid:
        SegmenterSettings(semi={"method": "unimatch"}, objective={"multi_scale": True})
    assert "UniMatch sees each picture at one scale; switch objective.multi_scale off" in str(invalid.value)
    assert SegmenterSettings(semi={"method": "cct"}, objective={"multi_scale": True}).objective.multi_scale


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scales": (2.0, 1.0)}, "scales are a lower and a higher factor above 0; got 2 and 1"),
        ({"crop": 100, "network": {"head": "smp/unet"}}, "smp/unet takes a crop that 32 divides; got 100"),
        ({"crop": 31}, "greater than or equal to 32"),
        ({"epoch": 3}, "epoch"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SegmenterSettings(**wrong)
    assert words in str(caught.value)


def test_batch_normalisations_of_a_head_need_two_pictures(dataset: Dataset, tmp_path: Path) -> None:
    network = {"head": "smp/deeplabv3plus", "model": "test_resnet", "weights": "random"}
    for settings, words in (
        ({"batch_size": 7}, "with 8 pictures, batch_size 7 and accumulate 1 one has 1; set drop_last=true"),
        ({"batch_size": 4, "accumulate": 4}, "with 8 pictures, batch_size 4 and accumulate 4 one has 1; "),
        ({"batch_size": 2, "accumulate": 4}, "with 8 pictures, batch_size 2 and accumulate 4 one has 1; "),
    ):
        with pytest.raises(SettingError) as caught:
            fit(dataset, tmp_path / "run", network=network, **settings)
        assert f"smp/deeplabv3plus has batch normalisations and needs 2 pictures in every pass; {words}" in str(
            caught.value
        )
    assert not (tmp_path / "run").exists()
    fit(dataset, tmp_path / "run", network=network, batch_size=7, drop_last=True, epochs=1)
    assert load_segmenter(tmp_path / "run").settings.network.head == "smp/deeplabv3plus"


def test_networks_and_devices_that_are_not_there(dataset: Dataset, finished: TrainedSegmenter, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no head is called 'deeplab'"):
        fit(dataset, tmp_path / "run", network={"head": "deeplab"})
    with pytest.raises(ModelError, match="cuda:77"):
        train_segmenter(
            true_masks(dataset, "train"), NAMES, SegmenterSettings(**TOY), tmp_path / "run", device="cuda:77"
        )
    with pytest.raises(ModelError, match="cuda:77"):
        load_segmenter(finished.folder, "cuda:77")
    assert not (tmp_path / "run").exists()


def test_folders_without_a_network(finished: TrainedSegmenter, tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        load_segmenter(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no trained segmentation network (segmenter.json is missing); name the --out of advcam "
        "segment or advcam run, or finish its training"
    )
    folder = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    facts = json.loads((folder / "segmenter.json").read_text())
    for content in (
        "",
        "[]",
        "null",
        json.dumps(facts | {"advcam_segmenter": 2}),
        json.dumps(facts | {"settings": {"network": 3}}),
        json.dumps(facts | {"settings": []}),
        json.dumps({name: value for name, value in facts.items() if name != "class_names"}),
    ):
        (folder / "segmenter.json").write_text(content)
        with pytest.raises(RunError, match=r"segmenter\.json is damaged \(.*\); train again in another folder"):
            load_segmenter(folder)


def test_damaged_weights(finished: TrainedSegmenter, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    path, whole = folder / "best.safetensors", (finished.folder / "best.safetensors").read_bytes()

    def other() -> None:
        save_file({"head.0.weight": torch.zeros(2)}, path)

    for damage in (path.unlink, lambda: path.write_bytes(b"nonsense"), lambda: path.write_bytes(whole[:-9]), other):
        damage()
        with pytest.raises(WeightsError) as caught:
            load_segmenter(folder)
        assert f"{path} does not hold the weights of this network (" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_segmenter_masks_a_picture(dataset: Dataset, finished: TrainedSegmenter) -> None:
    segmenter, sample = load_segmenter(finished.folder), next(iter(dataset.samples("val")))
    picture = read_picture(sample.path)
    pixels = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(segmenter.label_mask(picture), label_mask(segmenter.network, pixels))
    limited = segmenter.label_mask(picture, InferenceSettings(flip=False), labels=["wheel"])
    expected = label_mask(segmenter.network, pixels, InferenceSettings(flip=False), [NAMES.index("wheel") + 1])
    np.testing.assert_array_equal(limited, expected)
    with pytest.raises(LabelError, match="whell"):
        segmenter.label_mask(picture, labels=["whell"])
