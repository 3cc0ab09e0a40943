"""URLs as --out: refused in one line where a command writes to a disk, and nothing is created."""

import pytest

from advcam.cli.app import run

LOCAL = {
    "tune": ["tune", "data"],
    "analyze": ["analyze", "data"],
    "evaluate": ["evaluate", "run", "--data", "data", "--split", "val"],
    "onnx": ["onnx", "run"],
    "demo": ["demo"],
    "run": ["run", "tiny"],
    "train": ["train", "data"],
    "refine": ["refine", "run", "--data", "data"],
    "segment": ["segment", "data", "--masks", "masks"],
}


@pytest.fixture(autouse=True)
def nothing_is_created(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["s3://bucket/run", "gs://bucket/run", "http://host/run"])
@pytest.mark.parametrize("command", LOCAL)
def test_commands_that_write_to_a_disk(command, url, capsys):
    assert run([*LOCAL[command], "--out", url]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == (
        f"advcam: Invalid value for --out: this command writes to a local or mounted folder; got {url} (a URL is for "
        "advcam localize and predict) (advcam --help lists the commands)"
    )


@pytest.mark.parametrize(
    "command", [["localize", "photos", "--labels", "folders"], ["predict", "photos", "--segmenter", "run"]]
)
def test_unknown_schemes(command, capsys):
    assert run([*command, "--out", "ftp://host/run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == "advcam: stores are named by s3://, gs:// or az://, folders by their path; got ftp://host/run"
