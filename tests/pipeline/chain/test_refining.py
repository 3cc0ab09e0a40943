"""Refined scores of stored maps: what each refinement computes, and that nothing is computed twice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from chains import Heard, run, settings

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.chain.pictures import Pictures, read_pictures
from advcam.pipeline.chain.refining import AffinityRefiner, CrfRefiner, refine_store
from advcam.pipeline.chain.settings import AffinityRefinement, CrfRefinement
from advcam.pipeline.shards import LocalEngine
from advcam.refine.dense_crf import DEEPLAB, IRN_LABELS, dense_crf, label_unary
from advcam.refine.local_affinity import AffinitySettings, local_affinity
from advcam.store.maps import MapStore
from advcam.types import Attribution, FloatArray


@pytest.fixture(scope="module")
def localized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pictures]:
    """A map store and its eight pictures, one of them without a class."""
    folder = tmp_path_factory.mktemp("localized")
    write_dataset("table", folder / "data", 12)
    made = settings(folder / "data")
    run(made, folder / "run", until="localize")
    return folder / "run" / "localize" / "maps", read_pictures(made.data)


def picture_and_maps(seed: int = 0) -> tuple[Attribution, np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = rng.random((2, 6, 8), dtype=np.float32)
    maps /= maps.max(axis=(1, 2), keepdims=True)
    attribution = Attribution((3, 5), ("cat", "dog"), maps, (24, 32), np.ones(2, np.float32))
    return attribution, rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(("kernels", "constants"), [("deeplab", DEEPLAB), ("irn", IRN_LABELS)])
@pytest.mark.parametrize("own", [None, 0.7])
def test_the_crf_starts_from_the_label_mask(kernels: str, constants: object, own: float | None) -> None:
    """AdvCAM's seed + CRF: pixel by pixel the best class above the threshold, certain by `confidence`."""
    attribution, picture = picture_and_maps()
    refined = CrfRefiner(CrfRefinement(kernels=kernels, threshold=own, confidence=0.6), 0.4, "cpu")
    scores = refined(attribution, picture)
    maps, labels = attribution.upsample(), np.zeros((24, 32), np.int64)
    for y in range(24):
        for x in range(32):
            best = max(range(2), key=lambda c: maps[c, y, x])
            labels[y, x] = best + 1 if maps[best, y, x] > (own or 0.4) else 0
    assert 0 < (labels == 0).mean() < 1
    unary = label_unary(torch.from_numpy(labels)[None], 3, 0.6)
    expected = dense_crf(torch.from_numpy(picture).permute(2, 0, 1)[None], unary, constants)[0, 1:]
    assert np.array_equal(scores, expected.numpy())
    assert scores.shape == (2, 24, 32)
    assert (scores.sum(axis=0) <= 1 + 1e-5).all(), "the background has the rest"


def test_affinity_keeps_the_scale_of_the_maps() -> None:
    attribution, picture = picture_and_maps()
    scores = AffinityRefiner(AffinityRefinement(iterations=3), "cpu")(attribution, picture)
    expected = local_affinity(
        torch.from_numpy(picture).permute(2, 0, 1)[None],
        torch.from_numpy(attribution.upsample())[None],
        AffinitySettings(iterations=3),
    )[0]
    assert np.array_equal(scores, expected.numpy())
    assert scores.max() < 1


def test_what_is_stored_is_not_refined_again(localized: tuple[Path, Pictures], tmp_path: Path) -> None:
    source, pictures = localized
    seen: list[tuple[str, ...]] = []

    def refiner(attribution: Attribution, _: np.ndarray) -> FloatArray:
        seen.append(attribution.class_names)
        return attribution.upsample() * 0.5

    first, watcher = pictures.masks[:3], Heard()
    outcome = refine_store(source, first, refiner, tmp_path / "maps", watcher, "half", LocalEngine())
    assert dict(outcome.facts) == {"pictures": "3"}
    refine_store(source, pictures.masks, refiner, tmp_path / "maps", watcher, "half", LocalEngine())
    assert seen == [sample.labels for sample in pictures.masks if sample.labels]
    before, after = MapStore(source), MapStore(tmp_path / "maps")
    assert sorted(after.ids()) == sorted(sample.id for sample in pictures.masks)
    for sample in pictures.masks:
        old, new = before.get(sample.id), after.get(sample.id)
        assert new.attribution.class_names == old.attribution.class_names
        assert new.attribution.image_size == old.attribution.image_size
        assert new.file_bytes == old.file_bytes
        if sample.labels:
            expected = old.attribution.upsample() * 0.5
            assert np.allclose(new.attribution.maps, expected, atol=1e-3), "stored with 16 bits"


def test_pictures_without_maps_are_named(localized: tuple[Path, Pictures], tmp_path: Path) -> None:
    source, pictures = localized
    others = list(pictures.dataset.samples("val"))[:2]
    asked, engine = [*pictures.masks[:1], *others], LocalEngine()
    outcome = refine_store(source, asked, lambda a, _: a.upsample(), tmp_path, Heard(), "x", engine)
    assert list(outcome.skipped) == [(sample.id, "it has no maps") for sample in others]
    assert dict(outcome.facts) == {"pictures": "1"}
