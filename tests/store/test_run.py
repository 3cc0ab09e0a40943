"""The run directory: continued by the same settings, closed to everything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import RunError, SettingError
from advcam.store import files
from advcam.store.run import RunDirectory, output_names

SETTINGS = {"maps": {"method": "advcam", "steps": 30, "scales": [0.5, 1.0]}, "outputs": {"threshold": 0.3}}


def with_maps(**changes):
    return {**SETTINGS, "maps": {**SETTINGS["maps"], **changes}}


def refusal(folder, settings=SETTINGS):
    with pytest.raises(RunError) as caught:
        RunDirectory.open(folder, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def start(folder, settings=SETTINGS):
    with RunDirectory.open(folder, settings):
        pass
    return folder


def everything(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


class TestOpen:
    def test_new_run(self, tmp_path):
        with RunDirectory.open(tmp_path / "a/b", SETTINGS) as run:
            assert run.folder == tmp_path / "a/b"
            assert not run.outputs_changed
        config = json.loads((tmp_path / "a/b/config.json").read_text())
        assert config["advcam_run"] == 1
        assert {name: config[name] for name in SETTINGS} == SETTINGS
        assert {name: len(text) for name, text in config["fingerprints"].items()} == {
            "maps": 64,
            "outputs": 64,
        }

    def test_continued_in_any_order_of_keys_and_with_tuples(self, tmp_path):
        before = everything(start(tmp_path))
        maps = {"scales": (0.5, 1.0), "steps": 30, "method": "advcam"}
        with RunDirectory.open(tmp_path, {"outputs": SETTINGS["outputs"], "maps": maps}) as run:
            assert not run.outputs_changed
        assert everything(tmp_path) == before

    def test_places(self, tmp_path):
        run = RunDirectory(tmp_path)
        places = [run.maps_folder, run.masks_folder, run.overlays_folder]
        places += [run.boxes_file, run.report_file, run.summary_file]
        names = ["maps", "masks", "overlays", "boxes.json", "report.html", "summary.json"]
        assert places == [tmp_path / name for name in names]

    def test_other_maps(self, tmp_path):
        before = everything(start(tmp_path))
        assert refusal(tmp_path, with_maps(method="cam", steps=30.0)) == (
            f'{tmp_path} holds a run with other settings: method was "advcam", is now "cam"; steps was 30, '
            "is now 30.0; choose another --out or delete the folder"
        )
        assert everything(tmp_path) == before

    def test_many_other_settings(self, tmp_path):
        start(tmp_path, {"maps": {"net": {"name": "x" * 80}, "a": 1, "b": 2, "c": 3}, "outputs": {}})
        settings = {"maps": {"net": {"name": "y"}, "d": 1, "a": 1}, "outputs": {}}
        assert refusal(tmp_path, settings) == (
            f"{tmp_path} holds a run with other settings: b was 2, is now absent; c was 3, is now absent; d "
            "was absent, is now 1; and 1 more; choose another --out or delete the folder"
        )

    def test_long_values_are_shortened(self, tmp_path):
        start(tmp_path, with_maps(net={"name": "x" * 80}))
        assert f'net.name was "{"x" * 59}.., is now "y"' in refusal(tmp_path, with_maps(net={"name": "y"}))

    def test_other_outputs(self, tmp_path):
        start(tmp_path)
        changed = {**SETTINGS, "outputs": {"threshold": 0.4}}
        for _ in range(2):  # a run that dies before it has made the outputs leaves them to the next
            with RunDirectory.open(tmp_path, changed) as run:
                assert run.outputs_changed
        with RunDirectory.open(tmp_path, changed) as run:
            run.record_outputs()
            assert not run.outputs_changed
        with RunDirectory.open(tmp_path, changed) as run:
            assert not run.outputs_changed
        with RunDirectory.open(tmp_path, SETTINGS) as run:
            assert run.outputs_changed

    def test_outputs_of_a_run_that_is_not_open(self, tmp_path):
        with pytest.raises(RunError) as caught:
            RunDirectory(tmp_path).record_outputs()
        assert str(caught.value) == f"{tmp_path} is not open for writing; use RunDirectory.open"

    @pytest.mark.parametrize("settings", [{"maps": {}}, {"maps": {}, "outputs": {}, "more": {}}])
    def test_other_sections(self, tmp_path, settings):
        with pytest.raises(SettingError) as caught:
            RunDirectory.open(tmp_path / "run", settings)
        assert str(caught.value) == f"the settings of a run are maps and outputs; got {', '.join(settings)}"
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("value", [float("nan"), Path("x"), {1, 2}])
    def test_not_json(self, tmp_path, value):
        with pytest.raises(SettingError, match=r"^the settings of a run are JSON values: "):
            RunDirectory.open(tmp_path / "run", with_maps(value=value))
        assert not (tmp_path / "run").exists()


class TestFoldersThatAreNoRun:
    def test_foreign_folder_stays_untouched(self, tmp_path):
        (tmp_path / "holiday.jpg").touch()
        before = everything(tmp_path)
        assert refusal(tmp_path) == (
            f"{tmp_path} is not empty and holds no run of advcam; choose another --out or empty it"
        )
        assert everything(tmp_path) == before

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ('{"advcam_run": 1, "maps"', "Expecting ':' delimiter: line 1 column 25 (char 24)"),
            ("[]", "it holds no settings of a run"),
            ('{"model_type": "resnet"}', "it holds no settings of a run"),
            ('{"advcam_run": 2}', "it has format 2, expected 1"),
            ('{"advcam_run": 1}', "its settings do not fit their fingerprints"),
        ],
    )
    def test_damaged_or_foreign_config_stays_untouched(self, tmp_path, content, reason):
        path = tmp_path / "config.json"
        path.write_text(content)
        assert refusal(tmp_path) == (
            f"{path} is damaged or not of this version of advcam ({reason}); choose another --out or delete the folder"
        )
        assert everything(tmp_path) == {path: content.encode()}

    def test_config_that_is_not_text(self, tmp_path):
        (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
        assert "config.json is damaged" in refusal(tmp_path)

    def test_config_edited_by_hand(self, tmp_path):
        path = start(tmp_path) / "config.json"
        path.write_text(path.read_text().replace("30", "31"))
        assert "its settings do not fit their fingerprints" in refusal(tmp_path)

    def test_file(self, tmp_path):
        path = tmp_path / "run"
        path.touch()
        assert refusal(path) == f"{path} is a file; choose another --out, a run takes a folder"

    def test_below_a_file(self, tmp_path):
        path = tmp_path / "file" / "run"
        path.parent.touch()
        assert refusal(path) == f"cannot write a run to {path} (Not a directory); choose another --out"

    def test_disk_that_cannot_be_written(self):
        assert refusal(Path("/proc/run-of-advcam")).startswith("cannot write a run to /proc/run-of-advcam (")

    def test_read_only_folder(self, tmp_path, monkeypatch):
        real = Path.open

        def read_only(path, mode="r", *options, **more):
            if mode != "rb":
                raise OSError(30, "Read-only file system")
            return real(path, mode, *options, **more)

        monkeypatch.setattr(Path, "open", read_only)
        assert refusal(tmp_path) == f"cannot write a run to {tmp_path} (Read-only file system); choose another --out"

    def test_full_disk_leaves_a_folder_that_can_be_used_later(self, tmp_path, monkeypatch):
        def full(_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", full)
            assert refusal(tmp_path) == (
                f"cannot write {tmp_path / 'config.json'} (No space left on device); make room, change the "
                "permissions or choose another --out"
            )
        start(tmp_path)

    def test_killed_while_starting(self, tmp_path):
        (tmp_path / ".lock").touch()
        (tmp_path / "config.json.partial").write_text('{"adv')
        start(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json"]

    def test_leftovers_of_a_killed_run_go_when_it_is_continued(self, tmp_path):
        before = everything(start(tmp_path))
        (tmp_path / "boxes.json.partial").write_text("{")
        start(tmp_path)
        assert everything(tmp_path) == before


class TestLock:
    def test_second_opening_is_refused_until_the_first_is_closed(self, tmp_path):
        run = RunDirectory.open(tmp_path, SETTINGS)
        assert refusal(tmp_path) == (f"another process is writing to {tmp_path}; wait for it or choose another --out")
        run.close()
        start(tmp_path)

    def test_refusal_lets_go_of_the_lock(self, tmp_path):
        start(tmp_path)
        with pytest.raises(RunError) as caught:
            RunDirectory.open(tmp_path, with_maps(steps=1))
        start(tmp_path)
        assert "steps was 30" in str(caught.value)

    def test_killed_process_lets_go_of_the_lock(self, tmp_path):
        code = (
            "import os, sys; from pathlib import Path; from advcam.store.run import RunDirectory\n"
            "run = RunDirectory.open(Path(sys.argv[1]), {'maps': {}, 'outputs': {}})\n"
            "print('open', flush=True); sys.stdin.read(1); os._exit(9)"
        )
        command = [sys.executable, "-c", code, tmp_path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "open\n"
            assert "another process is writing" in refusal(tmp_path, {"maps": {}, "outputs": {}})
            process.communicate("x")
        assert process.returncode == 9
        start(tmp_path, {"maps": {}, "outputs": {}})


class TestOutputNames:
    @pytest.mark.parametrize(
        "expected",
        [
            {"a/cat.jpg": "a/cat", "b/cat.jpg": "b/cat"},
            {"cat.jpg": "cat.jpg", "cat.png": "cat.png", "dog.jpg": "dog"},
            {"Cat.jpg": "Cat.jpg", "cat.png": "cat.png"},
            {"cat.jpg": "cat.jpg", "cat.png": "cat.png", "cat.jpg.png": "cat.jpg.png"},
            {"a.b/cat": "a.b/cat", "cat.tar.gz": "cat.tar"},
            {},
        ],
    )
    def test_names(self, expected):
        assert output_names(list(expected)) == expected

    @pytest.mark.parametrize("id_", ["../cat.jpg", "a/../../cat.jpg", "/etc/cat.jpg", "..", "", "."])
    def test_ids_stay_in_the_folder(self, id_):
        with pytest.raises(SettingError) as caught:
            output_names(["cat.jpg", id_])
        assert str(caught.value) == f"a sample id is a path inside the data set; got {id_!r}"

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.text("aA./", min_size=1).filter(lambda s: not {"..", ""} & set(s.split("/")) and s != ".")))
    def test_each_id_has_its_own_name(self, ids):
        names = output_names([id_ for id_ in ids if Path(id_).as_posix() == id_])
        assert len(set(names.values())) == len(names)
