"""Picture of a made article: one coloured thing in a landscape, by day or at night, drawn with Pillow."""

import random
from functools import cache

from PIL import Image, ImageDraw

from safe_exp.data.synthetic.plan import Scene

SIZE = (160, 120)
OVERSAMPLING = 2  # drawn twice as large and scaled down, which smooths the edges
WIDTH, HEIGHT = SIZE[0] * OVERSAMPLING, SIZE[1] * OVERSAMPLING
HORIZON = int(HEIGHT * 0.6)

Colour = tuple[int, int, int]
PAINTS: dict[str, Colour] = {
    "red": (206, 44, 49),
    "blue": (41, 98, 196),
    "green": (34, 139, 74),
    "yellow": (245, 200, 40),
    "purple": (128, 62, 166),
    "white": (245, 245, 242),
}
GROUNDS: dict[str, Colour] = {
    "on the beach": (233, 212, 160),
    "in the meadow": (124, 179, 86),
    "in the mountains": (120, 130, 98),
    "in the desert": (219, 165, 99),
    "in the city": (120, 122, 128),
    "in the snow": (236, 242, 248),
}
DARK, GLASS, WOOD = (45, 45, 52), (190, 222, 240), (122, 84, 52)

# Each thing is a list of (shape, points, paint) on a unit square with y downwards; "main" is the thing's own colour.
Shape = tuple[str, tuple[float, ...], str]
THINGS: dict[str, tuple[Shape, ...]] = {
    "boat": (
        ("line", (0.5, 0.75, 0.5, 0.05), "wood"),
        ("polygon", (0.53, 0.08, 0.53, 0.66, 0.92, 0.66), "glass"),
        ("polygon", (0.47, 0.2, 0.47, 0.66, 0.16, 0.66), "glass"),
        ("polygon", (0.02, 0.72, 0.98, 0.72, 0.82, 1, 0.18, 1), "main"),
    ),
    "car": (
        ("polygon", (0.2, 0.6, 0.32, 0.36, 0.68, 0.36, 0.82, 0.6), "main"),
        ("polygon", (0.28, 0.58, 0.36, 0.42, 0.48, 0.42, 0.48, 0.58), "glass"),
        ("polygon", (0.53, 0.58, 0.53, 0.42, 0.65, 0.42, 0.73, 0.58), "glass"),
        ("rectangle", (0, 0.58, 1, 0.86), "main"),
        ("ellipse", (0.12, 0.74, 0.36, 0.98), "dark"),
        ("ellipse", (0.64, 0.74, 0.88, 0.98), "dark"),
    ),
    "house": (
        ("rectangle", (0.15, 0.42, 0.85, 1), "main"),
        ("polygon", (0.05, 0.44, 0.5, 0.06, 0.95, 0.44), "wood"),
        ("rectangle", (0.42, 0.66, 0.58, 1), "dark"),
        ("rectangle", (0.22, 0.52, 0.36, 0.68), "glass"),
        ("rectangle", (0.64, 0.52, 0.78, 0.68), "glass"),
    ),
    "balloon": (
        ("line", (0.34, 0.52, 0.44, 0.84), "wood"),
        ("line", (0.66, 0.52, 0.56, 0.84), "wood"),
        ("ellipse", (0.16, 0, 0.84, 0.68), "main"),
        ("rectangle", (0.42, 0.82, 0.58, 0.98), "wood"),
    ),
    "bus": (
        ("rectangle", (0, 0.28, 1, 0.88), "main"),
        *(("rectangle", (x, 0.38, x + 0.15, 0.58), "glass") for x in (0.06, 0.25, 0.44, 0.63)),
        ("rectangle", (0.83, 0.38, 0.95, 0.84), "glass"),
        ("ellipse", (0.12, 0.76, 0.34, 1), "dark"),
        ("ellipse", (0.6, 0.76, 0.82, 1), "dark"),
    ),
    "tent": (
        ("polygon", (0.02, 1, 0.5, 0.22, 0.98, 1), "main"),
        ("polygon", (0.36, 1, 0.5, 0.4, 0.64, 1), "dark"),
        ("line", (0.5, 0.24, 0.5, 0.1), "wood"),
    ),
    "umbrella": (
        ("line", (0.5, 0.3, 0.5, 1), "wood"),
        ("pieslice", (0.02, 0.06, 0.98, 1.02), "main"),
        ("line", (0.5, 0.0, 0.5, 0.08), "wood"),
    ),
    "kite": (
        ("line", (0.5, 0.66, 0.3, 1), "dark"),
        ("polygon", (0.5, 0, 0.82, 0.3, 0.5, 0.72, 0.18, 0.3), "main"),
        ("line", (0.5, 0, 0.5, 0.7), "dark"),
        ("line", (0.18, 0.3, 0.82, 0.3), "dark"),
    ),
    "flag": (
        ("line", (0.2, 0.02, 0.2, 1), "wood"),
        ("polygon", (0.22, 0.05, 0.6, 0.12, 0.96, 0.06, 0.96, 0.46, 0.6, 0.52, 0.22, 0.45), "main"),
    ),
    "rocket": (
        ("polygon", (0.34, 0.66, 0.16, 1, 0.4, 0.92), "dark"),
        ("polygon", (0.66, 0.66, 0.84, 1, 0.6, 0.92), "dark"),
        ("polygon", (0.5, 0, 0.68, 0.28, 0.68, 0.92, 0.32, 0.92, 0.32, 0.28), "main"),
        ("ellipse", (0.41, 0.3, 0.59, 0.48), "glass"),
    ),
}


