"""What lies out of focus behind a synthetic face."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from sfe_core.arrays import Floats
from sfe_core.synthesis.scene import Scene

CANVAS_PX = 128  # backgrounds are painted at this size: nothing in them is sharp

Rng = np.random.Generator
Paint = tuple[int, int, int]


def background(scene: Scene, size_px: int) -> Floats:
    """An out-of-focus background [S, S, 3], 0..255, in the scene's light."""
    rng = np.random.default_rng(scene.background_seed)
    canvas = PAINTERS[scene.background](rng, scene)
    drift = np.clip(rng.normal(1.0, 0.04, (5, 5)), 0.85, 1.15).astype(np.float32)
    picture = np.asarray(canvas.resize((size_px, size_px), Image.Resampling.BICUBIC), np.float32)
    uneven = np.asarray(Image.fromarray(drift).resize((size_px, size_px), Image.Resampling.BICUBIC))
    tint = 1.0 + 0.8 * (np.asarray(scene.light_colour, np.float32) - 1.0)
    return picture * uneven[..., None] * tint * np.float32(scene.exposure)


def shade_wall(wall: Floats, cover: Floats, scene: Scene) -> Floats:
    """The wall [S, S, 3] with the head's soft shadow, away from the light.

    Args:
        wall: from `background`.
        cover: [S, S] in [0, 1], where the head stands.
        scene: says how dark.
    """
    if not scene.wall_shadow or scene.background != "plain":
        return wall
    size = len(wall)
    reach = 0.13 * size
    across, down = (round(float(v) * reach) for v in (-scene.light[0], scene.light[1]))
    pad = round(reach) + 1
    wide = np.pad(cover, pad, mode="edge")
    moved = wide[pad - down : pad - down + size, pad - across : pad - across + size]
    soft = Image.fromarray((moved * 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(0.035 * size)
    )
    return wall * (1.0 - scene.wall_shadow / 255.0 * np.asarray(soft, np.float32))[..., None]


def _paint(colour: Floats) -> Paint:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue


def _ramp(first: Floats, second: Floats, angle: float) -> Image.Image:
    """A canvas that goes from one colour to the other along a direction (radians, 0 is right)."""
    axis = np.linspace(-0.5, 0.5, CANVAS_PX)
    along = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None] + 0.5
    share = np.clip(along, 0, 1)[..., None]
    return Image.fromarray(np.clip(first + (second - first) * share, 0, 255).astype(np.uint8))


def _soften(canvas: Image.Image, radius: float) -> Image.Image:
    return canvas.filter(ImageFilter.GaussianBlur(radius * CANVAS_PX))


def _wall_colour(rng: Rng) -> Floats:
    """Mostly pale and grey, now and then strong."""
    strong = rng.random() < 0.25
    base = rng.uniform(50, 215, 3) if strong else rng.uniform(110, 228) + rng.normal(0, 9, 3)
    return _muted(base) if strong else np.asarray(base)


def _muted(colour: Floats) -> Floats:
    """The colour nearer to grey, as paint and cloth are beside a screen's primaries."""
    return np.asarray(colour.mean() + (colour - colour.mean()) * 0.55)


def _plain(rng: Rng, scene: Scene) -> Image.Image:
    """A wall, lighter on the light's side."""
    colour = _wall_colour(rng)
    fall = rng.uniform(0.7, 1.0)
    return _ramp(colour * 1.05, colour * fall, 0.0 if scene.light[0] < 0 else np.pi)


def _studio(rng: Rng, scene: Scene) -> Image.Image:
    """A mottled paper or cloth with a pool of light behind the head."""
    colour = rng.uniform(35, 190) * (1.0 + rng.normal(0, 0.08, 3))
    axis = np.linspace(0, 1, CANVAS_PX)
    x, y = scene.centre[0] + rng.normal(0, 0.12), scene.centre[1] + rng.normal(0.05, 0.12)
    away = np.hypot(axis[None] - x, axis[:, None] - y)
    pool = rng.uniform(0.5, 0.8) + rng.uniform(0.3, 0.8) * np.exp(-((away / 0.42) ** 2))
    rough = rng.normal(0, rng.uniform(0, 0.07), (9, 9)).astype(np.float32)
    pool += np.asarray(Image.fromarray(rough).resize((CANVAS_PX, CANVAS_PX), 3))
    return Image.fromarray(np.clip(pool[..., None] * colour, 0, 255).astype(np.uint8))


