"""Groups of outputs for classes of a data set, on a network whose scores are the mean red, green and blue."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.errors import LabelError
from advcam.pipeline.class_match import ClassMatch, input_size, read_groups

OUTPUTS = ("crimson", "rose", "grass", "sky")
#: Rows are outputs: mean red; half of it; mean green; mean blue.
WEIGHTS = [[1.0, 0, 0], [0.5, 0, 0], [0, 1, 0], [0, 0, 1]]
RED, GREEN, BLUE = (Image.new("RGB", (40, 30), colour) for colour in ((200, 20, 10), (10, 200, 20), (20, 10, 200)))


class MeanColour(nn.Module):
    """Scores are linear in the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, len(OUTPUTS), bias=False)
        self.sizes: list[tuple[int, ...]] = []
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.head.weight.copy_(torch.tensor(WEIGHTS))

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes.append(tuple(inputs.shape[-2:]))
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture
def classifier() -> Classifier:
    return Classifier.from_module(MeanColour(), class_names=OUTPUTS, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def written(folder: Path, content: object) -> Path:
    path = folder / "groups.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_groups_are_read_as_they_are_written(tmp_path: Path):
    groups = {"cat": [281, "tabby"], "dog": [151]}
    assert read_groups(written(tmp_path, groups)) == groups
    assert read_groups(written(tmp_path, {})) == {}


@pytest.mark.parametrize("content", ['{"cat": [281', "[" * 100_000, ""])
def test_groups_that_are_no_json(tmp_path: Path, content: str):
    with pytest.raises(LabelError, match=r"cannot be read as JSON groups of classes .+; write it again"):
        read_groups(written(tmp_path, content))


def test_groups_that_do_not_exist_or_are_not_text(tmp_path: Path):
    with pytest.raises(LabelError, match=r"No such file"):
        read_groups(tmp_path / "absent.json")
    (tmp_path / "groups.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(LabelError, match=r"cannot be read"):
        read_groups(tmp_path / "groups.json")


@pytest.mark.parametrize("content", [[1], {"cat": 281}, {"cat": []}, {"cat": [True]}, {"cat": [[1]]}, {"cat": [1.5]}])
def test_groups_of_another_form_are_answered_with_the_right_one(tmp_path: Path, content: object):
    with pytest.raises(LabelError, match=r'groups are written {"cat": .281, "tabby".}'):
        read_groups(written(tmp_path, content))


def test_without_groups_names_are_those_of_the_classifier(classifier: Classifier):
    match = ClassMatch(classifier, ("sky", "Crimson", "cloud"))
    assert match.targets(RED, ["Crimson", "sky"]) == [0, 3]
    assert [match.covers(name) for name in ("sky", "Crimson", "cloud")] == [True, True, False]
    with pytest.raises(LabelError, match=r"no class 'cloud'"):
        match.targets(RED, ["cloud"])


def test_the_best_output_of_a_group_stands_for_its_class_in_each_picture(classifier: Classifier):
    match = ClassMatch(classifier, ("warm", "cold", "odd"), {"warm": ["rose", "crimson"], "cold": [2, "sky"]})
    assert match.targets(RED, ["warm"]) == [0]
    # 200 of 255 green against 20 of 255 blue, and the reverse
    assert match.targets(GREEN, ["cold", "warm"]) == [2, 0]
    assert match.targets(BLUE, ["cold"]) == [3]
    assert match.targets(BLUE, []) == []
    assert [match.covers(name) for name in ("warm", "cold", "odd")] == [True, True, False]
    with pytest.raises(LabelError, match=r"the groups name no output for 'odd'; add it"):
        match.targets(RED, ["warm", "odd"])


def test_groups_with_unknown_members(classifier: Classifier):
    with pytest.raises(LabelError, match=r"the groups name 'wrm', but the data set has: warm, cold"):
        ClassMatch(classifier, ("warm", "cold"), {"wrm": [0]})
    with pytest.raises(LabelError, match=r"no class 'crimsn'; did you mean 'crimson'"):
        ClassMatch(classifier, ("warm",), {"warm": ["crimsn"]})
    with pytest.raises(LabelError, match=r"no class 4;.* numbered 0 to 3"):
        ClassMatch(classifier, ("warm",), {"warm": [4]})


def test_classes_are_ranked_by_their_best_output(classifier: Classifier):
    # Scores of (200, 20, 10) / 255: crimson 200, rose 100, grass 20, sky 10.
    assert ClassMatch(classifier, ("sky", "grass", "rose", "crimson", "cloud")).ranked(RED, 5) == [3, 2, 1, 0]
    grouped = ClassMatch(classifier, ("cold", "pink", "odd"), {"cold": ["sky", "grass"], "pink": ["rose"]})
    assert grouped.ranked(RED, 5) == [1, 0]
    # (10, 200, 20): grass 200, sky 20, rose 5
    assert grouped.ranked(GREEN, 5) == [0, 1]
    assert grouped.ranked(GREEN, 1) == [0]


def test_pictures_are_seen_at_most_at_the_working_size(classifier: Classifier):
    match = ClassMatch(classifier, OUTPUTS)
    seen = classifier.module.sizes
    seen.clear()
    match.ranked(RED.resize((1024, 256)), 1)
    match.ranked(RED, 1)
    assert seen == [(128, 512), (32, 40)]  # 30 pixels are less than any method takes


@pytest.mark.parametrize(
    ("size", "fixed", "multiple", "expected"),
    [
        ((640, 480), None, 1, (512, 384)),
        ((300, 200), None, 1, (300, 200)),
        ((300, 20), None, 1, (300, 32)),
        ((640, 480), None, 14, (518, 378)),  # 36.57 and 27.43 patches
        ((640, 480), (224, 192), 16, (192, 224)),
        ((40, 40), None, 64, (64, 64)),
    ],
)
def test_the_size_at_which_a_network_sees_a_picture(
    classifier: Classifier,
    size: tuple[int, int],
    fixed: tuple[int, int] | None,
    multiple: int,
    expected: tuple[int, int],
):
    classifier.fixed_size, classifier.size_multiple = fixed, multiple
    assert input_size(classifier, size, 512) == expected
