"""Methods by name."""

import pytest
from literal import ToyNetwork

from advcam import CAM, AdvCAM, Classifier, GradCAM, GradCAMPlusPlus, LayerCAM, create_method, list_methods
from advcam.errors import SettingError


@pytest.fixture(scope="module")
def network() -> Classifier:
    return Classifier.from_module(ToyNetwork())


def test_names() -> None:
    assert list_methods() == ["advcam", "cam", "gradcam", "gradcam++", "layercam"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("advcam", AdvCAM),
        ("AdvCAM", AdvCAM),
        ("CAM", CAM),
        ("Grad-CAM", GradCAM),
        ("grad_cam++", GradCAMPlusPlus),
        ("layercam", LayerCAM),
    ],
)
def test_create(network: Classifier, name: str, expected: type) -> None:
    assert type(create_method(name, network)) is expected


def test_settings_reach_the_method(network: Classifier) -> None:
    method = create_method("advcam", network, iterations=3, scales=(1,))
    assert isinstance(method, AdvCAM)
    assert (method.settings.iterations, method.scales) == (3, (1,))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gradcam+", "did you mean gradcam++ or gradcam? "),
        ("addcam", "did you mean advcam or gradcam? "),
        ("zzz", ""),
    ],
)
def test_unknown_name(network: Classifier, name: str, hint: str) -> None:
    with pytest.raises(SettingError) as caught:
        create_method(name, network)
    assert str(caught.value) == (
        f"no method is called {name!r}; {hint}there are advcam, cam, gradcam, gradcam++, layercam"
    )


def test_foreign_settings(network: Classifier) -> None:
    with pytest.raises(SettingError) as caught:
        create_method("cam", network, iterations=3)
    assert str(caught.value).startswith("iterations is a setting of another method; CAM takes scales, ")
    assert str(caught.value).endswith(": leave the others away (in a recipe: localize={method: cam})")