def _indoor(rng: Rng, scene: Scene) -> Image.Image:
    """Two walls of a room with furniture, a window, a lamp."""
    size = CANVAS_PX
    wall = _wall_colour(rng) * np.array([1.03, 1.0, 0.95])
    canvas = _ramp(wall * 1.06, wall * rng.uniform(0.6, 0.9), rng.uniform(0, 2 * np.pi))
    draw = ImageDraw.Draw(canvas)
    if rng.random() < 0.5:
        corner = rng.uniform(0.1, 0.9) * size
        draw.rectangle((corner, 0, size, size), _paint(wall * rng.uniform(0.6, 0.9)))
    things = [_door, _shelves, _frames, _curtain, _window]
    for index in rng.permutation(len(things))[: int(rng.integers(1, 4))]:
        things[index](draw, rng, wall)
    if rng.random() < 0.4:
        dark = _paint(np.array([70, 58, 48]) * rng.uniform(0.5, 2.2) + rng.normal(0, 8, 3))
        top = rng.uniform(0.62, 0.9) * size
        draw.rectangle((rng.uniform(-0.3, 0.4) * size, top, rng.uniform(0.5, 1.3) * size, size),
                       dark)  # fmt: skip
    canvas = _soften(canvas, rng.uniform(0.012, 0.04))
    if rng.random() < 0.45:
        warm = np.array([255.0, 214.0, 150.0])
        canvas = _glow(canvas, rng, warm, int(rng.integers(1, 5)), (0.03, 0.09))
    return canvas


def _door(draw: ImageDraw.ImageDraw, rng: Rng, wall: Floats) -> None:
    left, width = rng.uniform(-0.1, 0.8) * CANVAS_PX, rng.uniform(0.25, 0.45) * CANVAS_PX
    top = rng.uniform(-0.1, 0.25) * CANVAS_PX
    frame, leaf = _paint(wall * 1.18), _paint(wall * rng.uniform(0.35, 0.9))
    draw.rectangle((left, top, left + width, CANVAS_PX), frame)
    draw.rectangle((left + 5, top + 5, left + width - 5, CANVAS_PX), leaf)


def _shelves(draw: ImageDraw.ImageDraw, rng: Rng, wall: Floats) -> None:
    left, width = rng.uniform(-0.2, 0.7) * CANVAS_PX, rng.uniform(0.3, 0.6) * CANVAS_PX
    step = rng.uniform(0.14, 0.22) * CANVAS_PX
    inside, board = wall * 0.5, wall * rng.uniform(0.5, 1.1)
    draw.rectangle((left, 0, left + width, CANVAS_PX), _paint(inside))
    for row in range(int(CANVAS_PX / step) + 1):
        y, x = row * step, left
        while x < left + width:
            thick, tall = rng.uniform(2, 7), rng.uniform(0.5, 0.9) * step
            if rng.random() < 0.85:
                book = _paint(_muted(rng.uniform(30, 220, 3)) * rng.uniform(0.4, 1.0))
                draw.rectangle((x, y + step - tall, x + thick, y + step), book)
            x += thick
        draw.rectangle((left, y - 1, left + width, y + 2), _paint(board))


def _frames(draw: ImageDraw.ImageDraw, rng: Rng, wall: Floats) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-0.05, 0.9) * CANVAS_PX, rng.uniform(0.0, 0.5) * CANVAS_PX
        width, height = rng.uniform(0.12, 0.3, 2) * CANVAS_PX
        draw.rectangle((x, y, x + width, y + height), _paint(wall * rng.uniform(0.2, 0.7)))
        inner = _paint(_muted(rng.uniform(60, 235, 3)))
        draw.rectangle((x + 3, y + 3, x + width - 3, y + height - 3), inner)


def _curtain(draw: ImageDraw.ImageDraw, rng: Rng, wall: Floats) -> None:
    left, width = rng.uniform(-0.1, 0.8) * CANVAS_PX, rng.uniform(0.15, 0.35) * CANVAS_PX
    cloth = _muted(rng.uniform(70, 220, 3)) * 0.5 + wall * 0.45
    for x in np.arange(left, left + width, 2.0):
        fold = 0.85 + 0.2 * np.sin(x * 0.55 + np.sin(x * 0.21) * 2)
        draw.rectangle((x, 0, x + 2, CANVAS_PX), _paint(cloth * fold))


