"""An explanation for its reader: as JSON, as coloured text, and as a picture of the patches."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.text import Text

from safe_exp.config import PredictConfig, VisualWordsConfig, captioner_from_plain
from safe_exp.data.asked import AskedArticle
from safe_exp.equations.safe import SafeCache
from safe_exp.errors import UserError
from safe_exp.explanation import Parts, SideParts, cosine_parts, logit_parts, phrases_of
from safe_exp.files import whole_file
from safe_exp.stored import StoredRun

FAKE, REAL = (213, 94, 0), (0, 114, 178)  # Okabe and Ito's vermillion and blue, told apart by all readers
ORANGE, BLUE, GREY = (255, 140, 40), (70, 160, 255), (128, 128, 128)  # of text: seen on dark and on light terminals
PANEL = 448  # pixels of a picture's side
FAINTEST = 0.05  # of the strongest patch; weaker ones get no outline
SIDES = ("text", "image")  # as answers call them


@dataclass
class Explainer:
    """Explains the answers of a run.

    Args:
        phrases: how many are listed in each part; the others are summed.
        grids: of the run's visual words; empty where sentences describe the images.
        console: shows each explanation as coloured text; None: nowhere.
        folder: gets a picture of each article's patches; None: nowhere.
    """

    phrases: int
    grids: list[int]
    console: Console | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, config: PredictConfig, stored: StoredRun) -> Explainer:
        """As the config asks; raises UserError for pictures of a run that looks at no patches."""
        captioner = captioner_from_plain(stored.artifacts.manifest["settings"]["captioner"])
        grids = list(captioner.grids) if isinstance(captioner, VisualWordsConfig) else []
        if config.explain_to is not None and (not grids or "visual" not in stored.model.variant.reads):
            raise UserError(
                f"explain_to={config.explain_to}: pictures show the patches of captioner=visual_words, and this run "
                f"has captioner={captioner.name}, model={stored.model.variant.value}. explain=true explains in words."
            )
        # A stream of thousands would bury the terminal's log in a file; a person at a terminal asked for it.
        shown = config.one_article or sys.stderr.isatty()
        folder = None if config.explain_to is None else Path(config.explain_to).expanduser()
        return cls(config.phrases, grids, Console(stderr=True, highlight=False) if shown else None, folder)

    def explain(self, articles: Sequence[AskedArticle], cache: SafeCache, answers: Sequence[dict[str, Any]]) -> None:
        """Add to each answer its explanation, as plain values; show and draw it as well, where that is wanted.

        Args:
            cache: of the forward pass over these articles, in float64, so that the printed parts add up.
        """
        logit, cosines = logit_parts(cache), cosine_parts(cache)
        for row, (article, answer) in enumerate(zip(articles, answers, strict=True)):
            if "error" in answer:
                continue
            found: dict[str, Any] = {}
            if logit is not None:
                found["logit"] = self._quantity(article, logit, row)
            if cosines is not None:
                text, image = cosines
                found["cosine"] = {
                    "value": text.total[row].item(),
                    "text": {"constant": text.constant[row].item(), **self._side(article, text.text, "text", row)},
                    "image": {
                        "constant": image.constant[row].item(), **self._side(article, image.visual, "image", row)
                    },
                }  # fmt: skip
            answer["explanation"] = found
            text_worth, image_worth = _worth(logit, cosines, row)
            if self.folder is not None and article.image is not None and image_worth is not None:
                picture = patch_picture(article.image, self.grids, image_worth)
                found["picture"] = str(save_picture(picture, self.folder, article.id))
            if self.console is not None:
                self.console.print(coloured(article, answer, text_worth, image_worth))

    def _quantity(self, article: AskedArticle, parts: Parts, row: int) -> dict[str, Any]:
        quantity: dict[str, Any] = {"value": parts.total[row].item(), "constant": parts.constant[row].item()}
        for name, side in zip(SIDES, (parts.text, parts.visual), strict=True):
            if side is not None:
                quantity[name] = self._side(article, side, name, row)
        return quantity

    def _side(self, article: AskedArticle, side: SideParts, name: str, row: int) -> dict[str, Any]:
        words = article.text_words if name == "text" else article.visual_words
        phrases = phrases_of(side, row, len(words))
        listed = []
        for phrase in phrases[: self.phrases]:
            item: dict[str, Any] = {
                "words": " ".join(words[phrase.start : phrase.end]),
                "start": phrase.start,
                "end": phrase.end,
                "contribution": phrase.contribution,
            }
            if name == "image" and self.grids:
                item["patches"] = [patch_place(self.grids, number) for number in range(phrase.start, phrase.end)]
            listed.append(item)
        return {"phrases": listed, "others": sum(phrase.contribution for phrase in phrases[self.phrases :])}


def patch_place(grids: Sequence[int], number: int) -> dict[str, int]:
    """Which patch a visual word describes: its level's grid, and its row and column from 0, from the top left."""
    for grid in grids:
        if number < grid * grid:
            return {"grid": grid, "row": number // grid, "column": number % grid}
        number -= grid * grid
    raise ValueError(f"the grids {list(grids)} have no patch {number} more.")


def coloured(
    article: AskedArticle,
    answer: dict[str, Any],
    text_worth: Sequence[float] | None,
    image_worth: Sequence[float] | None,
) -> Text:
    """The article's words in colours: orange speaks for fake, blue for real, the stronger the more; and the verdict.

    Args:
        text_worth, image_worth: what each word adds to the logit of fake; None where the model does not read them.
    """
    similarity = "" if answer["similarity"] is None else f", similarity {answer['similarity']:.3f}"
    shown = Text.assemble(
        (f"{answer['id']}: ", "bold"),
        (answer["verdict"], f"bold {_colour(1.0 if answer['verdict'] == 'fake' else -1.0)}"),
        f", probability of fake {answer['probability']:.3f}{similarity}\n",
    )
    strongest = max((abs(v) for worth in (text_worth, image_worth) for v in worth or ()), default=0) or 1.0
    for name, words, worth in (
        ("text", article.text_words, text_worth),
        ("image", article.visual_words, image_worth),
    ):
        if worth is None:
            continue
        shown.append(f"{name:5}  ", "dim")
        for word, value in zip(words, worth, strict=False):  # worth goes on over the padding
            shown.append(f"{word}", _colour(value / strongest))
            shown.append(" ")
        shown.append("\n")
    legend = (
        ("orange", f"bold {_colour(1.0)}"),
        " speaks for fake, ",
        ("blue", f"bold {_colour(-1.0)}"),
        " for real; ",
    )
    return shown + Text.assemble(*legend, ("the brightest adds ", "dim"), (f"{strongest:.3g} to the logit", "dim"))


def patch_picture(image: Image.Image, grids: Sequence[int], worth: Sequence[float]) -> Image.Image:
    """The picture once for each level of patches, each outlined in orange (fake) or blue (real), thicker for more.

    Args:
        worth: what each patch adds to the logit of fake, level after level.
    """
    strongest = max(map(abs, worth), default=0) or 1.0
    sheet = Image.new("RGB", (PANEL * len(grids), PANEL + 28), "white")
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
                if abs(value) >= FAINTEST:
                    draw.rectangle(corners, outline=(*colour, 255), width=1 + round(7 * abs(value)))
        sheet.paste(Image.alpha_composite(panel, marks).convert("RGB"), (level * PANEL, 0))
    legend = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    legend.text((6, PANEL + 6), "orange: towards fake", FAKE, font)
    legend.text((166, PANEL + 6), "blue: towards real", REAL, font)
    if len(grids) > 1:
        legend.text((310, PANEL + 6), f"strongest: {strongest:.3g} of the logit", "black", font)
    return sheet


def save_picture(picture: Image.Image, folder: Path, article_id: str) -> Path:
    """Write the picture under a name that the id, which may be anything, can neither lead elsewhere nor repeat."""
    digest = hashlib.sha256(article_id.encode("utf-8", "replace")).hexdigest()[:10]
    path = folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', article_id).strip('-')[:60]}-{digest}.png"
    with whole_file(path) as draft:
        picture.save(draft)
    return path


def _worth(
    logit: Parts | None, cosines: tuple[Parts, Parts] | None, row: int
) -> tuple[list[float] | None, list[float] | None]:
    """What each word of the text and of the image adds towards fake; in SAFE\\W, which has no logit, to -cos."""
    sign, text, image = 1.0, None, None
    if logit is not None:
        text, image = logit.text, logit.visual
    elif cosines is not None:
        sign, text, image = -1.0, cosines[0].text, cosines[1].visual
    found = [None if side is None else (sign * side.words[row]).tolist() for side in (text, image)]
    return found[0], found[1]


def _colour(value: float) -> str:
    """From the terminal's grey to orange (1) or blue (-1)."""
    target = ORANGE if value > 0 else BLUE
    strength = min(abs(value), 1.0)
    return "#" + "".join(f"{round(g + (t - g) * strength):02x}" for g, t in zip(GREY, target, strict=True))
