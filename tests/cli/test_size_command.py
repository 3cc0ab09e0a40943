"""`advcam size` as users meet it: a table with what it stands on, JSON, and mistakes in one line."""

import json
import math

import numpy as np
import pytest
from cyclopts import App

from advcam.cli.size import in_bytes, seconds_of_a_pass, size
from advcam.errors import SettingError

app = App()
app.command(size)
#: A small network, so that nothing waits for it.
WORKERS = ["--workers", "8", "--workers-per-machine", "4"]
GIVEN = ["--pictures", "100000", *WORKERS, "--device-seconds-per-pass", "0.05"]


def run(*arguments: str) -> int:
    return int(app(["size", *arguments], exit_on_error=False, print_error=False, result_action="return_value"))


def test_table_and_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*GIVEN, "--price-per-machine-hour", "2", "--stages", "predict", "localize", "--mttf-hours", "100") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == ["localize", "predict"]  # in the order of a chain
    assert lines[1].split() == ["workers", "with", "work", "8", "8"]
    assert lines[2].split() == ["machines", "2", "2"]
    assert any(line.startswith("cost ") for line in lines)
    assert any(line.startswith("together: ") for line in lines)
    assert "0.05 s for a pass of 375 x 500 pixels on one core, as given" in out
    assert "a machine fails every 100 hours and another comes in 300 s" in out
    assert "100,000 pictures of 0.19 megapixels with 1.5 classes" in out
    assert max(map(len, lines)) <= 120


def test_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*GIVEN, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (stage,) = found["stages"]
    assert stage["stage"] == "localize"
    assert stage["cost"] is None
    # balanced: 9 passes at scale 1 and 2, 3 at scale 0.5; for 1.5 classes
    assert found["job"]["passes"] == pytest.approx(1.5 * (3 * 0.25 + 9 + 9 * 4))
    figures = found["figures"]
    seconds = found["job"]["passes"] * 0.05 + figures["read_seconds"] + figures["output_seconds"]
    assert stage["picture_seconds"] == pytest.approx(seconds)
    assert stage["hours"] >= stage["ideal_hours"] == pytest.approx(100_000 * seconds / 8 / 3600)


def test_the_method_decides_the_passes(capsys: pytest.CaptureFixture[str]) -> None:
    def passes(*options: str) -> float:
        assert run(*GIVEN, "--json", *options) == 0
        return float(json.loads(capsys.readouterr().out)["job"]["passes"])

    assert passes("--effort", "fast", "--scales", "1") == pytest.approx(1.5 * 5)
    assert passes("--method", "cam", "--scales", "1") == pytest.approx(2)  # one pass of two views serves all classes
    assert passes("--classes-per-picture", "3") == pytest.approx(2 * passes())


def test_large_pictures_are_worked_on_at_the_largest_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*GIVEN, "--json", "--picture-size", "5120", "2560") == 0
    assert json.loads(capsys.readouterr().out)["job"]["area"] == pytest.approx(512 * 256 / (375 * 500))


def test_measures_where_no_speed_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--pictures", "1000", "--model", "test_efficientnet", "--picture-size", "64", "48", "--effort", "fast"]
    assert run(*options, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["figures"]["pass_seconds"] < math.inf
    assert run(*options) == 0
    assert "on one core, measured here" in capsys.readouterr().out


class _Counted:
    """A method whose steps take no time but are counted."""

    scales = (0.5, 1.0)

    def __init__(self) -> None:
        self.calls: list[tuple[float, tuple[int, int]]] = []

    def brief(self, scale: float) -> "_Brief":
        return _Brief(self, scale)

    def passes(self, scale: float) -> int:
        return 9

    def cost(self, counts: list[int]) -> object:
        return type("Cost", (), {"passes": 9 * 1.25 * sum(counts)})


class _Brief:
    def __init__(self, method: _Counted, scale: float) -> None:
        self.method, self.scale = method, scale

    def passes(self, scale: float) -> int:
        return 3

    def __call__(self, pictures: list, classes: list) -> None:
        self.method.calls.append((self.scale, pictures[0].size))


def test_a_pass_is_timed_as_the_method_makes_it() -> None:
    # The first call of a scale takes 100 s, the next two 6 and 3 s, of which the shorter counts.
    clock = iter(np.cumsum([0, 100, 0, 6, 0, 3] * 2).tolist())
    method = _Counted()
    seconds = seconds_of_a_pass(method, (500, 375), lambda: next(clock))  # type: ignore[arg-type]
    assert [scale for scale, _ in method.calls] == [0.5] * 3 + [1.0] * 3
    assert {size_ for _, size_ in method.calls} == {(500, 375)}
    assert seconds == pytest.approx(2 * 3 * 9 / 3 / (9 * 1.25))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stages", "refine"], "no stage is called 'refine'; there are train-classifier, localize, refine-crf"),
        (["--picture-size", "0", "5"], "--picture-size is positive; got 0"),
        (["--workers=0"], "--workers is positive; got 0"),
        (["--device-seconds-per-pass=-1"], "--device-seconds-per-pass is positive; got -1"),
        (["--device-seconds-per-pass=inf"], "--device-seconds-per-pass is positive; got inf"),
        (["--mttf-hours", "0"], "--mttf-hours is positive; got 0"),
        (["--classes-per-picture", "nan"], "--classes-per-picture is positive; got nan"),
        (["--price-per-machine-hour", "0"], "--price-per-machine-hour is positive; got 0"),
        (
            ["--device-seconds-per-pass=1", "--mttf-hours", "0.001"],
            "machines live 3.6 s on average, too short to start",
        ),
        (["--device-seconds-per-pass=1", "--method", "adcam"], "no method is called 'adcam'; did you mean"),
    ],
)
def test_mistakes_are_named(options: list[str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        run("--pictures", "100000", *options)
    assert str(caught.value).startswith(message)


def test_bytes_in_words() -> None:
    assert [in_bytes(n) for n in (0, 999, 2500, 1.5e6, 2e9, 814.4e9, 3.84e12)] == [
        "0 B", "999 B", "2.5 kB", "1.5 MB", "2 GB", "814 GB", "3.84 TB",
    ]  # fmt: skip
