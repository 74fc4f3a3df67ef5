"""Articles to look at, as in the paper's case study: real and fake, whose text and image are most and least alike.

Articles are untrusted: their files are read from inside the data root only, their images are drawn anew, small.
"""

from __future__ import annotations

import base64
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from PIL import Image, ImageOps

from safe_exp.data.articles import ARTICLE_FILES
from safe_exp.data.synthetic import synthetic_folder
from safe_exp.data.untrusted import UnusableArticle, leads_outside, read_text
from safe_exp.reporting.collect import Job
from safe_exp.reporting.conditions import Condition

IMAGES = ("image.png", "image.jpg", "image.jpeg", "image.webp", "image.gif")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # Pillow's decoders that may be tried, whatever the file is called
THUMBNAIL_PIXELS = 320  # the longer side
MOST_PIXELS = 50_000_000  # of an image that is opened at all
MOST_CHARACTERS = 700  # of a text that is shown
KINDS = {  # (label, whether the most similar come first) → heading
    (1, False): "Fake, text and image least alike",
    (1, True): "Fake, text and image most alike",
    (0, False): "Real, text and image least alike",
    (0, True): "Real, text and image most alike",
}


@dataclass(frozen=True)
class ArticleContent:
    title: str
    text: str
    caption: str | None  # the sentence that describes the image
    image: Path | None


@dataclass(frozen=True)
class Case:
    """One article and what a condition's jobs made of it, averaged over those that tested it."""

    id: str
    label: int  # 1 = fake
    similarity: float
    probability: float  # of fake
    content: ArticleContent | None  # None where the articles are not at hand

    @property
    def right(self) -> bool:
        return (self.probability > 0.5) == bool(self.label)


def choose_cases(condition: Condition, count: int) -> dict[str, list[Case]]:
    """`count` test articles of each kind, heading → cases; no kinds where nothing has a similarity.

    No article stands under two headings: of few, the least alike are taken first.
    """
    scored: dict[str, list[tuple[float, float]]] = {}
    labels: dict[str, int] = {}
    jobs: dict[str, Job] = {}
    for job in condition.jobs:
        for article in job.test_predictions:
            if article.similarity is not None:
                scored.setdefault(article.id, []).append((article.similarity, article.probability))
                labels[article.id], jobs[article.id] = article.label, job
    means = {article: tuple(map(fmean, zip(*found, strict=True))) for article, found in scored.items()}
    cases: dict[str, list[Case]] = {}
    taken: set[str] = set()
    for (label, most), heading in KINDS.items():
        ordered = sorted((a for a in means if labels[a] == label), key=lambda a: (means[a][0], a), reverse=most)
        chosen = [article for article in ordered if article not in taken][:count]
        taken.update(chosen)
        cases[heading] = [
            Case(article, label, *means[article], article_content(jobs[article], article)) for article in chosen
        ]
    return {heading: found for heading, found in cases.items() if found}


def article_content(run: Job, article_id: str) -> ArticleContent | None:
    """Title, text, caption and image of an article, from the data root that the run's config records.

    Returns:
        None when the folder is no longer there, is not inside the root, or holds no readable article.
    """
    root = _data_root(run)
    if root is None:
        return None
    folder = root / article_id
    try:
        # An id is read from a file too, so it must not be able to name another place, by dots or by a link.
        if not folder.resolve().is_relative_to(root) or not folder.is_dir():
            return None
        name = next((name for name in ARTICLE_FILES if (folder / name).exists()), ARTICLE_FILES[0])
        content = json.loads(read_text(folder / name, root, "article"))
    except (OSError, RuntimeError, ValueError, UnusableArticle, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    image = next((folder / name for name in IMAGES if (folder / name).is_file()), None)
    if image is not None and leads_outside(image, root):
        image = None
    return ArticleContent(_text(content.get("title")), _text(content.get("text")), _caption(run, folder, root), image)


def thumbnail(path: Path) -> str | None:
    """The image drawn anew as a small JPEG, as a data URI; None when it cannot be read or is far too large.

    What comes out holds pixels alone: no metadata, and nothing else that the file may have carried.
    """
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # a decompression-bomb warning: the size is checked here
            if image.width * image.height > MOST_PIXELS:
                return None
            image.draft("RGB", (2 * THUMBNAIL_PIXELS, 2 * THUMBNAIL_PIXELS))  # a JPEG is then decoded small
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            bare = Image.new("RGB", small.size)  # a copy would take the file's comments along
            bare.paste(small)
            buffer = io.BytesIO()
            bare.save(buffer, "JPEG", quality=80)
    except Exception:  # decoders raise whatever a damaged file leads them to, SyntaxError included
        return None
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def shortened(text: str) -> str:
    """The beginning of a text, cut between words."""
    text = " ".join(text.split())
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[:MOST_CHARACTERS].rsplit(" ", 1)[0] + " …"


def _data_root(run: Job) -> Path | None:
    data = run.config.get("data") or {}
    if not data.get("root"):
        return None
    root = run.started_in / Path(str(data["root"])).expanduser()
    try:
        if data.get("name") == "synthetic":
            root = synthetic_folder(SimpleNamespace(**{**data, "root": str(root)}))
        root = root.resolve()
    except (OSError, RuntimeError, AttributeError, TypeError, ValueError):
        return None
    return root if root.is_dir() else None


def _caption(run: Job, folder: Path, root: Path) -> str | None:
    captioner = run.config.get("captioner") or {}
    try:
        return read_text(folder / str(captioner.get("file_name") or "caption.txt"), root, "caption").strip() or None
    except UnusableArticle:
        return None


def _text(value: Any) -> str:
    # JSON may hold half of a surrogate pair; it cannot be written as UTF-8 again.
    return value.strip().encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""
