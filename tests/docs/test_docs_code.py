"""The code of the documentation runs: a page's blocks in order, in a folder with what the page says is there."""

import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from documented import CODE_PAGES, Block, blocks, command_lines, named
from PIL import Image
from written_segmenter import write_segmenter

from advcam.cli.app import run as run_command

#: Photographs are this small here, that nobody waits; what is drawn and trained is not in the blocks that run.
_SIDE = 96
_PHOTOGRAPHS = ("chelsea", "coffee", "astronaut")


def run_blocks(page: Path, found: list[Block]) -> list[Block]:
    """Run what is not marked "not run", in the current folder; the blocks that ran."""
    namespace: dict[str, object] = {"__name__": named(page)}
    ran = []
    for block in found:
        if block.mark == "not run":
            continue
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
        elif block.mark == "run":
            _run_shell(block)
        else:
            continue
        ran.append(block)
    return ran


def _run_shell(block: Block) -> None:
    """Line by line; `advcam` within this process, which spares its start."""
    for line in block.text.replace("\\\n", " ").splitlines():
        commands = list(command_lines(line))
        for words in commands:
            assert run_command([*words]) == 0, f"{block.where}: {line}"
        if not commands:
            subprocess.run(["bash", "-ec", line], check=True)


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages take it for granted: pictures, labels, a run, a segmentation network, an ONNX file."""
    folder = tmp_path_factory.mktemp("reader")
    for name, source in (("photos/cat.jpg", "chelsea"), ("photos/holiday/breakfast.jpg", "coffee")):
        picture = _small(source)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)
    for copy in ("cat.jpg", "photo.jpg"):
        shutil.copy(folder / "photos" / "cat.jpg", folder / copy)
    labels = folder / "labels.csv"
    labels.write_text("image,labels\ncat.jpg,Egyptian cat\nholiday/breakfast.jpg,espresso;cup\n")
    asked = ["--labels", str(labels), "--effort", "fast", "--scales", "1", "--quiet"]
    assert run_command(["localize", str(folder / "photos"), *asked, "--out", str(folder / "run")]) == 0
    write_segmenter(folder / "net", ["cat", "cup"], head="linear")
    _write_onnx(folder / "model.onnx")
    return folder


def _write_onnx(path: Path) -> None:
    """A file with the names of `advcam onnx`, which itself takes long: three classes, by the colours of a pixel."""
    from onnx import TensorProto, helper, save

    size = ["height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["pictures"], ["probabilities"], axis=1)],
        "colours",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 3, *size])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"class_names": '["background", "cat", "cup"]'})
    save(model, path)


@pytest.fixture
def small_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-image's photographs, small."""
    for name in _PHOTOGRAPHS:
        monkeypatch.setattr(skimage.data, name, partial(_small, name))
    left, right, _ = skimage.data.stereo_motorcycle()
    monkeypatch.setattr(skimage.data, "stereo_motorcycle", lambda: (left[::4, ::4], right[::4, ::4], None))


_ORIGINALS = {name: getattr(skimage.data, name) for name in _PHOTOGRAPHS}


def _small(name: str) -> np.ndarray:
    picture = Image.fromarray(_ORIGINALS[name]())
    picture.thumbnail((_SIDE, _SIDE))
    return np.asarray(picture)


@pytest.mark.parametrize("page", [page for page in CODE_PAGES if blocks(page)], ids=named)
def test_blocks_run(
    page: Path, reader: Path, tmp_path: Path, small_photographs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = blocks(page)
    to_run = [block for block in found if block.mark != "not run" and (block.language == "python" or block.mark)]
    if to_run and page.name != "tutorial.md":  # the tutorial begins with nothing
        shutil.copytree(reader, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert run_blocks(page, found) == to_run


@pytest.mark.parametrize("page", CODE_PAGES, ids=named)
def test_marks_have_reasons(page: Path) -> None:
    for block in blocks(page):
        if block.language == "bash":
            assert block.mark, f"{block.where}: put <!-- run --> or <!-- not run: REASON --> before it"
        if block.mark == "not run":
            assert len(block.reason) >= 10, f"{block.where}: say why it is not run"
        if block.mark:
            assert block.language in ("python", "bash"), f"{block.where}: a mark before a block that is no code"
    assert page.read_text().count("<!-- not run") + page.read_text().count("<!-- run") == sum(
        bool(block.mark) for block in blocks(page)
    ), f"{named(page)}: a mark that belongs to no block; it stands in the line before one"


def test_marks_are_read(tmp_path: Path) -> None:
    text = (
        "# A page\n<!-- not run: needs a GPU -->\n```python\nraise SystemExit\n```\n\n"
        "```python\nx = 1\n```\n- in a list\n\n    ```python\n    x += 1\n    ```\n"
        "<!-- run -->\n\n```bash\necho $((40 + 2)) > answer\n```\n```text\nnothing\n```\n"
    )
    found = blocks(tmp_path / "page.md", text)
    assert [(one.line, one.language, one.mark, one.reason) for one in found] == [
        (4, "python", "not run", "needs a GPU"),
        (8, "python", "", ""),
        (13, "python", "", ""),
        (18, "bash", "run", ""),
        (21, "text", "", ""),
    ]
    assert found[2].text == "x += 1\n"


def test_failures_are_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    python = "```python\nx = 1\n```\n\n```python\nassert x == 1\n```\n"
    text = python + "<!-- run -->\n```bash\necho $((40 + 2)) > answer\n```\n"
    assert len(run_blocks(page, blocks(page, text))) == 3
    assert Path("answer").read_text() == "42\n"
    with pytest.raises(NameError):
        run_blocks(page, blocks(page, "```python\ny\n```\n"))
    with pytest.raises(subprocess.CalledProcessError):
        run_blocks(page, blocks(page, "<!-- run -->\n```bash\ncat nothing\n```\n"))
    with pytest.raises(AssertionError, match=r"page.md:3: advcam verify nothing"):
        run_blocks(page, blocks(page, "<!-- run -->\n```bash\nadvcam verify nothing\n```\n"))