def draw_picture(scene: Scene, rng: random.Random) -> Image.Image:
    """Draw the scene. `rng` moves and scales the thing and scatters clouds or stars, so that no two are alike."""
    image = _landscape(scene.place, scene.night).copy()
    draw = ImageDraw.Draw(image)
    if scene.night:
        for _ in range(25):
            x, y = rng.random() * WIDTH, rng.random() * HORIZON * 0.6
            draw.ellipse((x, y, x + 2.5, y + 2.5), fill=(235, 235, 215))
    else:
        for _ in range(3):
            _draw_cloud(draw, rng.random() * WIDTH, rng.random() * HORIZON * 0.35, 24 + rng.random() * 22)
    side = HEIGHT * (0.46 + 0.14 * rng.random())
    left = (WIDTH - side) * (0.2 + 0.6 * rng.random())
    top = HEIGHT * (0.84 + 0.1 * rng.random()) - side
    _draw_thing(draw, scene, left, top, side)
    return image.resize(SIZE, Image.Resampling.BOX)


def _draw_thing(draw: ImageDraw.ImageDraw, scene: Scene, left: float, top: float, side: float) -> None:
    main = PAINTS[scene.colour]
    paints = {"main": _at_night(main, 0.75) if scene.night else main, "dark": DARK, "wood": WOOD, "glass": GLASS}
    if scene.night:
        paints["glass"] = (250, 214, 120)  # lit from inside
    shadow = tuple(int(0.72 * level) for level in _ground(scene.place, scene.night))
    draw.ellipse((left, top + side * 0.92, left + side, top + side * 1.06), fill=shadow)
    for shape, unit_points, paint in THINGS[scene.subject]:
        points = [(top if i % 2 else left) + side * value for i, value in enumerate(unit_points)]
        if shape == "line":
            draw.line(points, fill=paints[paint], width=6)
        elif shape == "pieslice":
            draw.pieslice(points, 180, 360, fill=paints[paint])
        else:
            getattr(draw, shape)(points, fill=paints[paint])


def _draw_cloud(draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    for shift, scale in ((0, 0.8), (0.7, 1.1), (1.5, 0.75)):
        box = (x + shift * size, y - scale * size / 3, x + (shift + scale) * size, y + scale * size / 3)
        draw.ellipse(box, fill=(250, 251, 253))


@cache  # 6 places by day and at night
def _landscape(place: str, night: bool) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(image)
    high, low = ((8, 12, 38), (40, 44, 88)) if night else ((86, 160, 226), (204, 230, 246))
    for y in range(HORIZON):
        share = y / HORIZON
        draw.line((0, y, WIDTH, y), fill=tuple(int(a + (b - a) * share) for a, b in zip(high, low, strict=True)))
    if night:
        draw.ellipse((WIDTH - 70, 18, WIDTH - 34, 54), fill=(240, 236, 205))
        draw.ellipse((WIDTH - 80, 12, WIDTH - 46, 46), fill=(13, 17, 44))  # leaves a crescent of the moon
    else:
        draw.ellipse((WIDTH - 74, 14, WIDTH - 34, 54), fill=(255, 228, 110))
    _draw_backdrop(draw, place, night)
    ground = _ground(place, night)
    for y in range(HORIZON, HEIGHT):
        shade = 1 - 0.22 * (y - HORIZON) / (HEIGHT - HORIZON)
        draw.line((0, y, WIDTH, y), fill=tuple(int(level * shade) for level in ground))
    if place == "on the beach":
        sea = (62, 140, 190)
        draw.rectangle((0, HORIZON, WIDTH, HORIZON + 26), fill=_at_night(sea, 0.4) if night else sea)
    return image


def _draw_backdrop(draw: ImageDraw.ImageDraw, place: str, night: bool) -> None:
    def paint(colour: Colour) -> Colour:
        return _at_night(colour, 0.4) if night else colour

    if place in ("in the mountains", "in the snow"):
        for x, height in ((40, 90), (140, 120), (250, 100)):
            draw.polygon((x - 95, HORIZON, x, HORIZON - height, x + 95, HORIZON), fill=paint((104, 116, 140)))
            cap = height * 0.3
            width = 95 * 0.3
            top = HORIZON - height
            draw.polygon((x - width, top + cap, x, top, x + width, top + cap), fill=paint((242, 246, 250)))
    elif place == "in the city":
        for i, height in enumerate((70, 105, 60, 125, 85, 110, 65, 95)):
            left = i * WIDTH // 8
            draw.rectangle((left + 2, HORIZON - height, left + 36, HORIZON), fill=paint((138, 142, 158)))
            for row in range(HORIZON - height + 8, HORIZON - 8, 16):
                for column in (left + 8, left + 22):
                    window = (250, 220, 130) if night else (196, 214, 230)
                    draw.rectangle((column, row, column + 7, row + 8), fill=window)
    elif place == "in the desert":
        for x in (-20, 130, 260):
            draw.ellipse((x - 90, HORIZON - 26, x + 120, HORIZON + 40), fill=paint((228, 180, 116)))
    elif place == "in the meadow":
        for x in (-10, 120, 270):
            draw.ellipse((x - 100, HORIZON - 34, x + 130, HORIZON + 50), fill=paint((96, 156, 78)))


def _ground(place: str, night: bool) -> Colour:
    return _at_night(GROUNDS[place], 0.4) if night else GROUNDS[place]


def _at_night(colour: Colour, brightness: float) -> Colour:
    red, green, blue = colour
    return int(red * brightness), int(green * brightness), min(255, int(blue * brightness * 1.2) + 8)
