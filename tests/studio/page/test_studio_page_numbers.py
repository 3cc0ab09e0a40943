"""What the page computes is what the library computes: maps, masks, colours, IoU, strokes."""

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_driver import Page

from advcam.colours import heat, voc_palette
from advcam.pseudo.labels import PseudoSettings, power_threshold, pseudo_label
from advcam.store.maps import MapStore
from advcam.studio.measuring import class_ious
from advcam.studio.studio import Studio
from advcam.types import Attribution

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("studio")]

BASE64 = """
    const base64 = array => {
        let text = '';
        for (const byte of new Uint8Array(array.buffer)) text += String.fromCharCode(byte);
        return btoa(text);
    };
    const typed = (type, text) => new type(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
"""  # fmt: skip
#: Two float32 numbers this near to each other may be rounded differently by another release of OpenCV.
ROUNDING = 1e-6


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def test_every_float16_is_read(modules: Page):
    halves = np.arange(65536, dtype=np.uint16)
    script = """
        const {Maps} = await import('./static/maps.js');
        const size = {height: 9, width: 9, shape: [1, 1, 256, 256]};
        const header = {numbers: [1], names: ['a'], class_ids: [0], scores: null, ...size};
        return base64(new Maps(header, typed(Uint16Array, given[0])).plane(0, 0));
    """
    read = decoded(modules.ask(BASE64 + script, encoded(halves)), "<f4")
    np.testing.assert_array_equal(read, halves.view(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((375, 500), (94, 125)),
        ((97, 113), (32, 32)),
        ((41, 31), (60, 80)),
        ((64, 64), (64, 64)),
        ((50, 3), (1, 2)),
    ],
)
def test_maps_are_enlarged_as_opencv_does(modules: Page, size: tuple[int, int], shape: tuple[int, int]):
    plane = np.random.default_rng(1).random(shape, dtype=np.float32)
    script = """
        const {axis, enlarge} = await import('./static/enlarge.js');
        const [text, [h, w], [H, W]] = given;
        return base64(enlarge(typed(Float32Array, text), axis(w, W, 1), axis(h, H, 1)));
    """
    found = decoded(modules.ask(BASE64 + script, encoded(plane), shape, size), "<f4").reshape(size)
    resized = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found, resized, rtol=0, atol=8 * ROUNDING)


def test_of_large_pictures_every_other_pixel_is_enlarged_to_the_same(modules: Page):
    plane = np.random.default_rng(2).random((9, 13), dtype=np.float32)
    script = """
        const {axis, enlarge} = await import('./static/enlarge.js');
        const {thinned} = await import('./static/labels.js');
        const whole = enlarge(typed(Float32Array, given[0]), axis(13, 71, 1), axis(9, 40, 1));
        const thin = enlarge(typed(Float32Array, given[0]), axis(13, 71, 3), axis(9, 40, 3));
        const levels = map => Uint16Array.from(map, value => value * 60000);
        const expected = thinned({width: 71, height: 40, numbers: levels(whole)}, 3);
        return [expected.length, base64(expected) === base64(levels(thin))];
    """
    assert modules.ask(BASE64 + script, encoded(plane)) == [24 * 14, True]


