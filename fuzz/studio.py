"""What browsers send to the studio: requests, masks, pictures."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from advcam.classifiers.classifier import Classifier
from advcam.errors import AdvcamError
from advcam.pipeline.album import open_album
from advcam.studio.access import Access
from advcam.studio.app import create_app
from advcam.studio.binaries import decode_mask, encode_mask, unzipped
from advcam.studio.drops import Drops
from advcam.studio.studio import Studio
from fuzz.browser import ask
from fuzz.mutation import of_bytes, of_json
from fuzz.pictures import of_picture, picture_files
from fuzz.runs import CLASSES, write_prediction
from fuzz.target import Target, check_words

_SIZE = (20, 24)
_MOST = 2000
_GETS = (
    "/",
    "/static/main.js",
    "/api/docs",
    "/api/openapi.json",
    "/api/run",
    "/api/pictures",
    "/api/pictures/0",
    "/api/pictures/0/image",
    "/api/pictures/1/thumbnail",
    "/api/pictures/0/masks/final",
    "/api/pictures/0/maps/localize",
    "/api/classifier/classes",
    "/api/drops/0/image",
    "/api/jobs/0",
    "/api/jobs/0/file",
)
_QUERY = "sort=name&class=1&status=open&vanished=false&text=a&offset=0&limit=2&side=100&mask=final&revision=0"
_CHANGES: tuple[tuple[str, str, object], ...] = (
    ("PUT", "/api/pictures/0/status", {"status": "accepted", "revision": 0}),
    ("DELETE", "/api/pictures/0/mask", ""),
    ("POST", "/api/climbs", {"picture": 0, "class_ids": [0, 1], "iterations": 2, "effort": None}),
    ("POST", "/api/exports", {"format": "voc", "only": "all"}),
    ("POST", "/api/drops", "no picture"),
    ("PUT", "/api/pictures/0/mask", "no mask"),
    ("DELETE", "/api/jobs/0", ""),
)


def _requests(_folder: Path) -> list[bytes]:
    """A request to every route, as JSON."""
    headers = {"host": "localhost", "x-advcam": "1", "accept-encoding": "gzip", "if-none-match": '"a"', "x-name": "a"}
    headers |= {
        "range": "bytes=0-9",
        "content-type": "application/json",
        "cookie": "advcam=a",
        "authorization": "Bearer a",
    }
    asked = [("GET", path, "") for path in _GETS] + [(method, path, body) for method, path, body in _CHANGES]
    return [
        json.dumps({"method": m, "path": p, "query": _QUERY, "headers": headers, "body": body}).encode()
        for m, p, body in asked
    ]


def _request_reader(folder: Path) -> Callable[[bytes], object]:
    """Whatever is asked, in an answer that is no failure."""
    run = write_prediction(folder)
    studio = Studio(lambda: open_album(run))
    studio.live._loaded = _tiny()  # in the place of one of megabytes
    studio.jobs.close()  # what is put into the queue is refused
    app = create_app(studio, Access())

    def of(content: bytes) -> None:
        asked = _parsed(content)
        if asked is not None:
            ask(app, **asked)

    return of


def _parsed(content: bytes) -> dict[str, Any] | None:
    """What `ask` takes; None where no server would hand the request on."""
    try:
        asked = json.loads(content)
        headers = {str(name).lower(): str(value) for name, value in asked["headers"].items()}
        texts = {name: str(asked[name]) for name in ("path", "method", "query")}
        body = asked["body"] if isinstance(asked["body"], str) else json.dumps(asked["body"])
        texts["path"].encode(), texts["query"].encode("ascii"), "".join((*headers, *headers.values())).encode("latin-1")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    possible = texts["path"].startswith("/") and texts["method"].isalpha()
    return {**texts, "headers": headers, "body": body.encode("utf-8", "replace")} if possible else None


def _tiny() -> Classifier:
    layers = (torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    return Classifier.from_module(torch.nn.Sequential(*layers), class_names=CLASSES)


def _mask_reader(_folder: Path) -> Callable[[bytes], object]:
    """A mask as the page sends it, packed or not."""

    def of(content: bytes) -> None:
        packed = content.startswith(b"\x1f\x8b")
        mask = decode_mask(unzipped(content, _MOST) if packed else content, _SIZE, frozenset((0, 1, 255, 300)))
        assert mask.shape == _SIZE  # noqa: S101, a finding where it fails
        assert mask.dtype == np.int32  # noqa: S101, a finding where it fails

    return of


def _masks(_folder: Path) -> list[bytes]:
    small = np.zeros(_SIZE, dtype=np.int32)
    small[3:9, 4:7] = 1
    large = np.where(small > 0, 300, 255).astype(np.int32)
    plain = [encode_mask(small), encode_mask(large)]
    return [*plain, *(gzip.compress(content, mtime=0) for content in plain)]


def _of_mask(content: bytes, draw: random.Random) -> bytes:
    """Change bytes of what is packed, or of the whole."""
    if content.startswith(b"\x1f\x8b") and draw.random() < 0.5:
        try:
            plain = gzip.decompress(content)
        except (OSError, EOFError, ValueError):
            return of_bytes(content, draw)
        return gzip.compress(draw.choice((of_bytes(plain, draw), plain * 4000)), mtime=0)
    return of_bytes(content, draw)


def _drop_reader(folder: Path) -> Callable[[bytes], object]:
    """A dropped picture, by a name that is made of its bytes."""

    def of(content: bytes) -> None:
        drops = Drops(folder / "dropped")
        try:
            drop, picture = drops.keep(content[:40].decode("latin-1"), content)
        except AdvcamError as error:
            check_words(str(error))
            assert not list(drops.folder.glob("*"))  # noqa: S101, a finding where it fails
            raise
        assert drop.path.parent == drops.folder  # noqa: S101, a finding where it fails
        assert (drop.width, drop.height) == picture.size  # noqa: S101, a finding where it fails
        drop.path.unlink()

    return of


TARGETS = (
    Target("studio-request", _request_reader, _requests, of_json),
    Target("studio-mask", _mask_reader, _masks, _of_mask),
    Target("studio-drop", _drop_reader, picture_files, of_picture),
)
