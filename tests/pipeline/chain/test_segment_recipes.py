"""The recipes that end with a segmentation network: their stages on generated data, and the published constants."""

from pathlib import Path

import pytest

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.chain.recipe_file import read_chain, recipe_names
from advcam.pipeline.chain.run import Chain

#: Layout that each recipe is tried on, with the splits that the generated one has.
DATA = {
    "voc2012": ("voc2012", []),
    "voc2012-semi": ("voc2012", []),
    "voc2012-small": ("voc2012", []),
    "tiny": ("voc2012", []),
    "coco2014": ("coco", ["data.train=val2017", "data.val=null"]),
    "coco2014-semi": ("coco", ["data.train=val2017", "data.val=null"]),
    "pets": ("pets", []),
    "folder": ("folders", []),
}


def test_every_recipe_with_a_network_is_tried() -> None:
    assert {name for name in recipe_names() if read_chain(name, ["data.root=x"]).segment} == set(DATA)


@pytest.mark.parametrize(("name", "data"), DATA.items())
def test_stages(tmp_path: Path, name: str, data: tuple[str, list[str]]) -> None:
    layout, overrides = data
    write_dataset(layout, tmp_path / "data", 6)
    chain = Chain(read_chain(name, [f"data.root={tmp_path / 'data'}", *overrides]), tmp_path / "run")
    names = [stage.name for stage in chain.stages]
    assert names[0] == "train"
    assert names[names.index("segment") :] == ["segment", "predict", "evaluate-segment"]


@pytest.mark.parametrize(
    ("name", "pictures", "crop", "lr", "steps"),
    [("voc2012", 10_582, 321, 2.5e-4, 30_000), ("coco2014", 82_783, 481, 2e-4, 100_000)],
)
def test_the_published_network(name: str, pictures: int, crop: int, lr: float, steps: int) -> None:
    chosen = read_chain(name, ["data.root=x"]).segment
    assert chosen is not None
    network = chosen.network
    assert (network.head, network.model, network.output_stride) == ("deeplabv2", "resnet101", 8)
    assert chosen.objective.loss == "balanced"
    assert chosen.objective.multi_scale
    assert chosen.objective.frozen_statistics
    assert (chosen.crop, chosen.scales, chosen.batch_size) == (crop, (0.5, 2.0), 10)
    assert (chosen.optimizer, chosen.lr, chosen.head_multiplier, chosen.weight_decay) == ("sgd", lr, 10, 5e-4)
    assert chosen.validation is None, "no true mask chooses the epoch"
    assert chosen.inference.crf
    assert abs(pictures // 10 * chosen.epochs - steps) < pictures // 20, "no number of epochs is nearer"


@pytest.mark.parametrize(("name", "pictures"), [("voc2012-semi", 10_582 - 1_464), ("coco2014-semi", 82_783 - 2_587)])
def test_the_published_semi_supervised_training(name: str, pictures: int) -> None:
    chosen = read_chain(name, ["data.root=x"]).segment
    assert chosen is not None
    assert chosen.semi is not None
    assert chosen.semi.method == "cct"
    assert (chosen.crop, chosen.batch_size, chosen.optimizer, chosen.weight_decay) == (320, 10, "sgd", 1e-4)
    assert chosen.lr * chosen.head_multiplier == pytest.approx(0.01)
    assert not chosen.objective.frozen_statistics
    steps = chosen.epochs * -(-pictures // 10)
    assert steps == pytest.approx(80 * 912, rel=0.02), "80 epochs of the weak pictures of VOC"


def test_a_semi_supervised_recipe_makes_the_masks_of_the_other() -> None:
    for name in ("voc2012", "coco2014"):
        without = [read_chain(n, ["data.root=x"]).model_copy(update={"segment": None}) for n in (name, f"{name}-semi")]
        assert without[0] == without[1]
