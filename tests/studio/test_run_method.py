"""Live climbs are those of the run: its settings, its steps, its name for what it did."""

import json
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from shown_runs import ended, studio_of
from test_working import _classifier

import advcam
from advcam.pipeline.config import MethodSettings, ModelSettings
from advcam.studio.access import Access
from advcam.studio.app import create_app
from advcam.studio.run_method import climb_settings, climb_steps, climb_words, title_of
from advcam.studio.studio import Studio


def _made_by(run: Path, **method: object) -> Studio:
    """A studio over the run, as if it had been made by a method."""
    settings = json.loads((run / "settings.json").read_bytes())
    settings["method"] |= method
    (run / "settings.json").write_text(json.dumps(settings))
    studio = studio_of(run)
    studio.live._loaded = _classifier()
    return studio


@pytest.mark.parametrize(
    "chosen",
    [{}, {"effort": "fast"}, {"effort": "paper"}, {"variant": "published"}, {"effort": "fast", "iterations": 3}],
    ids=str,
)
def test_steps_are_those_that_the_method_would_take(chosen: dict) -> None:
    assert climb_steps(MethodSettings(**chosen)) == advcam.AdvCAM(_classifier(), **chosen).settings.iterations


def test_steps_without_a_climb_of_the_run() -> None:
    default = advcam.AdvCAM(_classifier()).settings.iterations
    assert climb_steps(None) == climb_steps(MethodSettings(method="gradcam", batch_size=2)) == default
    assert climb_settings(MethodSettings(method="gradcam", max_side=300)) == {}


def test_settings_in_words() -> None:
    words = climb_words(
        MethodSettings(effort="fast", penalty=0.5, flip=True, scales=(0.5, 1), iterations=3, batch_size=4)
    )
    assert words == "those of the run, effort fast, penalty 0.5, scales 0.5 / 1, flip on"
    assert climb_words(None) == "the defaults of AdvCAM"
    assert climb_words(MethodSettings()) == "the defaults of AdvCAM (as the run has them)"
    assert climb_words(MethodSettings(method="layercam")) == "the defaults of AdvCAM (the run's maps are of LayerCAM)"


def test_a_live_climb_takes_the_settings_of_the_run(run: Path) -> None:
    chosen = {"penalty": 0.25, "mask_threshold": 0.3, "scales": (1.0,), "iterations": 3}
    studio = _made_by(run, **chosen)
    with TestClient(create_app(studio, Access()), base_url="http://localhost", headers={"X-Advcam": "1"}) as client:
        live = client.get("/api/run").json()["live"]
        assert (live["steps"], live["run_steps"]) == (3, 3)
        job = client.post("/api/climbs", json={"picture": 0, "class_ids": [0]}).json()["job"]
        assert ended(client, job)["state"] == "done"
        made = studio.jobs.get(job).result.attribution
        other = client.post("/api/climbs", json={"picture": 0, "class_ids": [0], "effort": "fast"}).json()["job"]
        assert ended(client, other)["state"] == "done"
        fast = studio.jobs.get(other).result.attribution
    picture = Image.open(studio.album.samples[0].path)
    for found, settings in ((made, chosen), (fast, {"effort": "fast", "iterations": 3})):
        (expected,) = advcam.AdvCAM(_classifier(), **settings)([picture], [[0]], record="maps")
        assert np.array_equal(found.maps, expected.maps.astype(np.float16))
    assert not np.array_equal(made.maps, fast.maps)


@pytest.mark.parametrize(("name", "title"), [("gradcam", "Grad-CAM"), ("advcam", "AdvCAM"), ("layercam", "LayerCAM")])
def test_a_stage_is_called_by_the_method_of_the_run(run: Path, name: str, title: str) -> None:
    studio = _made_by(run, method=name)
    assert title_of(studio.method) == title
    with TestClient(create_app(studio, Access()), base_url="http://localhost") as client:
        facts = client.get("/api/run").json()
    assert facts["stage_titles"] == {"localize": title}
    assert facts["live"]["run_steps"] == (4 if name == "advcam" else None)


def test_another_classifier_takes_no_settings_of_the_run(run: Path) -> None:
    _made_by(run, penalty=0.25)
    assert studio_of(run).method is not None
    assert studio_of(run, model=ModelSettings(model="lite0")).method is None


def test_maps_are_handed_over_where_there_are_any(run: Path) -> None:
    studio = studio_of(run)
    with TestClient(create_app(studio, Access()), base_url="http://localhost", headers={"X-Advcam": "1"}) as client:
        assert client.get("/api/run").json()["formats"][-1]["name"] == "score-maps"
        job = client.post("/api/exports", json={"format": "score-maps"}).json()["job"]
        assert ended(client, job)["state"] == "done"
        (run / "maps").rename(run / "gone")
        assert "score-maps" not in [one["name"] for one in client.get("/api/run").json()["formats"]]
