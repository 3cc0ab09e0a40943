"""The inventory of public names: removing or renaming one breaks users and needs an entry in CHANGELOG.md."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import advcam

INVENTORY = Path(__file__).with_name("public_names.json")


def test_public_names_are_the_inventory():
    listed = json.loads(INVENTORY.read_text())
    assert sorted(advcam.__all__) == listed, (
        f"the public names changed; say so in CHANGELOG.md and update {INVENTORY.name}"
    )


def test_every_public_name_exists_and_is_documented():
    for name in set(advcam.__all__) - {"__version__"}:
        assert getattr(advcam, name).__doc__, name
    assert set(advcam.__all__) == set(dir(advcam))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'advcam' has no attribute 'AdvCAMM'$"):
        advcam.AdvCAMM  # noqa: B018


def test_importing_the_package_does_not_import_torch():
    code = "import sys, advcam; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
