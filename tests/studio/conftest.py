"""A run, and a client of its studio."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from shown_runs import CHANGES, studio_of, wait_until, write_run

from advcam.studio.access import Access
from advcam.studio.app import create_app
from advcam.studio.studio import Studio


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of four pictures."""
    return write_run(tmp_path)


@pytest.fixture
def studio(run: Path) -> Studio:
    """Its studio."""
    return studio_of(run)


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    """A page of it, once every picture was looked at."""
    app = create_app(studio, Access())
    with TestClient(app, base_url="http://localhost:8765", headers=CHANGES, raise_server_exceptions=False) as client:
        wait_until(lambda: studio.listing.done == studio.listing.total)
        yield client
