"""`advcam report` and `advcam compare` as users meet them; the command of a report makes the run again."""

import html
import re
import shlex
import shutil
from pathlib import Path

import pytest
from drawn_run import drawn_mask, write_run

from advcam.cli.app import run
from advcam.datasets.synthetic.catalogue import write_dataset

RECIPE = """\
data: {root: pictures, train: train, val: val}
train: {model: test_resnet, weights: random, frozen_statistics: false, crop: 64, epochs: 1, batch_size: 8,
        precision: float32}
localize: {method: cam, scales: [1.0], precision: float32}
outputs: {overlays: false, report_pictures: 2}
threshold: 0.3
refine: {methods: []}
evaluate: {resamples: 2}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name no shell takes as it is, with a recipe and a run of it."""
    here = tmp_path_factory.mktemp("it's a $HOME; übung")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(here)
        Path("mine.yaml").write_text(RECIPE)
        write_dataset("folders", Path("pictures"), 12)
        assert run(["run", "mine.yaml", "--out", "my run", "--quiet"]) == 0
    return here


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def command_of(page: Path) -> list[str]:
    """The words of the command that a page gives, as a shell takes them."""
    found = re.search(r'<pre id="command">(.*?)</pre>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return shlex.split(html.unescape(found[1]))


def masks(run_: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(run_)): path.read_bytes() for path in sorted(run_.rglob("*.png"))}
    assert found
    return found


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    return lines[0].removeprefix("advcam: ")


def test_the_command_of_a_chain_makes_it_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "my run"]) == 0
    assert capsys.readouterr().err == "look at   my run/report.html\n"
    program, *words = command_of(Path("my run/report.html"))
    assert program == "advcam"
    assert run([*words, "--quiet"]) == 0
    assert masks(Path("my run-again")) == masks(Path("my run"))


def test_the_command_of_a_localization_makes_it_again(here: Path) -> None:
    network = ["--model", "test_resnet", "--weights", "my run/classifier/best.safetensors"]
    network += ["--class-names", "my run/classifier/classes.txt", "--precision", "float32"]
    asked = ["--method", "cam", "--scales", "0.5", "1", "--threshold", "0.4", "--no-overlays", *network]
    assert run(["localize", "pictures", "--labels", "folders", "--out", "looked at", *asked, "--quiet"]) == 0
    assert run(["report", "looked at", "--out", "page.html", "--pictures", "1", "--quiet"]) == 0
    program, *words = command_of(Path("page.html"))
    assert program == "advcam"
    assert run([*words, "--quiet"]) == 0
    assert masks(Path("looked at-again")) == masks(Path("looked at"))


def test_what_is_missing_is_named_on_the_terminal_and_on_the_page(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half, page = tmp_path / "half", tmp_path / "page.html"
    shutil.copytree("my run", half)
    shutil.rmtree(half / "pseudo")
    shutil.rmtree(half / "metrics")
    assert run(["report", str(half), "--out", str(page)]) == 1
    lines = capsys.readouterr().err.splitlines()
    scores = "The scores of metrics/ are gone; advcam run --from evaluate makes them again."
    masks = f"What pseudo left is gone: advcam verify {half} makes it again."
    assert lines == [f"missing   {scores}", f"missing   {masks}", f"look at   {page}"]
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert text.index('id="notes"') < text.index(f"<li>{scores}</li>") < text.index('id="data"')
    assert text.index('id="notes"') < text.index(f"<li>{masks}</li>") < text.index('id="data"')
    assert run(["report", str(half), "--out", str(page), "--quiet"]) == 1
    assert capsys.readouterr().err == ""


def test_a_half_deleted_localization(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half, page = tmp_path / "half", tmp_path / "page.html"
    asked = ["--method", "cam", "--scales", "0.5", "--no-overlays", "--precision", "float32", "--quiet"]
    assert run(["localize", "pictures", "--labels", "predicted", "--out", str(half), *asked]) == 0
    assert run(["report", str(half), "--out", str(page)]) == 0
    assert capsys.readouterr().err == f"look at   {page}\n"
    shutil.rmtree(half / "maps")
    (half / "boxes.json").unlink()
    assert run(["report", str(half), "--out", str(page)]) == 1
    lines = capsys.readouterr().err.splitlines()
    gone = [f"The {what} are gone: advcam verify {half} makes them again." for what in ("maps", "boxes")]
    assert lines == [*(f"missing   {words}" for words in gone), f"look at   {page}"]
    assert all(f"<li>{words}</li>" in html.unescape(page.read_text(encoding="utf-8")) for words in gone)


def test_a_report_elsewhere_leaves_the_run_as_it_was(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("my run").rglob("*")}
    assert run(["report", "my run", "--out", "deep/page.html", "--pictures", "1"]) == 0
    assert capsys.readouterr().err == "look at   deep/page.html\n"
    assert Path("deep/page.html").read_text().count("<article") == 1
    assert {path: path.stat().st_mtime_ns for path in Path("my run").rglob("*")} == before


def test_runs_are_compared(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "mine.yaml", "pseudo.threshold=0.9", "--out", "other", "--quiet"]) == 0
    assert run(["compare", "my run", "other", "--out", "c.html"]) == 0
    assert capsys.readouterr().err == "look at   c.html\n"
    page = Path("c.html").read_text(encoding="utf-8")
    assert '<tr><th scope="row">pseudo.threshold</th><td>none</td><td>0.9</td></tr>' in page
    assert page.count("</td><td>0.9</td></tr>") == 1, "only what differs"


def test_runs_of_other_pictures_are_not_compared_silently(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = write_run(tmp_path, {"p/1": drawn_mask(1)})
    assert run(["compare", "my run", str(others), "--out", str(tmp_path / "c.html")]) == 0
    words = "the runs share no picture by name, so their masks are not compared"
    assert capsys.readouterr().err == f"note      {words}\nlook at   {tmp_path / 'c.html'}\n"


def test_errors_are_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "pictures"]) == 2
    assert error_line(capsys).startswith("pictures holds no run of advcam: neither recipe.yaml nor settings.json")
    assert run(["report", "nowhere"]) == 2
    assert error_line(capsys).startswith("nowhere does not exist; name the --out of advcam run")
    assert run(["compare", "my run", "--out", "c2.html"]) == 2
    assert error_line(capsys).startswith("a comparison takes two runs or more")
    assert run(["compare", "my run", "my run/../my run", "--out", "c2.html"]) == 2
    assert error_line(capsys) == "one run is named twice; name each once"
    assert run(["report", "my run", "--out", "mine.yaml/page.html"]) == 2
    assert "mine.yaml" in error_line(capsys)
    assert run(["report", "s3://bucket/run"]) == 2
    assert "s3://bucket/run" in error_line(capsys)
    assert not Path("c2.html").exists()
