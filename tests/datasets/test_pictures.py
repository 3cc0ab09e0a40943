"""Reading and finding pictures: colours as a person sees them, and one line for whatever is no picture."""

import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, ImageFileDirectory_v2

from advcam.datasets import pictures
from advcam.datasets.pictures import MAX_ASPECT, MIN_SIDE, find_pictures, read_picture
from advcam.errors import PictureError

SIDE = 32
RAMP = np.tile(np.linspace(0, 1, SIDE), (SIDE, 1))


def noise(height=SIDE, width=SIDE):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or Image.fromarray(noise())).save(path, **options)
    return path


def read(path):
    picture = read_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def refusal(path):
    """The message, which is one line and names the file."""
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


class TestColours:
    def test_rgb_is_untouched(self, tmp_path):
        assert (read(save(tmp_path / "a.png")) == noise()).all()

    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
    def test_opaque_modes(self, tmp_path, mode):
        image = Image.fromarray(np.where(RAMP > 0.5, 255, 0).astype(np.uint8)).convert(mode)
        expected = np.repeat(np.where(RAMP > 0.5, 255, 0)[..., None], 3, axis=2)
        assert (read(save(tmp_path / "a.tif", image)) == expected).all()

    def test_cmyk_jpeg(self, tmp_path):
        image = Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0))
        red, green, blue = read(save(tmp_path / "a.jpg", image, quality=95))[5, 5].tolist()
        assert red > 250
        assert max(green, blue) < 5

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_alpha_is_laid_over_white(self, tmp_path, mode):
        image = Image.new("L", (SIDE, SIDE), 0).convert(mode)
        image.putalpha(Image.fromarray((RAMP * 255).astype(np.uint8)))
        rgb = read(save(tmp_path / "a.png", image))
        assert np.abs(rgb[..., 0] - (255 - (RAMP * 255).astype(int))).max() <= 1

    def test_transparent_palette_entry_turns_white(self, tmp_path):
        image = Image.new("P", (SIDE, SIDE), 1)
        image.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
        image.paste(2, (0, 0, SIDE // 2, SIDE))
        rgb = read(save(tmp_path / "a.png", image, transparency=bytes([255, 0, 255])))
        assert rgb[0, 0].tolist() == [0, 255, 0]
        assert rgb[0, -1].tolist() == [255, 255, 255]

    def test_opaque_palette(self, tmp_path):
        image = Image.new("P", (SIDE, SIDE), 1)
        image.putpalette([255, 0, 0, 0, 0, 255])
        assert (read(save(tmp_path / "a.gif", image)) == [0, 0, 255]).all()

    def test_transparent_colour_of_rgb_and_grey(self, tmp_path):
        rgb = save(tmp_path / "rgb.png", Image.new("RGB", (SIDE, SIDE), (1, 2, 3)), transparency=(1, 2, 3))
        grey = save(tmp_path / "grey.png", Image.new("L", (SIDE, SIDE), 9), transparency=9)
        assert (read(rgb) == 255).all()
        assert (read(grey) == 255).all()

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2"])
    def test_16_bits_are_scaled_not_clipped(self, tmp_path, name):
        levels = Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16))
        rgb = read(save(tmp_path / name, levels))
        assert np.abs(rgb[..., 1] - RAMP * 255).max() <= 1

    def test_16_bit_transparent_level_turns_white(self, tmp_path):
        levels = np.where(RAMP > 0.5, 30000, 0).astype(np.uint16)
        rgb = read(save(tmp_path / "a.png", Image.fromarray(levels), transparency=30000))
        assert (rgb == np.where(RAMP > 0.5, 255, 0)[..., None]).all()

    def test_16_bit_big_endian(self, tmp_path):
        image = Image.frombytes("I;16B", (SIDE, SIDE), np.rint(RAMP * 65535).astype(">u2").tobytes())
        path = save(tmp_path / "a.tif", image)
        with Image.open(path) as stored:
            assert stored.mode == "I;16B"
        assert np.abs(read(path)[..., 0] - RAMP * 255).max() <= 1

    def test_12_bits_are_scaled_from_their_depth(self, tmp_path):
        values = np.rint(RAMP * 4095).astype(int)
        packed = bytearray()
        for first, second in values.reshape(-1, 2).tolist():
            packed += bytes([first >> 4, (first & 15) << 4 | second >> 8, second & 255])
        path = tmp_path / "a.tif"
        path.write_bytes(grey_tiff(bytes(packed), bits=12, photometric=1))
        assert np.abs(read(path)[..., 0] - RAMP * 255).max() <= 1

    def test_white_is_zero_16_bits(self, tmp_path):
        path = tmp_path / "a.tif"
        levels = np.rint(RAMP * 65535).astype("<u2").tobytes()
        path.write_bytes(grey_tiff(levels, bits=16, photometric=0))
        assert np.abs(read(path)[..., 0] - (1 - RAMP) * 255).max() <= 1

    def test_16_bit_pgm(self, tmp_path):
        path = tmp_path / "a.pgm"
        levels = np.rint(RAMP * 4095).astype(">u2")
        path.write_bytes(f"P5 {SIDE} {SIDE} 4095\n".encode() + levels.tobytes())
        assert np.abs(read(path)[..., 0] - RAMP * 255).max() <= 1

    @pytest.mark.parametrize(("top", "tolerance"), [(65535, 1), (2**31 - 1, 1)])
    def test_mode_i_by_the_range_that_holds_it(self, tmp_path, top, tolerance):
        image = Image.fromarray(np.floor(RAMP * top).astype(np.int32))
        assert image.mode == "I"
        assert np.abs(read(save(tmp_path / "a.tif", image))[..., 0] - RAMP * 255).max() <= tolerance

    @pytest.mark.parametrize("top", [1, 255, 65535, 1e6])
    def test_float_by_the_range_that_holds_it(self, tmp_path, top):
        image = Image.fromarray((RAMP * top).astype(np.float32))
        assert np.abs(read(save(tmp_path / "a.tif", image))[..., 0] - RAMP * 255).max() <= 1

    def test_float_that_is_not_finite_or_negative_is_black(self, tmp_path):
        levels = np.full((SIDE, SIDE), 1, dtype=np.float32)
        levels[0, :4] = [np.nan, np.inf, -np.inf, -1]
        rgb = read(save(tmp_path / "a.tif", Image.fromarray(levels)))
        assert (rgb[0, :4] == 0).all()
        assert (rgb[1:] == 255).all()

    @pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
    def test_first_frame_of_animations(self, tmp_path, name):
        frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue")]
        path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
        red, _, blue = read(path)[3, 3].tolist()
        assert red > 240
        assert blue < 15


