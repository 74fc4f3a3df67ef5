"""Patches of an image that visual words describe: their places, and a picture of what each contributes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from safe_exp.system.files import whole_file

FAKE, REAL = (213, 94, 0), (0, 114, 178)  # Okabe and Ito's vermillion and blue, which colour-blind people tell apart
PANEL, GAP, FOOT = 448, 12, 48  # pixels: side of a panel, space between two, height of the words below
MIN_OUTLINED = 0.05  # of the strongest patch; weaker ones get no outline


def locate_patch(grids: Sequence[int], number: int) -> dict[str, int]:
    """Locate the patch that a visual word describes: grid of its level, row and column from 0, from the top left.

    Args:
        grids: patches on a side, level by level.
        number: of the visual word in the image, from 0.
    Raises:
        ValueError: the levels have fewer patches.
    """
    for grid in grids:
        if number < grid * grid:
            return {"grid": grid, "row": number // grid, "column": number % grid}
        number -= grid * grid
    raise ValueError(f"the grids {list(grids)} have no patch {number} more.")


def draw_images(
    images: Sequence[Image.Image], grids: Sequence[int], worth: Sequence[float], unit: str = "the logit"
) -> Image.Image:
    """Draw the patches of an article's images, see `draw_patches`, one image below the other, all on one scale.

    Args:
        worth: contribution of each patch of the first image, then of the second, and so on.
    """
    patches = sum(grid * grid for grid in grids)
    shares = [worth[start : start + patches] for start in range(0, len(images) * patches, patches)]
    strongest = max((abs(value) for share in shares for value in share), default=0)
    names = [f"image {number + 1} of {len(images)}: " if len(images) > 1 else "" for number in range(len(images))]
    sheets = [
        draw_patches(image, grids, share, unit, strongest, name)
        for image, share, name in zip(images, shares, names, strict=True)
    ]
    whole = Image.new("RGB", (sheets[0].width, sum(sheet.height for sheet in sheets)), "white")
    for number, sheet in enumerate(sheets):
        whole.paste(sheet, (0, number * sheet.height))
    return whole


def draw_patches(
    image: Image.Image,
    grids: Sequence[int],
    worth: Sequence[float],
    unit: str = "the logit",
    strongest: float | None = None,
    name: str = "",
) -> Image.Image:
    """Draw the image once for each level of patches, outlined in orange (fake) or blue (real), thicker for more.

    Args:
        grids: patches on a side, level by level.
        worth: contribution of each patch to the logit of fake, level after level, row by row.
        unit: name of the quantity that they contribute to.
        strongest: contribution with the thickest outline; None: the largest of these.
        name: stands before the words below the image.
    """
    strongest = (max(map(abs, worth), default=0) if strongest is None else strongest) or 1.0
    sheet = Image.new("RGB", ((PANEL + GAP) * len(grids) - GAP, PANEL + FOOT), "white")
    words, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    number = 0
    for level, grid in enumerate(grids):
        panel = image.convert("RGB").resize((PANEL, PANEL), Image.Resampling.BICUBIC).convert("RGBA")
        marks = Image.new("RGBA", panel.size)
        draw = ImageDraw.Draw(marks)
        for row in range(grid):
            for column in range(grid):
                value = worth[number] / strongest
                number += 1
                colour = FAKE if value > 0 else REAL
                corners = [column * PANEL // grid, row * PANEL // grid, (column + 1) * PANEL // grid - 1,
                           (row + 1) * PANEL // grid - 1]  # fmt: skip
                draw.rectangle(corners, fill=(*colour, int(90 * abs(value))))
                if abs(value) >= MIN_OUTLINED:
                    draw.rectangle(corners, outline=(*colour, 255), width=1 + round(7 * abs(value)))
        sheet.paste(Image.alpha_composite(panel, marks).convert("RGB"), (level * (PANEL + GAP), 0))
        words.text((level * (PANEL + GAP) + 6, PANEL + 4), f"{name}{grid} by {grid} patches", "black", font)
    below = PANEL + 25
    words.text((6, below), "orange: fake", FAKE, font)
    words.text((106, below), "blue: real", REAL, font)
    words.text((190, below), f"thickest: {strongest:.3g} of {unit}", "black", font)
    return sheet


def save_picture(picture: Image.Image, folder: Path, article_id: str) -> Path:
    """Write the picture as PNG into `folder` and return its path.

    The id may be any text. It cannot lead the file out of the folder, and a digest keeps two ids apart.
    """
    digest = hashlib.sha256(article_id.encode("utf-8", "replace")).hexdigest()[:10]
    path = folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', article_id).strip('-')[:60]}-{digest}.png"
    with whole_file(path) as draft:
        picture.save(draft)
    return path
