"""Patches of an image, by which the network reads it: their places, and a picture of what each contributes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from safe_exp.data.article_encoder import Grids
from safe_exp.system.files import whole_file

FAKE, REAL = (213, 94, 0), (0, 114, 178)  # Okabe and Ito's vermillion and blue, which colour-blind people tell apart
PANEL, GAP, FOOT = 448, 12, 48  # pixels: side of a panel, space between two, height of the words below
MIN_OUTLINED = 0.05  # of the strongest patch; weaker ones get no outline


def locate_patch(grids: Grids, number: int) -> dict[str, Any]:
    """Locate a patch: grid of its level, row and column from 0, from the top left.

    Args:
        grids: rows and columns, level by level.
        number: of the patch in the image, from 0.
    Returns:
        `row`, `column`, and `grid`: patches on a side, or rows and columns where these differ.
    Raises:
        ValueError: the levels have fewer patches.
    """
    for rows, columns in grids:
        if number < rows * columns:
            grid = rows if rows == columns else [rows, columns]
            return {"grid": grid, "row": number // columns, "column": number % columns}
        number -= rows * columns
    raise ValueError(f"the grids {list(grids)} have no patch {number} more.")


def count_patches(grids: Grids) -> int:
    """Count the patches of an image."""
    return sum(rows * columns for rows, columns in grids)


def draw_images(
    images: Sequence[Image.Image], grids: Sequence[Grids], worth: Sequence[float], unit: str = "the logit"
) -> Image.Image:
    """Draw the patches of an article's images, see `draw_patches`, one image below the other, all on one scale.

    Args:
        grids: of each image.
        worth: contribution of each patch of the first image, then of the second, and so on.
    """
    counts = [count_patches(each) for each in grids]
    shares = [worth[end - count : end] for end, count in zip(accumulate(counts), counts, strict=True)]
    strongest = max((abs(value) for share in shares for value in share), default=0)
    names = [f"image {number + 1} of {len(images)}: " if len(images) > 1 else "" for number in range(len(images))]
    sheets = [
        draw_patches(image, of_image, share, unit, strongest, name)
        for image, of_image, share, name in zip(images, grids, shares, names, strict=True)
    ]
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), "white")
    for number, sheet in enumerate(sheets):
        whole.paste(sheet, (0, number * sheet.height))
    return whole


def draw_patches(
    image: Image.Image,
    grids: Grids,
    worth: Sequence[float],
    unit: str = "the logit",
    strongest: float | None = None,
    name: str = "",
) -> Image.Image:
    """Draw the image once for each level of patches, outlined in orange (fake) or blue (real), thicker for more.

    Args:
        grids: rows and columns, level by level.
        worth: contribution of each patch to the logit of fake, level after level, row by row.
        unit: name of the quantity that they contribute to.
        strongest: contribution with the thickest outline; None: the largest of these.
        name: stands before the words below the image.
    """
    strongest = (max(map(abs, worth), default=0) if strongest is None else strongest) or 1.0
    sheet = Image.new("RGB", ((PANEL + GAP) * len(grids) - GAP, PANEL + FOOT), "white")
    words, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    number = 0
    for level, (rows, columns) in enumerate(grids):
        panel = image.convert("RGB").resize((PANEL, PANEL), Image.Resampling.BICUBIC).convert("RGBA")
        marks = Image.new("RGBA", panel.size)
        draw = ImageDraw.Draw(marks)
        for row in range(rows):
            for column in range(columns):
                value = worth[number] / strongest
                number += 1
                colour = FAKE if value > 0 else REAL
                corners = [column * PANEL // columns, row * PANEL // rows, (column + 1) * PANEL // columns - 1,
                           (row + 1) * PANEL // rows - 1]  # fmt: skip
                draw.rectangle(corners, fill=(*colour, int(90 * abs(value))))
                if abs(value) >= MIN_OUTLINED:
                    draw.rectangle(corners, outline=(*colour, 255), width=1 + round(7 * abs(value)))
        sheet.paste(Image.alpha_composite(panel, marks).convert("RGB"), (level * (PANEL + GAP), 0))
        words.text((level * (PANEL + GAP) + 6, PANEL + 4), f"{name}{rows} by {columns} patches", "black", font)
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