def grey_tiff(data, *, bits, photometric):
    """A TIFF written by hand: one grey strip of a depth or polarity that Pillow does not write."""
    tags = ImageFileDirectory_v2()
    tags[256], tags[257], tags[BITSPERSAMPLE], tags[259] = SIDE, SIDE, (bits,), 1
    tags[PHOTOMETRIC_INTERPRETATION], tags[277], tags[278], tags[279] = photometric, 1, SIDE, len(data)
    tags[273] = 0  # Pillow adds where the tags end
    return b"II*\x00" + struct.pack("<I", 8) + tags.tobytes(8) + data


TURN = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p),
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", TURN)
    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_applied_once(self, tmp_path, name, orientation):
        stored = noise(20, 40)
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / name, Image.fromarray(stored), exif=exif)
        assert (read(path) == TURN[orientation](stored)).all()

    def test_applied_to_16_bits(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        levels = Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16))
        rgb = read(save(tmp_path / "a.png", levels, exif=exif))
        assert np.abs(rgb[..., 0] - RAMP.T * 255).max() <= 1

    def test_damaged_exif_does_not_matter(self, tmp_path):
        path = save(tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow tells of the damage
            assert read(path).shape == (SIDE, SIDE, 3)


class TestHostileFiles:
    def test_missing(self, tmp_path):
        path = tmp_path / "a.jpg"
        assert refusal(path) == f"{path} does not exist; check the path"

    def test_directory(self, tmp_path):
        assert refusal(tmp_path) == f"{tmp_path} is a folder, not a picture; name a file in it"

    def test_zero_bytes(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.touch()
        assert refusal(path) == f"{path} is empty (0 bytes); replace or remove it"

    def test_text_renamed(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_text("no picture at all\n")
        assert refusal(path) == (
            f"{path} is damaged or in no format that can be read (AVIF, BMP, GIF, JPEG, JPEG2000, PNG, PPM, "
            "TIFF, WEBP): it starts with b'no picture a'; replace it or convert it to JPEG or PNG"
        )

    @pytest.mark.parametrize("name", ["a.pcx", "a.eps", "a.ico"])
    def test_unsupported_format(self, tmp_path, name):
        assert "in no format that can be read" in refusal(save(tmp_path / name))

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.bmp", "a.tif", "a.jp2", "a.avif"])
    @pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
    def test_truncated(self, tmp_path, name, part):
        path = save(tmp_path / name)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * part)])
        message = refusal(path)
        assert "damaged" in message
        assert "replace" in message

    def test_truncated_message(self, tmp_path):
        path = save(tmp_path / "a.bmp")
        path.write_bytes(path.read_bytes()[:-100])
        message = refusal(path)
        assert message.startswith(f"{path} cannot be decoded (image file is truncated")
        assert message.endswith("): it is truncated or damaged; replace or remove it")

    def test_no_permission(self, tmp_path, monkeypatch):
        path = save(tmp_path / "a.jpg")

        def refuse(*_):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "open", refuse)
        assert refusal(path) == f"{path} may not be read (permission denied); change its permissions"

    def test_disk_error(self, tmp_path, monkeypatch):
        path = save(tmp_path / "a.jpg")

        def fail(*_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(Path, "open", fail)
        assert refusal(path) == f"{path} cannot be read (Input/output error); check the path"

    def test_pipe_does_not_block(self, tmp_path):
        os.mkfifo(tmp_path / "a.jpg")
        assert "is not a regular file" in refusal(tmp_path / "a.jpg")

    def test_one_pixel(self, tmp_path):
        path = save(tmp_path / "a.png", Image.new("RGB", (1, 1)))
        assert refusal(path) == (f"{path} is 1 x 1 pixels; a picture needs at least 16 on each side; leave it out")

    def test_too_elongated(self, tmp_path):
        path = save(tmp_path / "a.png", Image.new("L", (20_000, 20)))
        assert refusal(path) == (
            f"{path} is 20000 x 20 pixels; the longer side may be 32 times the shorter one at most; cut it into pieces"
        )

    @pytest.mark.parametrize("size", [(MIN_SIDE, MIN_SIDE), (MIN_SIDE * MAX_ASPECT, MIN_SIDE)])
    def test_limits_are_included(self, tmp_path, size):
        assert read_picture(save(tmp_path / "a.png", Image.new("L", size))).size == size

    @pytest.mark.parametrize("size", [(13_400, 13_300), (100_000, 100_000)])
    def test_bomb_is_not_decoded(self, tmp_path, size, monkeypatch):
        path = tmp_path / "a.png"
        path.write_bytes(png_header(*size))
        monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            message = refusal(path)
        assert message == f"{path} has more than 178,000,000 pixels; scale it down or cut it into tiles"

    def test_large_picture_below_the_limit_is_tried_without_warning(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(png_header(10_000, 10_000))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert "cannot be decoded" in refusal(path)


class TestFind:
    @pytest.fixture
    def photos(self, tmp_path):
        for name in (
            "a/cat.jpg",
            "b/cat.jpg",
            "b/DOG.JPEG",
            "top.png",
            ".hidden.png",
            ".cache/x.png",
            "b/notes.txt",
        ):
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "photos"

    @staticmethod
    def ids(*inputs):
        return [sample.id for sample in find_pictures(inputs)]

    def test_folder(self, photos):
        samples = find_pictures([photos])
        assert [s.id for s in samples] == ["a/cat.jpg", "b/DOG.JPEG", "b/cat.jpg", "top.png"]
        assert [s.path for s in samples] == [photos / s.id for s in samples]
        assert {s.labels for s in samples} == {None}

    def test_two_folders_are_told_apart_below_their_common_parent(self, photos):
        assert self.ids(photos / "a", photos / "b") == ["a/cat.jpg", "b/DOG.JPEG", "b/cat.jpg"]

    def test_folder_keeps_the_ids_of_a_deep_tree(self, photos):
        (photos / "top.png").unlink()
        (photos / "a/cat.jpg").unlink()
        assert self.ids(photos) == ["b/DOG.JPEG", "b/cat.jpg"]

    def test_single_file(self, photos):
        assert self.ids(photos / "a/cat.jpg") == ["cat.jpg"]

    def test_each_file_once(self, photos, monkeypatch):
        monkeypatch.chdir(photos.parent)
        assert self.ids("photos/a", photos / "a/cat.jpg", "photos/b/../a/*.jpg") == ["cat.jpg"]

    def test_file_with_unknown_extension_is_returned(self, photos):
        assert self.ids(photos / "b/notes.txt") == ["notes.txt"]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("photos/**/*.jpg", ["a/cat.jpg", "b/cat.jpg"]),
            ("photos/*/cat.jpg", ["a/cat.jpg", "b/cat.jpg"]),
            ("photos/**", ["a/cat.jpg", "b/DOG.JPEG", "b/cat.jpg", "top.png"]),
            ("**/top.*", ["top.png"]),
            ("photos/[ab]/*", ["a/cat.jpg", "b/DOG.JPEG", "b/cat.jpg"]),
            ("photos/.*.png", [".hidden.png"]),
        ],
    )
    def test_pattern(self, photos, monkeypatch, pattern, expected):
        monkeypatch.chdir(photos.parent)
        assert self.ids(pattern) == expected

    def test_existing_path_is_no_pattern(self, photos):
        (photos / "cat[1].jpg").touch()
        (photos / "cat1.jpg").touch()
        assert self.ids(photos / "cat[1].jpg") == ["cat[1].jpg"]

    def test_links_in_circles_end(self, photos):
        for name in ("a", "b"):
            (photos / name / "up").symlink_to(photos)
            (photos / name / "itself").symlink_to(photos / name / "itself")
        (photos / "aaa").symlink_to(photos / "b")
        expected = ["a/cat.jpg", "b/DOG.JPEG", "b/cat.jpg", "top.png"]
        assert self.ids(photos) == expected
        assert self.ids(f"{photos}/**/*.[jp]*", f"{photos}/**/*.JPEG") == expected

    def test_linked_folder_outside_is_searched(self, photos, tmp_path):
        (tmp_path / "more").mkdir()
        (tmp_path / "more/x.jpg").touch()
        (photos / "linked").symlink_to(tmp_path / "more")
        assert "linked/x.jpg" in self.ids(photos)

    def test_broken_link_is_named_when_read(self, photos):
        (photos / "gone.jpg").symlink_to(photos / "nowhere.jpg")
        sample = next(s for s in find_pictures([photos]) if s.id == "gone.jpg")
        assert "does not exist" in refusal(sample.path)

    def test_name_that_is_not_utf8(self, photos):
        Path(os.fsdecode(os.fsencode(photos / "a") + b"/caf\xe9.jpg")).touch()
        assert self.ids(photos / "a") == [r"caf\xe9.jpg", "cat.jpg"]

    def test_nothing_asked_for(self):
        with pytest.raises(PictureError, match=r"^no pictures asked for: name at least one file, folder or pattern$"):
            find_pictures([])

    @pytest.mark.parametrize(
        ("asked", "advice"),
        [
            ("photos/a/cta.jpg", "did you mean {root}/photos/a/cat.jpg?"),
            ("fotos/a/cat.jpg", "did you mean {root}/photos?"),
            ("photos/a/unknown.webp", "check the path"),
        ],
    )
    def test_missing(self, photos, asked, advice):
        path = photos.parent / asked
        with pytest.raises(PictureError) as caught:
            find_pictures([photos, path])
        assert str(caught.value) == f"{path} does not exist; {advice.format(root=photos.parent)}"

    def test_folder_without_pictures(self, tmp_path):
        for name in ("a.txt", "b.TXT", "c/d.csv", "Makefile"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        with pytest.raises(PictureError) as caught:
            find_pictures([tmp_path])
        assert str(caught.value) == (
            f"{tmp_path} holds no picture: looked for {' '.join(pictures.EXTENSIONS)}, found 2 .txt, 1 files "
            "without extension, 1 .csv; name the folder that holds the pictures"
        )

    def test_empty_folder(self, tmp_path):
        with pytest.raises(PictureError, match=r"found nothing; name the folder that holds the pictures$"):
            find_pictures([tmp_path])

    def test_pattern_without_match(self, photos):
        with pytest.raises(PictureError) as caught:
            find_pictures([f"{photos}/*.jpgg"])
        assert str(caught.value) == (
            f"no picture matches {photos}/*.jpgg: looked for {' '.join(pictures.EXTENSIONS)}, found nothing; "
            "mind small and capital letters, and write ** for folders at any depth"
        )

    def test_pattern_that_matches_folders_only(self, photos):
        with pytest.raises(PictureError, match="found 2 folders; mind"):
            find_pictures([f"{photos}/[ab]"])

    def test_folder_that_cannot_be_listed(self, photos, monkeypatch):
        def refuse(folder):
            raise PermissionError(13, "Permission denied", str(folder))

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(PictureError) as caught:
            find_pictures([photos])
        assert str(caught.value) == (
            f"{photos} cannot be searched (Permission denied); check the path and its permissions"
        )


def test_two_threads_leave_the_warning_filters_as_they_were(tmp_path):
    path = save(tmp_path / "a.png")
    code = (
        "import sys, warnings; from pathlib import Path; from concurrent.futures import ThreadPoolExecutor;"
        "from advcam.datasets.pictures import read_picture;"
        "read_picture(Path(sys.argv[1])); before = list(warnings.filters);"
        "list(ThreadPoolExecutor(8).map(read_picture, [Path(sys.argv[1])] * 200));"
        "assert warnings.filters == before"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)


def test_a_large_jpeg_is_decoded_as_far_as_it_is_needed(tmp_path: Path) -> None:
    """Never below what was asked for, turned as its EXIF says, and equal to the whole one made smaller."""
    ramp = np.linspace(0, 255, 640, dtype=np.uint8)[None, :, None].repeat(480, 0).repeat(3, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95, exif=exif)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    whole = read_picture(tmp_path / "a.jpg")
    sizes = {side: read_picture(tmp_path / "a.jpg", side).size for side in (60, 61, 120, 240, 241, 1000)}
    assert whole.size == (480, 640)
    assert sizes == {60: (60, 80), 61: (120, 160), 120: (120, 160), 240: (240, 320), 241: (480, 640), 1000: (480, 640)}
    small = np.asarray(whole.resize((120, 160), Image.Resampling.BOX), np.float64)
    assert np.abs(np.asarray(read_picture(tmp_path / "a.jpg", 120), np.float64) - small).max() < 3
    assert read_picture(tmp_path / "a.png", 60).size == (640, 480)
    assert read_picture(tmp_path / "a.jpg", 120).mode == "RGB"
