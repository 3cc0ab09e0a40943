"""Dropped pictures, live climbs and exports, through the page's interface."""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from hostile_files import UNUSABLE, USABLE
from PIL import Image
from shown_runs import CLASSES, ended, studio_of

import advcam
from advcam.errors import ModelError
from advcam.pipeline.config import ModelSettings
from advcam.studio.climbing import LiveClassifier, climb, model_of
from advcam.studio.jobs import CancelledError
from advcam.studio.studio import Studio
from advcam.types import Attribution

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def _classifier() -> advcam.Classifier:
    """A tiny network of three classes."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3),
    )  # fmt: skip
    return advcam.Classifier.from_module(body, class_names=CLASSES)


@pytest.fixture
def client(client: TestClient, studio: Studio) -> TestClient:
    """A page whose classifier is tiny."""
    studio.live._loaded = _classifier()
    return client


def _picture(width: int = 48, height: int = 32, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("cat.png", _picture())
    return buffer.getvalue()


def test_a_dropped_picture_is_seen_and_climbed(client: TestClient, run: Path) -> None:
    dropped = client.post("/api/drops", content=_picture(), headers={"X-Name": quote("my “cat”.png")}).json()
    assert (dropped["name"], dropped["width"], dropped["height"]) == ("my “cat”.png", 48, 32)
    assert [one["name"] for one in dropped["predictions"]] != []
    assert sum(one["probability"] for one in dropped["predictions"]) == pytest.approx(1)
    shown = client.get(f"/api/drops/{dropped['drop']}/image?side=24")
    assert Image.open(io.BytesIO(shown.content)).size == (24, 16)
    job = client.post("/api/climbs", json={"drop": dropped["drop"], "class_ids": [1, 2], "iterations": 3}).json()["job"]
    facts = ended(client, job)
    assert (facts["state"], facts["kind"], facts["done"], facts["total"]) == ("done", "climb", 18, 18)
    header = _header(client.get(f"/api/jobs/{job}/maps").content)
    assert header["names"] == ["dog", "cup"]
    assert header["numbers"] == [2, 3]
    assert header["shape"][:2] == [2, 4]
    assert len(header["scores"]) == 2
    assert all(len(row) == 4 and row[-1] > row[0] for row in header["scores"])
    assert {path.name for path in (run / "studio" / "dropped").iterdir()} == {f"{dropped['drop']}-my-cat.png"}


def _header(content: bytes) -> dict:
    (length,) = struct.unpack_from("<I", content)
    return json.loads(content[4 : 4 + length])


def test_a_live_climb_is_advcam(client: TestClient, studio: Studio) -> None:
    job = client.post("/api/climbs", json={"picture": 0, "class_ids": [0], "iterations": 4}).json()["job"]
    assert ended(client, job)["state"] == "done"
    made: Attribution = studio.jobs.get(job).result.attribution
    picture = Image.open(studio.album.samples[0].path)
    (expected,) = advcam.AdvCAM(_classifier(), iterations=4)([picture], [[0]], record="maps")
    assert expected.steps is not None
    assert np.array_equal(made.maps, expected.maps.astype(np.float16))
    assert np.array_equal(made.steps, expected.steps.astype(np.float16))
    scores = next(t for t in expected.trajectories if t.scale == 1).scores[:, 0]
    assert studio.jobs.get(job).result.step_scores[0] == pytest.approx(scores)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("drawing.png", SVG, "drawing.png is an SVG drawing, which has no pixels; export it as PNG or JPEG"),
        ("drawing.svg", b"\xef\xbb\xbf\n <SVG width='1'>", "is an SVG drawing"),
        ("many.zip", _zip(), "many.zip is a zip archive; unpack it"),
        ("paper.pdf", b"%PDF-1.7 ...", "is a PDF document"),
        ("bomb.png", _bomb(), "bomb.png has more than 178,000,000 pixels"),
        ("nothing.png", b"", "nothing.png is empty"),
        ("words.jpg", b"this is no picture", "words.jpg is damaged or in no format that can be read"),
        ("small.png", _picture(8, 8), "small.png is 8 x 8 pixels"),
        ("half.jpg", _picture(kind="JPEG")[:900], "half.jpg cannot be decoded"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused_and_not_kept(
    client: TestClient, run: Path, name: str, content: bytes, words: str
) -> None:
    answer = client.post("/api/drops", content=content, headers={"X-Name": name})
    assert answer.status_code == 415
    assert words in answer.json()["detail"]
    assert str(run) not in answer.json()["detail"]
    folder = run / "studio" / "dropped"
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("name", sorted(USABLE | UNUSABLE))
def test_odd_files_are_shown_or_refused(client: TestClient, hostile: Path, name: str) -> None:
    answer = client.post("/api/drops", content=(hostile / name).read_bytes(), headers={"X-Name": quote(name)})
    assert answer.status_code == (200 if name in USABLE else 415)


@pytest.mark.parametrize(
    "name",
    [
        "../../../evil.png",
        "..\\..\\evil.png",
        "/etc/passwd",
        "a/../b.png",
        "x\x00y.png",
        "é" * 120,
        "",
        ".",
        "..",
        "CON.png",
        "-rf.png",
    ],
)
def test_names_stay_in_their_folder(client: TestClient, run: Path, name: str) -> None:
    before = set(run.parent.rglob("*"))
    answer = client.post("/api/drops", content=_picture(), headers={"X-Name": quote(name)})
    assert answer.status_code == 200
    new = {path for path in run.parent.rglob("*") if path.is_file()} - before
    kept = [path for path in new if path.name != "index.parquet"]
    assert [path.parent for path in kept] == [run / "studio" / "dropped"]
    assert all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in kept[0].name)
    assert client.get(f"/api/drops/{answer.json()['drop']}/image").status_code == 200


def test_more_bytes_than_the_limit(run: Path) -> None:
    from advcam.studio.access import Access
    from advcam.studio.app import create_app

    studio = studio_of(run, most_upload=10_000)
    studio.live._loaded = _classifier()
    stranger = TestClient(create_app(studio, Access()), base_url="http://localhost", headers={"X-Advcam": "1"})
    answer = stranger.post("/api/drops", content=bytes(10_001))
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "more than 10 KB, which is the most that is taken here",
    )
    assert stranger.post("/api/drops", content=_picture()).status_code == 200


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"picture": 0, "class_ids": [3]}, 422, "the classifier has no class 3"),
        ({"picture": 0, "class_ids": [-1]}, 422, "the classifier has no class -1"),
        ({"picture": 0, "class_ids": []}, 422, "class_ids"),
        ({"picture": 0, "class_ids": [0], "iterations": 51}, 422, "iterations"),
        ({"picture": 0, "class_ids": [0], "iterations": 0}, 422, "iterations"),
        ({"picture": 9, "class_ids": [0]}, 404, "there is no picture 9"),
        ({"drop": "../../x", "class_ids": [0]}, 404, "there is no dropped picture '../../x'"),
        ({"class_ids": [0]}, 422, "name either picture"),
        ({"picture": 0, "drop": "a", "class_ids": [0]}, 422, "name either picture"),
        ({"picture": 0, "class_ids": [0], "model": "x"}, 422, "model"),
    ],
)
def test_climbs_that_cannot_be(client: TestClient, asked: dict, status: int, words: str) -> None:
    answer = client.post("/api/climbs", json=asked)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_a_climb_whose_picture_is_gone_fails_in_words(client: TestClient, studio: Studio) -> None:
    studio.album.samples[2].path.unlink()
    job = client.post("/api/climbs", json={"picture": 2, "class_ids": [0]}).json()["job"]
    facts = ended(client, job)
    assert facts["state"] == "failed"
    assert "does not exist" in str(facts["detail"])
    assert client.get(f"/api/jobs/{job}/maps").status_code == 404


def test_classes_of_another_classifier_are_known_by_name(client: TestClient, studio: Studio) -> None:
    own = studio.live.load()
    studio.live._loaded = advcam.Classifier.from_module(own.module, class_names=("zebra", "Dog", "cat"))
    job = client.post("/api/climbs", json={"picture": 0, "class_ids": [0, 1, 2], "iterations": 1}).json()["job"]
    assert ended(client, job)["state"] == "done"
    header = _header(client.get(f"/api/jobs/{job}/maps").content)
    assert header["names"] == ["zebra", "Dog", "cat"]
    assert header["numbers"] == [None, 2, 1]


def test_a_climb_ends_between_two_steps() -> None:
    heard = []

    def step(count: int) -> None:
        heard.append(count)
        if len(heard) == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        climb(_classifier(), Image.new("RGB", (40, 40)), [0, 1], {"iterations": 5}, lambda _: None, step)
    assert len(heard) == 3


def test_an_export_comes_as_a_zip(client: TestClient, run: Path) -> None:
    client.put("/api/pictures/2/status", json={"status": "accepted", "revision": 0})
    job = client.post("/api/exports", json={"format": "image-folder", "only": "accepted"}).json()["job"]
    facts = ended(client, job)
    assert (facts["state"], facts["detail"]) == ("done", "1 picture")
    answer = client.get(f"/api/jobs/{job}/file")
    assert answer.headers["content-type"] == "application/zip"
    assert f"run-image-folder-{job}.zip" in answer.headers["content-disposition"]
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert sum(name.startswith("run/masks/") for name in names) == 1
    assert all(name.startswith("run/") and ".." not in name for name in names)
    assert [path.name for path in (run / "studio" / "exports").iterdir()] == [f"run-image-folder-{job}.zip"]


@pytest.mark.parametrize("name", ["nothing", "../../x", ""])
def test_exports_that_cannot_be(client: TestClient, run: Path, name: str) -> None:
    facts = ended(client, client.post("/api/exports", json={"format": name}).json()["job"])
    assert facts["state"] == "failed"
    assert f"there is no format {name!r}" in str(facts["detail"])
    assert not list((run / "studio" / "exports").iterdir())


def test_jobs_that_are_not_there(client: TestClient) -> None:
    for path in ("/api/jobs/x", "/api/jobs/x/maps", "/api/jobs/x/file", "/api/jobs/..%2f..%2fetc"):
        assert client.get(path).status_code == 404
    assert client.delete("/api/jobs/x").status_code == 404


def test_a_cancelled_climb_has_no_maps(client: TestClient) -> None:
    asked = {"picture": 0, "class_ids": [0, 1, 2], "iterations": 50}
    jobs = [client.post("/api/climbs", json=asked).json()["job"] for _ in range(3)]
    assert client.delete(f"/api/jobs/{jobs[2]}").json()["state"] == "cancelled"
    client.delete(f"/api/jobs/{jobs[0]}")
    assert ended(client, jobs[0])["state"] == "cancelled"
    assert client.get(f"/api/jobs/{jobs[0]}/maps").json()["detail"] == "this climb is cancelled and has no maps"
    assert ended(client, jobs[1])["state"] == "done"


def test_classes_by_a_part_of_their_name(client: TestClient) -> None:
    found = client.get("/api/classifier/classes?text=C").json()["classes"]
    assert found == [{"class_id": 0, "name": "cat"}, {"class_id": 2, "name": "cup"}]
    assert client.get("/api/classifier/classes?text=zzz").json() == {"classes": []}


def test_the_classifier_is_that_of_the_run(run: Path, tmp_path: Path) -> None:
    studio = studio_of(run)
    assert studio.live.settings == ModelSettings(model="lite0", device="cpu")
    trained = run / "classifier"
    trained.mkdir()
    settings = json.loads((run / "settings.json").read_bytes())
    settings["model"] |= {"model": "resnet18", "weights": "gone/best.safetensors", "class_names": "gone/classes.txt"}
    (run / "settings.json").write_text(json.dumps(settings))
    gone = LiveClassifier(model_of(studio_of(run).album))
    assert (
        gone.problem()
        == "gone/best.safetensors is not there; start the studio with --model, --weights and --class-names"
    )
    for name in ("best.safetensors", "classes.txt"):
        (trained / name).write_bytes(b"")
    assert LiveClassifier(model_of(studio_of(run).album)).settings.weights == trained / "best.safetensors"


def test_without_its_classifier_a_run_is_shown(run: Path) -> None:
    assert (
        LiveClassifier(ModelSettings(model="resnet18")).problem()
        == "resnet18 needs its weights; start the studio with --weights"
    )
    live = LiveClassifier(ModelSettings(model="no-such-network", weights=run / "settings.json"))
    assert live.problem() == ""
    with pytest.raises(ModelError, match="no network is called"):
        live.load()


def test_exports_and_drops_do_not_pile_up(client: TestClient, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcam.studio.drops._KEPT", 2)
    made = [client.post("/api/drops", content=_picture()).json()["drop"] for _ in range(4)]
    assert len(list((run / "studio" / "dropped").iterdir())) == 2
    assert client.get(f"/api/drops/{made[0]}/image").status_code == 404
    assert client.get(f"/api/drops/{made[3]}/image").status_code == 200
