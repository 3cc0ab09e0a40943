"""The commands of docs/reproduction can be planned: on data that are drawn in the layout that each page asks for."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.chain import localizing, run
from advcam.pipeline.chain.recipe_file import read_chain, recipe_names

PAGES = Path(__file__).parents[2] / "docs" / "reproduction"
#: The layout that stands for a data set's root in the commands of the pages.
LAYOUTS = {"VOC": "voc2012", "COCO": "coco", "CUB": "wsol", "IMAGENET": "wsol", "DOWNLOAD": "imagenet"}
#: The generated COCO has one split, which is called otherwise.
SPLITS = {"COCO": ["data.train=val2017", "data.val=null"]}
COMMAND = re.compile(r"^advcam run (?!RECIPE)(.+)$", re.MULTILINE)
COMMANDS = [
    (page.name, command)
    for page in sorted(PAGES.glob("*.md"))
    for command in COMMAND.findall(page.read_text().replace("\\\n", ""))
]

#: Networks that were made once: seven commands begin with the same ResNet-50.
_made: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network is made once and never timed."""
    make = localizing.load_untrained

    def made(*given: object) -> Any:
        key = repr(given)
        if key not in _made:
            _made[key] = make(*given)
        return _made[key]

    monkeypatch.setattr(localizing, "load_untrained", made)
    monkeypatch.setattr(run, "seconds_of_a_pass", lambda _model: 1.0)


def overrides(command: str, root: Path, masks: Path) -> tuple[str, list[str]]:
    """The recipe of a command, and its settings with drawn data, random weights and no GPU."""
    recipe, *words = shlex.split(command.partition(" --out ")[0])
    given = dict(word.split("=", 1) for word in words)
    name = given.pop("data.root")
    given |= {key: "random" for key in given if key.endswith("weights")}
    given.pop("device", None)
    if "label_masks" in given:
        given["label_masks"] = str(masks)
    if "segment.strong" in given:
        given["segment.strong"] = given["segment.strong"].replace(name, str(root), 1)
    return recipe, [f"data.root={root}", *(f"{key}={value}" for key, value in given.items()), *SPLITS.get(name, [])]


def test_every_recipe_with_a_published_table_has_a_command() -> None:
    named = {command.split()[0] for _, command in COMMANDS}
    assert named == set(recipe_names()) - {"folder", "pets", "tiny"}


def test_the_front_page_names_every_recipe() -> None:
    front = (PAGES / "index.md").read_text()
    assert set(recipe_names()) <= set(re.findall(r"`([\w-]+)`", front))


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}-{command[:40]}" for page, command in COMMANDS])
def test_a_command_is_planned(tmp_path: Path, page: str, command: str) -> None:
    found = re.search(r"data\.root=(\w+)", command)
    assert found, f"{page}: {command} names no data"
    root = tmp_path / "data"
    write_dataset(LAYOUTS[found[1]], root, 8)
    if "data.val=null" in command:  # the page says: without the split val
        for folder in root.glob("metadata/*/val"):
            shutil.rmtree(folder)
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (8, 8)).save(masks / "a.png")  # a plan asks whether there are masks, not whose
    recipe, settings = overrides(command, root, masks)
    plan = run.Chain(read_chain(recipe, settings), tmp_path / "run").plan()
    assert plan
    assert all(stage.state == "to do" for stage in plan)
    assert all(stage.pictures > 0 for stage in plan if stage.name in ("localize", "segment"))
    assert not (tmp_path / "run").exists(), "nothing is written"


@pytest.mark.parametrize("name", ["folder", "pets", "voc2012-small", "voc2012", "coco2014", "cub", "imagenet"])
@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_the_climb_can_be_left_away(name: str, method: str) -> None:
    """As docs/training.md and docs/howto/when-not-to-climb.md say it: no setting of a climb is left behind."""
    settings = read_chain(name, ["data.root=x", f"localize={{method: {method}}}"])
    assert settings.localize.model_dump(exclude_unset=True) == {"method": method}
