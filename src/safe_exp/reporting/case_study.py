"""Articles to look at, as in the paper's case study: real and fake, whose text and image are most and least alike.

Articles are untrusted: their files are read from inside the data root only, their images are drawn anew, small.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

from PIL import Image

from safe_exp.config.figure_names import THRESHOLD
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.images import UnusableImage, decode_image, read_image_file
from safe_exp.data.reading.readers import DataKind, Reader, readers
from safe_exp.reporting.conditions import Condition
from safe_exp.runs.outcome import Job
from safe_exp.system.errors import UserError

THUMBNAIL_PIXELS = 320  # the longer side
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
    threshold: float  # a probability above it is called fake
    content: ArticleContent | None  # None where the articles are not at hand

    @property
    def called_fake(self) -> bool:
        return self.probability > self.threshold

    @property
    def right(self) -> bool:
        return self.called_fake == bool(self.label)


def choose_cases(condition: Condition, count: int) -> dict[str, list[Case]]:
    """`count` test articles of each kind, heading → cases; no kinds where nothing has a similarity.

    No article stands under two headings: of few, the least alike are taken first.
    """
    scored: dict[str, list[tuple[float, float, float]]] = {}
    labels: dict[str, int] = {}
    jobs: dict[str, Job] = {}
    for job in condition.jobs:
        threshold = (job.metrics["test"].get("thresholds") or {}).get("prediction", THRESHOLD)
        for article in job.test_predictions:
            if article.similarity is not None:
                scored.setdefault(article.id, []).append((article.similarity, article.probability, threshold))
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
        None when the articles are no longer there, the id leads out of their root, or it holds no readable article.
    """
    data = run.config.get("data") or {}
    caption_file = str((run.config.get("captioner") or {}).get("file_name") or "caption.txt")
    try:
        root = run.started_in / Path(str(data["root"])).expanduser()
        labels = data.get("labels") or {"fake": ["fake"], "real": ["real"]}
        settings = json.dumps({**data, "root": str(root), "labels": labels})
        kind, told, seen = _open_readers(settings, caption_file)
        root = Path(told.root).resolve()
        if not root.exists():
            return None
        if not kind.items_are_ids:
            return _all_contents(settings, caption_file).get(article_id)
        # An id is read from a file too, so it must not be able to name another place, by dots or by a link.
        if not (root / article_id).resolve().is_relative_to(root):
            return None
        return _content(told.read(article_id), seen.read(article_id))
    except (UserError, OSError, RuntimeError, ValueError, LookupError, AttributeError, TypeError):  # a config of old
        return None


def _open_readers(settings: str, caption_file: str) -> tuple[DataKind, Reader, Reader]:
    """The kind of a data set, a reader that gives its articles with captions, and one that gives them with images.

    Args:
        settings: the group `data` of a stored config, as JSON, with an absolute `root`.
    """
    # Not the typed config: an earlier version of the program may have stored fewer keys.
    data = json.loads(settings, object_hook=lambda values: SimpleNamespace(**values))
    kind = readers[data.name]
    return kind, kind.build(data, data.labels, caption_file), kind.build(data, data.labels, None)


@lru_cache(maxsize=1)  # one table holds all the articles of a sweep
def _all_contents(settings: str, caption_file: str) -> dict[str, ArticleContent]:
    """Every article by its id, its text shortened; of equal ids the first; none of an input that cannot be read."""
    contents: dict[str, ArticleContent] = {}
    _, told, seen = _open_readers(settings, caption_file)
    try:
        for item in told.items():
            article = told.read(item)
            content = _content(article, seen.read(item))
            if content is not None and article.id not in contents:
                contents[article.id] = replace(content, text=shortened(content.text))
    except (UserError, OSError):
        return {}
    return contents


def _content(told: Article | LeftOut, seen: Article | LeftOut) -> ArticleContent | None:
    if isinstance(told, Article) and isinstance(seen, Article):
        return ArticleContent(told.title, told.text, told.caption or None, seen.image)
    return None


def thumbnail(path: Path) -> str | None:
    """The image drawn anew as a small JPEG, as a data URI; None when it cannot be read or is far too large.

    What comes out holds pixels alone: no metadata, and nothing else that the file may have carried.
    """
    try:
        small = decode_image(read_image_file(path, path.parent.resolve()), path.name)
    except UnusableImage:
        return None
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    bare = Image.new("RGB", small.size)  # a copy would take the file's comments along
    bare.paste(small)
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def shortened(text: str) -> str:
    """The beginning of a text, cut between words."""
    text = " ".join(text.split())
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[:MOST_CHARACTERS].rsplit(" ", 1)[0] + " …"