def _window(draw: ImageDraw.ImageDraw, rng: Rng, wall: Floats) -> None:
    left, width = rng.uniform(-0.15, 0.75) * CANVAS_PX, rng.uniform(0.3, 0.55) * CANVAS_PX
    top, bottom = rng.uniform(-0.2, 0.1) * CANVAS_PX, rng.uniform(0.5, 0.9) * CANVAS_PX
    draw.rectangle((left - 3, top - 3, left + width + 3, bottom + 3), _paint(wall * 0.9 + 25))
    pane = np.array([226.0, 236.0, 244.0]) * rng.uniform(0.85, 1.1)
    for row in range(12):
        y = top + (bottom - top) * row / 12
        down = row / 12
        view = pane * (1 - 0.35 * down) + np.array([-30.0, 4.0, -40.0]) * down * rng.uniform(0, 1)
        draw.rectangle((left, y, left + width, y + (bottom - top) / 12), _paint(view))
    bar = _paint(wall * 0.8 + 30)
    draw.rectangle((left + width / 2 - 1.5, top, left + width / 2 + 1.5, bottom), bar)
    if rng.random() < 0.5:
        middle = (top + bottom) / 2
        draw.rectangle((left, middle - 1.5, left + width, middle + 1.5), bar)


def _outdoor(rng: Rng, scene: Scene) -> Image.Image:
    """Trees, an open view, a street, or a façade."""
    view = (_trees, _trees, _open_view, _street)[int(rng.integers(4))]
    return view(rng)


def _trees(rng: Rng) -> Image.Image:
    """Leaves as overlapping disks, dark below, with bright gaps to the sky."""
    green = np.array([78.0, 108.0, 52.0]) * rng.uniform(0.6, 1.25) + rng.normal(0, 8, 3)
    if rng.random() < 0.15:
        green = np.array([168.0, 118.0, 52.0]) * rng.uniform(0.7, 1.1)
    canvas = _ramp(green * 1.15, green * 0.55, np.pi / 2)
    draw = ImageDraw.Draw(canvas)
    count = 90
    places = rng.uniform(-0.05, 1.05, (count, 2)) * CANVAS_PX
    radii = rng.uniform(0.02, 0.07, count) * CANVAS_PX
    gains = np.clip(rng.normal(0.95, 0.3, count) * (1.25 - 0.5 * places[:, 1] / CANVAS_PX), 0.25, 2)
    hues = rng.normal(0, 7, (count, 3))
    for (x, y), radius, gain, hue in zip(places, radii, gains, hues, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), _paint(green * gain + hue))
    canvas = _soften(canvas, rng.uniform(0.012, 0.035))
    pale = np.array([226.0, 236.0, 214.0])
    return _glow(
        canvas, rng, pale, int(rng.integers(0, 22)), (0.015, 0.045), top=rng.random() < 0.7
    )


def _open_view(rng: Rng) -> Image.Image:
    """Sky with clouds over a line of trees or hills."""
    sky = np.array([140.0, 178.0, 222.0]) * rng.uniform(0.8, 1.12)
    haze = np.array([222.0, 230.0, 236.0]) * rng.uniform(0.85, 1.05)
    canvas = _ramp(sky, haze, np.pi / 2)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(0, 8))):
        x, y = rng.uniform(0, 1) * CANVAS_PX, rng.uniform(0, 0.5) * CANVAS_PX
        w, h = rng.uniform(0.1, 0.3) * CANVAS_PX, rng.uniform(0.03, 0.08) * CANVAS_PX
        draw.ellipse((x - w, y - h, x + w, y + h), _paint(haze * 1.05))
    ground = np.array([96.0, 116.0, 70.0]) * rng.uniform(0.6, 1.2) + rng.normal(0, 10, 3)
    line = rng.uniform(0.35, 0.85) * CANVAS_PX
    xs = np.linspace(0, CANVAS_PX, 12)
    far = [(float(x), float(line + rng.normal(0, 5))) for x in xs]
    corners = [(float(CANVAS_PX), float(CANVAS_PX)), (0.0, float(CANVAS_PX))]
    draw.polygon(far + corners, _paint(ground * 0.5 + haze * 0.35))
    near = [(float(x), float(line + 14 + rng.normal(0, 4))) for x in xs]
    draw.polygon(near + corners, _paint(ground))
    return _soften(canvas, rng.uniform(0.012, 0.03))