SETTINGS = [
    {"threshold": threshold, "power": None, "band": band}
    for threshold, band in ((0.0, 0.0), (0.15, 0.0), (0.3, 0.0), (0.5, 0.25), (0.175, 0.25), (0.9, 0.2), (1.0, 0.0))
] + [{"threshold": 0.3, "power": power, "band": 0.0} for power in (1, 4, 24)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_masks_are_those_of_pseudo_label_at_every_pixel(
    modules: Page, drawn_studio: Studio, settings: dict[str, float]
):
    library = PseudoSettings(settings["threshold"], background_power=settings["power"], band=settings["band"])
    script = """
        const {api} = await import('./static/api.js');
        const {decide} = await import('./static/labels.js');
        const maps = await api.maps(given[0], 'localize');
        return Array.from({length: maps.steps}, (_, step) => base64(decide(maps.all(step), maps.numbers, given[1])));
    """
    album = drawn_studio.album
    for place, sample in enumerate(album.samples):
        row = album.maps("localize", sample.id)
        assert row is not None
        assert row.attribution.steps is not None
        for step, found in enumerate(modules.ask(BASE64 + script, place, settings)):
            attribution = replace(row.attribution, maps=row.attribution.steps[:, step], steps=None)
            mask = pseudo_label(attribution, library).mask
            differs = decoded(found, "<u2").reshape(mask.shape) != mask
            assert_only_where_rounding_decides(differs, attribution, library)
            if settings["power"] is None and not settings["band"]:
                np.testing.assert_array_equal(mask, attribution.label_mask(settings["threshold"]))


def assert_only_where_rounding_decides(differs: np.ndarray, attribution: Attribution, settings: PseudoSettings) -> None:
    """No pixel differs but those whose score lies within `ROUNDING` of a threshold or of another class."""
    scores = attribution.upsample()
    edges = [settings.background - settings.band / 2, settings.background + settings.band / 2]
    near = np.min([np.abs(scores - edge).min(axis=0) for edge in edges], axis=0)
    if len(scores) > 1:
        ordered = np.sort(scores, axis=0)
        near = np.minimum(near, ordered[-1] - ordered[-2])
    assert not (differs & (near > ROUNDING)).any()
    assert differs.mean() < 0.001


@pytest.mark.parametrize("power", [0.5, 1, 4, 24, 64])
def test_the_threshold_of_a_power_is_the_same(modules: Page, power: float):
    script = "return (await import('./static/labels.js')).powerThreshold(given[0]);"
    assert modules.ask(script, power) == pytest.approx(power_threshold(power), abs=1e-15)


def test_colours_are_those_of_the_library(modules: Page):
    script = """
        const {jet, vocColour} = await import('./static/colours.js');
        const all = Array.from({length: 256}, (_, index) => index);
        return [all.map(jet), all.map(vocColour)];
    """
    levels, classes = modules.ask(script)
    np.testing.assert_array_equal(levels, heat(np.arange(256)[None] / 255)[0])
    np.testing.assert_array_equal(classes, voc_palette())


def test_iou_is_that_of_the_server(modules: Page):
    random = np.random.default_rng(3)
    mask, truth = (random.choice([0, 1, 2, 7, 255], size=(30, 40)).astype(np.int32) for _ in range(2))
    script = """
        const {iouByClass} = await import('./static/labels.js');
        return [...iouByClass(typed(Uint16Array, given[0]), typed(Uint16Array, given[1]), [1, 2, 7, 9])];
    """
    found = modules.ask(BASE64 + script, encoded(mask.astype("<u2")), encoded(truth.astype("<u2")))
    expected = class_ious(mask, truth)
    assert dict(found) == pytest.approx({k: expected[k] for k in (1, 2, 7)})


PAINTED = """
    const {Painter} = await import('./static/painter.js');
    const mask = {width: 24, height: 18, numbers: new Uint16Array(24 * 18)};
    const painter = new Painter(mask, () => {});
    const states = [base64(mask.numbers.slice())];
    const note = () => states.push(base64(mask.numbers.slice()));
    const draw = (points, radius, number) => {
        painter.begin();
        for (let i = 1; i < points.length; i++) painter.line(points[i - 1], points[i], radius, number);
        painter.end();
        note();
    };
    draw([{x: 5, y: 5}, {x: 5, y: 5}], 3.5, 2);
    draw([{x: -4, y: 9}, {x: 30, y: 9}], 1.2, 5);
    painter.begin(); painter.fill(20, 15, 255); painter.end(); note();
    painter.replace(new Uint16Array(24 * 18).fill(7)); note();
"""


def test_strokes_and_fills_are_what_a_plain_program_paints(modules: Page):
    states = [decoded(text, "<u2").reshape(18, 24) for text in modules.ask(BASE64 + PAINTED + "return states;")]
    y, x = np.mgrid[0:18, 0:24] + 0.5
    disc = ((x - 5) ** 2 + (y - 5) ** 2 <= 3.5**2) * 2
    np.testing.assert_array_equal(states[1], disc)
    line = np.abs(y - 9) <= 1.2
    painted = np.where(line, 5, disc)
    assert (states[2] != painted).mean() < 0.01  # a row of round dabs leaves its border a little wavy
    assert set(np.unique(states[2])) == {0, 2, 5}
    count, parts = cv2.connectedComponents((states[2] == 0).astype(np.uint8), connectivity=4)
    assert count > 2
    np.testing.assert_array_equal(states[3], np.where(parts == parts[15, 20], 255, states[2]))
    assert (states[4] == 7).all()


def test_everything_painted_can_be_taken_back_and_done_again(modules: Page):
    script = (
        BASE64
        + PAINTED
        + """
        const [all, back, again] = [[...states], [], []];
        while (painter.canUndo) { painter.undo(); back.push(base64(mask.numbers.slice())); }
        const isChangedAtStart = painter.isChanged;
        while (painter.canRedo) { painter.redo(); again.push(base64(mask.numbers.slice())); }
        return [all, back, again, isChangedAtStart, painter.isChanged];
    """
    )
    states, back, again, changed_at_start, changed = modules.ask(script)
    assert back == states[-2::-1]
    assert again == states[1:]
    assert (changed_at_start, changed) == (False, True)


@pytest.mark.parametrize("width", [30, 1300])
def test_what_is_painted_again_in_part_looks_as_if_painted_whole(modules: Page, width: int):
    script = """
        const {Layer} = await import('./static/layers.js');
        const {Palette} = await import('./static/colours.js');
        const [width, height, look] = [given[0], 20, {opacity: 0.6}];
        const stripes = x => (x < 12 ? 1 : x < 20 ? 255 : 0);
        const numbers = Uint16Array.from({length: width * height}, (_, i) => stripes(i % width));
        const pixels = layer => [...layer.context.getImageData(0, 0, width, height).data].join();
        const [layer, whole] = [new Layer(new Palette([])), new Layer(new Palette([]))];
        layer.showMask(numbers, {width, height}, look, 1, 'before');
        const before = pixels(layer);
        for (let y = 5; y < 9; y++) numbers.fill(2, y * width + 8, y * width + 16);
        layer.touch(numbers, {x: 8, y: 5, width: 8, height: 4}, look);
        whole.showMask(numbers, {width, height}, look, 1, 'after');
        return [pixels(layer) === pixels(whole), pixels(layer) === before];
    """
    assert modules.ask(script, width) == [True, False]


def test_a_mask_keeps_its_numbers_on_the_way(modules: Page):
    script = (
        BASE64
        + """
        const {decodeMask, encodeMask} = await import('./static/wire.js');
        const there = async numbers => {
            const mask = {width: 3, height: 2, numbers: Uint16Array.from(numbers)};
            return decodeMask(await encodeMask(mask).arrayBuffer());
        };
        const [small, large] = [await there([0, 1, 2, 255, 4, 5]), await there([0, 1, 256, 255, 65535, 5])];
        return [[...small.numbers], [...large.numbers], small.width, small.height];
    """
    )
    assert modules.ask(script) == [[0, 1, 2, 255, 4, 5], [0, 1, 256, 255, 65535, 5], 3, 2]


def test_the_store_has_what_the_page_shows(drawn_studio: Studio):
    """The maps of these tests are those of the run: nothing above is true of empty maps."""
    store = MapStore(Path(drawn_studio.album.folder) / "maps")
    assert all(store.get(sample.id).attribution.maps.max() == 1 for sample in drawn_studio.album.samples)


def test_the_edge_of_a_class_is_a_light_line_beside_a_dark_one(modules: Page):
    """On its own side, at every border; a part that is painted again looks as if all had been."""
    mask = np.zeros((30, 40), np.uint16)
    mask[5:20, 6:30] = 1
    mask[12:20, 20:36] = 2
    script = """
        const {Palette} = await import('./static/colours.js');
        const mask = typed(Uint16Array, given[0]);
        const pixels = new Uint32Array(1200);
        new Palette([]).paintMask(mask, 40, pixels, {x: 0, y: 0, width: 40, height: 30}, 0.5);
        return base64(pixels);
    """
    painted = decoded(modules.ask(BASE64 + script, encoded(mask)), "u1").reshape(30, 40, 4)
    padded = np.pad(mask, 2, mode="edge")
    for y in range(30):
        for x in range(40):
            around = [
                {int(padded[y + 2 + dy * d, x + 2 + dx * d]) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))}
                - {mask[y, x]}
                for d in (1, 2)
            ]
            expected = (255, 255, 255) if around[0] else (24, 24, 24) if around[1] else tuple(voc_palette()[mask[y, x]])
            assert tuple(painted[y, x, :3]) == (expected if mask[y, x] else (0, 0, 0))
