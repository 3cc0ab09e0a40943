"""What an attribution makes of its maps: masks, boxes, overlays and files."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from safetensors.numpy import save_file

from advcam.colours import heat
from advcam.errors import PictureError, RunError, SettingError
from advcam.types import Attribution, Box, Trajectory

NO_SPACE = OSError(28, "No space left on device")


def attribution(*maps, class_ids=None, image_size=None, **more):
    """Maps given as nested lists or arrays; the picture has their size unless another is given."""
    stacked = np.array(maps, dtype=np.float32)
    ids = tuple(range(len(maps))) if class_ids is None else class_ids
    scores = np.arange(len(maps), dtype=np.float32)
    names = tuple(f"class {number}" for number in ids)
    return Attribution(ids, names, stacked, image_size or stacked.shape[1:], scores, **more)


def of_no_class(height=3, width=4):
    empty = np.zeros((0, 2, 2), dtype=np.float32)
    return Attribution((), (), empty, (height, width), np.zeros(0, dtype=np.float32))


def with_blobs():
    """A 12 x 16 map: one blob of 3 x 5 pixels, a smaller one of 2 x 2, and a single pixel."""
    blobs = np.zeros((12, 16), dtype=np.float32)
    blobs[2:5, 1:6] = 0.6
    blobs[3, 3] = 0.9
    blobs[8:10, 10:12] = 1.0
    blobs[11, 15] = 0.5
    return blobs


class TestShapes:
    @pytest.mark.parametrize(
        ("class_ids", "names", "shape"),
        [
            ((0,), ("a",), (2, 4, 4)),
            ((0, 1), ("a",), (2, 4, 4)),
            ((0,), ("a",), (4, 4)),
            ((4,), ("a",), (4,)),
            ((0,), ("a",), (1, 4, 4, 1)),
        ],
    )
    def test_wrong_shapes(self, class_ids, names, shape):
        with pytest.raises(SettingError) as caught:
            Attribution(class_ids, names, np.zeros(shape, np.float32), (8, 8), np.zeros(1, np.float32))
        assert str(caught.value) == (
            f"an Attribution takes one (h, w) map and one name for each class; got {len(class_ids)} classes, "
            f"{len(names)} names and maps of shape {shape}"
        )


class TestUpsample:
    def test_same_size_changes_nothing(self):
        maps = np.random.default_rng(0).random((2, 5, 7), dtype=np.float32)
        np.testing.assert_array_equal(attribution(*maps).upsample(), maps)

    def test_bilinear_values(self):
        upsampled = attribution([[0.0, 1.0]], image_size=(1, 4)).upsample()
        assert upsampled.dtype == np.float32
        np.testing.assert_allclose(upsampled, [[[0.0, 0.25, 0.75, 1.0]]])

    def test_height_comes_before_width(self):
        upsampled = attribution([[0.0], [1.0]], image_size=(4, 3)).upsample()
        np.testing.assert_allclose(upsampled, np.tile([[[0.0], [0.25], [0.75], [1.0]]], 3))

    def test_no_classes(self):
        upsampled = of_no_class(3, 4).upsample()
        assert upsampled.shape == (0, 3, 4)
        assert upsampled.dtype == np.float32

    @settings(derandomize=True, deadline=None, max_examples=50)
    @given(
        arrays.arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)),
        st.integers(1, 30),
        st.integers(1, 30),
    )
    def test_values_stay_within_those_of_the_map(self, maps, height, width):
        upsampled = attribution(*maps, image_size=(height, width)).upsample()
        assert upsampled.shape == (2, height, width)
        for small, large in zip(maps, upsampled, strict=True):
            assert small.min() - 1e-6 <= large.min()
            assert large.max() <= small.max() + 1e-6


class TestLabelMask:
    def test_highest_class_wins_and_is_one_above_its_id(self):
        found = attribution([[0.9, 0.4, 0.0]], [[0.5, 0.8, 0.1]], class_ids=(4, 19)).label_mask(0.3)
        assert found.dtype == np.int32
        assert found.tolist() == [[5, 20, 0]]

    def test_background_wins_ties(self):
        below, above = np.nextafter(np.float32(0.5), np.float32([0, 1]))
        assert attribution([[below, 0.5, above]], class_ids=(6,)).label_mask(0.5).tolist() == [[0, 0, 7]]

    def test_first_class_wins_ties_between_classes(self):
        assert attribution([[0.5]], [[0.5]], class_ids=(8, 2)).label_mask(0.3).tolist() == [[9]]

    def test_all_zero_map_claims_no_pixel_at_threshold_0(self):
        found = attribution([[0.0, 0.0]], [[0.0, 0.1]], class_ids=(0, 1)).label_mask(0)
        assert found.tolist() == [[0, 2]]

    def test_threshold_1_is_all_background(self):
        assert attribution([[1.0, 0.9]]).label_mask(1).tolist() == [[0, 0]]

    def test_default_threshold(self):
        assert attribution([[0.29, 0.31]]).label_mask().tolist() == [[0, 1]]

    def test_size_of_the_picture(self):
        assert attribution([[1.0]], image_size=(5, 9)).label_mask().tolist() == [[1] * 9] * 5

    def test_no_classes(self):
        found = of_no_class(3, 4).label_mask()
        assert found.dtype == np.int32
        assert found.tolist() == [[0] * 4] * 3

    @pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
    @pytest.mark.parametrize("use", [Attribution.label_mask, Attribution.boxes])
    def test_threshold_out_of_range(self, use, threshold):
        with pytest.raises(SettingError) as caught:
            use(attribution([[1.0]]), threshold)
        assert str(caught.value) == f"a threshold on maps lies between 0 and 1; got {threshold}"


class TestBoxes:
    def test_largest_is_half_open(self):
        assert attribution(with_blobs(), class_ids=(7,)).boxes(0.3) == [
            Box(7, 1, 2, 6, 5, pytest.approx(0.9)),
        ]

    def test_all_come_largest_first(self):
        assert attribution(with_blobs(), class_ids=(7,)).boxes(0.3, "all") == [
            Box(7, 1, 2, 6, 5, pytest.approx(0.9)),
            Box(7, 10, 8, 12, 10, 1.0),
            Box(7, 15, 11, 16, 12, 0.5),
        ]

    def test_pixels_at_the_threshold_are_outside(self):
        assert [box.x0 for box in attribution(with_blobs()).boxes(0.5, "all")] == [1, 10]

    def test_box_of_everything(self):
        assert attribution(np.ones((4, 6))).boxes() == [Box(0, 0, 0, 6, 4, 1.0)]

    def test_holes_are_no_boxes(self):
        ring = np.ones((9, 9))
        ring[3:6, 3:6] = 0
        assert attribution(ring).boxes(0.3, "all") == [Box(0, 0, 0, 9, 9, 1.0)]

    def test_pixels_of_the_picture(self):
        half = np.zeros((2, 2))
        half[:, 1] = 1
        assert attribution(half, image_size=(20, 40)).boxes(0.5) == [Box(0, 20, 0, 40, 20, 1.0)]

    def test_one_list_for_all_classes(self):
        pixel = np.zeros((12, 16))
        pixel[0, 0] = 1
        boxes = attribution(with_blobs(), pixel, class_ids=(9, 2)).boxes()
        assert [box.class_id for box in boxes] == [9, 2]

    @pytest.mark.parametrize("contours", ["largest", "all"])
    def test_all_zero_map_has_none_even_at_threshold_0(self, contours):
        assert attribution(np.zeros((4, 6))).boxes(0, contours) == []

    def test_no_classes(self):
        assert of_no_class().boxes() == []

    def test_unknown_contours(self):
        with pytest.raises(SettingError) as caught:
            attribution([[1.0]]).boxes(contours="biggest")
        assert str(caught.value) == 'contours is "largest" or "all", not \'biggest\''


class TestOverlay:
    def test_one_class(self):
        two = attribution(np.zeros((4, 6)), np.ones((4, 6)), class_ids=(3, 5))
        shown = two.overlay(Image.new("RGB", (6, 4)), class_id=5, opacity=1)
        assert (shown.mode, shown.size) == ("RGB", (6, 4))
        assert (np.asarray(shown) == heat(np.ones((4, 6)))).all()

    def test_all_classes_show_the_largest_value(self):
        left, right = np.zeros((2, 4, 6))
        left[:, :3], right[:, 3:] = 1, 1
        shown = attribution(left, right).overlay(Image.new("RGB", (6, 4)), opacity=1)
        assert (np.asarray(shown) == heat(np.ones((4, 6)))).all()

    def test_opacity_0_shows_the_picture(self):
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8))
        shown = attribution(np.ones((4, 6))).overlay(picture, opacity=0)
        assert (np.asarray(shown) == np.asarray(picture)).all()

    def test_size_is_that_of_the_picture_given(self):
        small = attribution(np.ones((2, 3)), image_size=(40, 60))
        assert small.overlay(Image.new("L", (12, 8), 100)).size == (12, 8)

    def test_no_classes_show_no_heat(self):
        shown = of_no_class().overlay(Image.new("RGB", (6, 4)), opacity=1)
        assert (np.asarray(shown) == heat(np.zeros((4, 6)))).all()

    def test_class_without_a_map(self):
        with pytest.raises(SettingError) as caught:
            attribution([[1.0]], [[1.0]], class_ids=(3, 5)).overlay(Image.new("RGB", (2, 2)), class_id=4)
        assert str(caught.value) == "no map of class 4 here; the classes are [3, 5]"


def written(path, **changes):
    """A safetensors file with the facts of an attribution of one class, some of them changed."""
    facts = {"class_ids": [0], "class_names": ["a"], "image_size": [8, 8], **changes}
    arrays_ = {"maps": np.zeros((1, 2, 2), np.float32), "scores": np.zeros(1, np.float32)}
    save_file(arrays_, path, metadata={"advcam": json.dumps(facts)})
    return path


class TestFiles:
    @pytest.mark.parametrize("steps", [None, np.random.default_rng(1).random((2, 3, 4, 5), np.float32)])
    def test_round_trip(self, tmp_path, steps):
        maps = np.random.default_rng(0).random((2, 4, 5), dtype=np.float32)
        climb = Trajectory(3, 1.0, maps, maps[:, 0])
        saved = attribution(*maps, class_ids=(3, 8), image_size=(40, 50), steps=steps, trajectories=(climb,))
        saved.save(tmp_path / "a.safetensors")
        loaded = Attribution.load(str(tmp_path / "a.safetensors"))
        assert (loaded.class_ids, loaded.class_names) == ((3, 8), ("class 3", "class 8"))
        assert loaded.image_size == (40, 50)
        assert loaded.trajectories == ()
        np.testing.assert_array_equal(loaded.maps, maps)
        np.testing.assert_array_equal(loaded.scores, saved.scores)
        if steps is None:
            assert loaded.steps is None
        else:
            np.testing.assert_array_equal(loaded.steps, steps)
        assert list(tmp_path.iterdir()) == [tmp_path / "a.safetensors"]

    def test_views_of_larger_arrays_and_no_classes(self, tmp_path):
        large = np.random.default_rng(0).random((9, 8, 3), dtype=np.float32)
        strided = Attribution((1,), ("Käse",), large[::2, ::2].T[:1], (8, 8), large[0, 0, :1])
        for number, saved in enumerate([strided, of_no_class(3, 4)]):
            saved.save(tmp_path / str(number))
            loaded = Attribution.load(tmp_path / str(number))
            np.testing.assert_array_equal(loaded.maps, saved.maps)
            assert (loaded.class_names, loaded.image_size) == (saved.class_names, saved.image_size)

    @pytest.mark.parametrize("step", ["write_bytes", "replace"])
    def test_full_disk_keeps_the_old_file_and_leaves_no_partial(self, tmp_path, monkeypatch, step):
        path = tmp_path / "a.safetensors"
        attribution([[1.0]]).save(path)
        before = path.read_bytes()

        def full(partial, *_):
            with open(partial, "wb") as file:  # noqa: PTH123, the methods of Path are replaced
                file.write(b"half")
            raise NO_SPACE

        monkeypatch.setattr(Path, step, full)
        with pytest.raises(RunError) as caught:
            attribution([[0.5]]).save(path)
        assert str(caught.value) == (
            f"cannot write {path} (No space left on device); make room, change the permissions or choose another path"
        )
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == before

    def test_interrupt_leaves_no_partial(self, tmp_path, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            attribution([[1.0]]).save(tmp_path / "a.safetensors")
        assert not list(tmp_path.iterdir())

    def test_folder_that_does_not_exist(self, tmp_path):
        path = tmp_path / "no" / "a.safetensors"
        with pytest.raises(RunError) as caught:
            attribution([[1.0]]).save(path)
        assert str(caught.value) == (
            f"cannot write {path} (No such file or directory); make room, change the permissions or choose another path"
        )

    def test_folder_in_the_way(self, tmp_path):
        (tmp_path / "a").mkdir()
        with pytest.raises(RunError, match=r"^cannot write .*a \(Is a directory\)"):
            attribution([[1.0]]).save(tmp_path / "a")
        assert list(tmp_path.iterdir()) == [tmp_path / "a"]

    def test_missing_file(self, tmp_path):
        path = tmp_path / "a.safetensors"
        with pytest.raises(PictureError) as caught:
            Attribution.load(path)
        assert str(caught.value) == f"there is no file {path}; give one that Attribution.save wrote"

    def test_folder_instead_of_a_file(self, tmp_path):
        with pytest.raises(PictureError) as caught:
            Attribution.load(tmp_path)
        message = str(caught.value)
        assert message.startswith(f"cannot read {tmp_path} (")
        assert message.endswith("); give a file that Attribution.save wrote")

    @pytest.mark.parametrize("keep", [0, 7, 60, -1])
    def test_truncated_file(self, tmp_path, keep):
        path = tmp_path / "a.safetensors"
        attribution([[1.0]]).save(path)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(PictureError) as caught:
            Attribution.load(path)
        assert str(caught.value) == f"{path} was not written by Attribution.save, or is damaged"

    def test_file_of_something_else(self, tmp_path):
        path = tmp_path / "weights.safetensors"
        save_file({"maps": np.zeros(3, np.float32)}, path)
        with pytest.raises(PictureError) as caught:
            Attribution.load(path)
        assert str(caught.value) == f"{path} was not written by Attribution.save, or is damaged"

    @pytest.mark.parametrize(
        "changes",
        [
            {"class_ids": [0, 1]},
            {"class_ids": None},
            {"class_names": []},
            {"image_size": [8]},
            {"image_size": None},
        ],
    )
    def test_facts_that_do_not_fit_the_arrays(self, tmp_path, changes):
        Attribution.load(written(tmp_path / "whole"))
        path = written(tmp_path / "changed", **changes)
        with pytest.raises(PictureError) as caught:
            Attribution.load(path)
        assert str(caught.value) == f"{path} was not written by Attribution.save, or is damaged"