def _street(rng: Rng) -> Image.Image:
    """Houses with windows, sky between them, pavement below, lights and cars as disks."""
    sky = np.array([196.0, 212.0, 228.0]) * rng.uniform(0.8, 1.1)
    canvas = _ramp(sky, sky * 0.95, np.pi / 2)
    draw = ImageDraw.Draw(canvas)
    x = rng.uniform(-0.3, 0.0) * CANVAS_PX
    while x < CANVAS_PX:
        width = rng.uniform(0.18, 0.5) * CANVAS_PX
        top = rng.uniform(-0.2, 0.35) * CANVAS_PX
        stone = rng.uniform(80, 190) * (np.array([1.06, 1.0, 0.92]) + rng.normal(0, 0.06, 3))
        draw.rectangle((x, top, x + width, CANVAS_PX), _paint(stone))
        step_x, step_y = rng.uniform(9, 15), rng.uniform(11, 18)
        glass = _paint(stone * rng.uniform(0.4, 0.65))
        for column in np.arange(x + 4, x + width - 5, step_x):
            for row in np.arange(top + 5, 0.75 * CANVAS_PX, step_y):
                draw.rectangle((column, row, column + step_x / 2, row + step_y / 2), glass)
        x += width + (rng.uniform(0.05, 0.2) * CANVAS_PX if rng.random() < 0.3 else 0)
    kerb = rng.uniform(0.75, 0.95) * CANVAS_PX
    grey = _paint(rng.uniform(90, 150) * np.ones(3))
    draw.rectangle((0, kerb, CANVAS_PX, CANVAS_PX), grey)
    canvas = _soften(canvas, rng.uniform(0.014, 0.035))
    warm = (
        np.array([255.0, 190.0, 140.0]) if rng.random() < 0.6 else np.array([240.0, 244.0, 255.0])
    )
    return _glow(canvas, rng, warm, int(rng.integers(0, 9)), (0.015, 0.04))


def _pattern(rng: Rng, scene: Scene) -> Image.Image:
    """Stripes, tiles or colour blocks: walls that no portrait photographer would choose."""
    first, second = (_muted(colour) for colour in rng.uniform(20, 240, (2, 3)))
    step = rng.uniform(0.05, 0.25) * CANVAS_PX
    axis = np.arange(CANVAS_PX) / step
    angle = rng.uniform(0, np.pi)
    across = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None]
    along = np.cos(angle) * axis[:, None] - np.sin(angle) * axis[None]
    odd = np.floor(across) % 2
    if rng.random() < 0.5:
        odd = (odd + np.floor(along)) % 2
    colours = first + (second - first) * odd[..., None]
    return _soften(Image.fromarray(colours.astype(np.uint8)), rng.uniform(0.003, 0.02))


def _night(rng: Rng, scene: Scene) -> Image.Image:
    """A dark city with lights far out of focus."""
    dark = rng.uniform(8, 40) * (1.0 + rng.normal(0, 0.15, 3))
    canvas = _ramp(dark, dark * 1.6, np.pi / 2)
    for _ in range(3):
        hue = np.array([255.0, rng.uniform(120, 240), rng.uniform(60, 240)])[rng.permutation(3)]
        canvas = _glow(canvas, rng, hue, int(rng.integers(3, 12)), (0.02, 0.06))
    return canvas


def _glow(
    canvas: Image.Image,
    rng: Rng,
    colour: Floats,
    count: int,
    radii: tuple[float, float],
    top: bool = False,
) -> Image.Image:
    """Points of light as the lens shows them out of focus: even disks, brighter where they meet.

    Args:
        canvas: what they lie before.
        rng: draws places, sizes and strengths.
        colour: of the light.
        count: of points.
        radii: over the canvas's size.
        top: keeps them in the upper half, as gaps between leaves are.
    """
    layer = Image.new("L", (2 * CANVAS_PX, 2 * CANVAS_PX))
    radius = rng.uniform(*radii)  # one lens, one distance: all disks are alike
    for _ in range(count):
        x, y = rng.uniform(0, 2 * CANVAS_PX, 2) * (1.0, 0.55 if top else 1.0)
        r = radius * 2 * CANVAS_PX * rng.uniform(0.8, 1.1)
        disk = Image.new("L", layer.size)
        ImageDraw.Draw(disk).ellipse((x - r, y - r, x + r, y + r), int(rng.uniform(40, 170)))
        layer = ImageChops.add(layer, disk)
    light = np.asarray(_soften(layer.reduce(2), 0.006), np.float32)[..., None] / 255.0
    shown = np.asarray(canvas, np.float32)
    return Image.fromarray((shown + (colour - shown) * light).clip(0, 255).astype(np.uint8))


PAINTERS: dict[str, Callable[[Rng, Scene], Image.Image]] = {
    "plain": _plain, "studio": _studio, "indoor": _indoor, "outdoor": _outdoor,
    "pattern": _pattern, "night": _night,
}  # fmt: skip
