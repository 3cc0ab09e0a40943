"""A recipe comes back as it was written, and a hostile file ends in one line that names what is wrong."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from advcam.errors import SettingError
from advcam.pipeline.config import MethodSettings, OutputSettings, localize_settings
from advcam.pipeline.recipe import Provenance, Recipe, read_recipe, write_recipe

RECIPE = Recipe(
    method=MethodSettings(method="advcam", iterations=5, penalty=0.75, other_classes="none", scales=(0.5, 1.0)),
    outputs=OutputSettings(threshold=0.36),
    chosen=Provenance(
        supervision="validated on 2 labelled pictures",
        labelled=("folder/Kätzchen: 1.jpg", "no"),
        figures={"held_out_gain": -0.012},
        passes=1234.5,
    ),
)


def test_a_recipe_comes_back_as_it_was_written(tmp_path: Path):
    write_recipe(tmp_path / "recipe.yaml", RECIPE)
    assert read_recipe(tmp_path / "recipe.yaml") == RECIPE


def test_only_what_was_set_is_written(tmp_path: Path):
    write_recipe(tmp_path / "recipe.yaml", RECIPE)
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert "threshold: 0.36" in text
    assert not any(word in text for word in ("batch_size", "overlays", "null", "!!"))
    assert read_recipe(tmp_path / "recipe.yaml").outputs.model_fields_set == {"threshold"}


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    other=st.sampled_from(["none", "all", "logsumexp", 1, 5]),
    number=st.floats(0, 1e6, allow_nan=False),
    scales=st.lists(st.floats(0.01, 8), min_size=1, max_size=4),
    ids=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=3),
)
def test_any_value_comes_back(tmp_path: Path, other: int | str, number: float, scales: list[float], ids: list[str]):
    method = MethodSettings(step_size=number, other_classes=other, scales=tuple(scales))
    recipe = Recipe(method=method, chosen=Provenance(supervision="s", labelled=tuple(ids)))
    write_recipe(tmp_path / "recipe.yaml", recipe)
    assert read_recipe(tmp_path / "recipe.yaml") == recipe


def test_a_recipe_written_by_hand_may_be_short_and_fits_a_localization(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("method:\n  penalty: 2\n")
    recipe = read_recipe(tmp_path / "mine.yaml")
    assert recipe == Recipe(method=MethodSettings(penalty=2))
    localize_settings(inputs=("a",), labels="predicted", out=tmp_path, method=recipe.method, outputs=recipe.outputs)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method:\n  penalti: 1\n", r"method\.penalti: Extra inputs are not permitted; got 1"),
        ("methods:\n  penalty: 1\n", "methods: Extra inputs are not permitted; got a group of keys"),
        ("method:\n  iterations: many\n", r"method\.iterations: .*integer.*; got 'many'"),
        ("method:\n  scales: 1\n", r"method\.scales: .*tuple.*; got 1"),
        ("method: []\n", "method: .*dictionary.*; got a list"),
        ("outputs:\n  threshold: 1.5\n", r"outputs\.threshold: .*less than or equal to 1; got 1\.5"),
        ("chosen:\n  command: x\n", r"chosen\.supervision: Field required"),
        ("1: 2\n", "1: Keys should be strings"),
        ("method:\n  variant: !!python/object/apply:os.system [echo]\n", "no plain YAML .*python/object.* in line 2"),
        ("!!python/object:advcam.Recipe {}\n", "no plain YAML .*python/object"),
        ("method: {penalty: 1\n", "no plain YAML .* in line 2"),
        ("method:\n\t- 1\n", "no plain YAML"),
        ("method: \x00\n", "no plain YAML"),
        ("method: 2024-99-99\n", "no plain YAML"),
        ("a: &a [1]\nmethod: *a\n", "YAML references"),
        ("[" * 100_000, "nests more than 10 lists"),
        ("{a: " * 100_000, "nests more than 10 lists"),
        ("- " * 100_000, "nests more than 10 lists"),
        ("", "is no recipe"),
        ("just words\n", "is no recipe"),
        ("a: 1\n" * 300_000, "a recipe is a page of text"),
    ],
)
def test_a_wrong_recipe_is_one_line_that_names_it(tmp_path: Path, text: str, words: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match=words) as caught:
        read_recipe(path)
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_recipe_cut_short_anywhere_is_read_or_refused(tmp_path: Path):
    write_recipe(tmp_path / "whole.yaml", RECIPE)
    whole, path = (tmp_path / "whole.yaml").read_bytes(), tmp_path / "cut.yaml"
    refused = 0
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        try:
            read_recipe(path)
        except SettingError:
            refused += 1
    assert refused > 0


def test_no_file_bytes_that_are_no_text_and_a_folder(tmp_path: Path):
    with pytest.raises(SettingError, match=r"cannot read the recipe .*; name a recipe\.yaml"):
        read_recipe(tmp_path / "absent.yaml")
    with pytest.raises(SettingError, match="cannot read the recipe"):
        read_recipe(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SettingError, match="no plain YAML"):
        read_recipe(tmp_path / "bytes.yaml")
