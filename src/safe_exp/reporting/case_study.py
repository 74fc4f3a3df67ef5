"""Example articles, as in the paper's case study: real and fake ones with the most and the least similar parts.

Articles are untrusted input: their files are read from inside the data root only, and their images are redrawn, small.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import add
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from PIL import Image

from safe_exp.config.data import SplitMethod, absolute_paths
from safe_exp.config.threshold import THRESHOLD
from safe_exp.data.reading.articles import Article, LeftOut, Picture, StoredPicture
from safe_exp.data.reading.images import UnusableImage, decode_image, read_picture
from safe_exp.data.reading.readers import DataKind, Reader, readers
from safe_exp.reporting.conditions import Condition
from safe_exp.runs.job_outcome import Job
from safe_exp.system.errors import UserError

THUMBNAIL_PIXELS = 320  # the longer side
MOST_CHARACTERS = 700  # shown of a text
KINDS = {  # (label, True for the most similar) → heading
    (1, False): "Fake, text and image least alike",
    (1, True): "Fake, text and image most alike",
    (0, False): "Real, text and image least alike",
    (0, True): "Real, text and image most alike",
}


@dataclass(frozen=True)
class ArticleContent:
    """The parts of an article that a report shows."""

    title: str
    text: str
    caption: str | None  # the sentence that describes the image
    image: Picture | None  # the first


@dataclass(frozen=True)
class Case:
    """An article, with the means of its scores over the jobs of a condition that tested it."""

    id: str
    label: int  # 1 = fake
    similarity: float
    probability: float  # of fake
    threshold: float  # a probability above it is called fake
    content: ArticleContent | None  # None if the article can no longer be read

    @property
    def called_fake(self) -> bool:
        """True if the verdict is fake."""
        return self.probability > self.threshold

    @property
    def right(self) -> bool:
        """True if the verdict equals the label."""
        return self.called_fake == bool(self.label)


class _Scores(NamedTuple):
    """The scores of one job on an article."""

    similarity: float
    probability: float  # of fake
    threshold: float


def choose_cases(condition: Condition, count: int) -> dict[str, list[Case]]:
    """Choose `count` test articles of each of KINDS, by heading; no heading if no article has a similarity.

    No article is chosen twice: if there are few, the least similar are chosen first.
    """
    sums: dict[str, _Scores] = {}
    counts: dict[str, int] = {}
    labels: dict[str, int] = {}
    jobs: dict[str, Job] = {}
    for job in condition.jobs:
        threshold = (job.metrics["test"].get("thresholds") or {}).get("prediction", THRESHOLD)
        for article in job.test_predictions:
            if article.similarity is not None:
                scores = _Scores(article.similarity, article.probability, threshold)
                before = sums.get(article.id, _Scores(0.0, 0.0, 0.0))
                sums[article.id] = _Scores(*map(add, before, scores))
                counts[article.id] = counts.get(article.id, 0) + 1
                labels[article.id], jobs[article.id] = article.label, job
    means = {article: _Scores(*(total / counts[article] for total in found)) for article, found in sums.items()}
    cases: dict[str, list[Case]] = {}
    taken: set[str] = set()
    for (label, most), heading in KINDS.items():
        ordered = sorted((a for a in means if labels[a] == label), key=lambda a: (means[a].similarity, a), reverse=most)
        chosen = [article for article in ordered if article not in taken][:count]
        taken.update(chosen)
        cases[heading] = [
            Case(
                id=article,
                label=label,
                similarity=means[article].similarity,
                probability=means[article].probability,
                threshold=means[article].threshold,
                content=read_content(jobs[article], article),
            )
            for article in chosen
        ]
    return {heading: found for heading, found in cases.items() if found}


def read_content(job: Job, article_id: str) -> ArticleContent | None:
    """Read the title, text, caption and image of a test article, from the data root that the job's config records.

    Returns:
        None if the articles are no longer there, the id names a place outside their root, or no article can be read.
    """
    data = job.config.get("data") or {}
    caption_file = str((job.config.get("captioner") or {}).get("file_name") or "caption.txt")
    try:
        labels = data.get("labels") or {"fake": ["fake"], "real": ["real"]}
        for given_root, inner_id in _list_places(data, article_id):
            paths = absolute_paths({**data, "root": given_root}, job.started_in)
            settings = json.dumps({**data, **paths, "labels": labels, "split": SplitMethod.random.value})
            found = _read_below(settings, caption_file, inner_id)
            if found is not None:
                return found
        return None
    except (
        UserError,
        OSError,
        RuntimeError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ):  # an old config may lack keys
        return None


def _list_places(data: dict[str, Any], article_id: str) -> list[tuple[str, str]]:
    """List the roots that may hold a test article, with its id below them: see SidesReader."""
    if data.get("test_root") is None:
        return [(str(data["root"]), article_id)]
    return [
        (str(data["test_root"]), article_id.removeprefix("test/")),
        (str(data["root"]), article_id.removeprefix("train/")),
    ]


def _read_below(settings: str, caption_file: str, article_id: str) -> ArticleContent | None:
    """Read the article with this id below the root of `settings`; None if there is none."""
    kind, told, seen = _open_readers(settings, caption_file)
    root = Path(told.root).resolve()
    if not root.exists():
        return None
    if not kind.items_are_ids:
        content = _all_contents(settings, caption_file).get(article_id)
        if content is not None and isinstance(content.image, StoredPicture):
            return replace(content, image=_stored_picture(settings, caption_file, article_id))
        return content
    # The id comes from a file too, so it must not name another place, by dots or by a link.
    if not (root / article_id).resolve().is_relative_to(root):
        return None
    return _content(told.read(article_id), seen.read(article_id))


def _open_readers(settings: str, caption_file: str) -> tuple[DataKind, Reader, Reader]:
    """Open a data set: return its kind, a reader of articles with captions, and a reader of articles with images.

    Args:
        settings: the group `data` of a stored config, as JSON, with absolute paths.
    """
    # Not as a typed config, since an earlier version may have stored fewer keys.
    data = json.loads(settings, object_hook=lambda values: SimpleNamespace(**values))
    kind = readers[data.name]
    return kind, kind.build(data, data.labels, caption_file), kind.build(data, data.labels, None)


@lru_cache(maxsize=2)  # a sweep's articles are in one table, or its test articles in another
def _all_contents(settings: str, caption_file: str) -> dict[str, ArticleContent]:
    """Read all articles of a table by id, with shortened texts; the first of equal ids counts.

    Pictures that lie in the table are empty: together they may be larger than the memory. A table that cannot be read
    gives none.
    """
    contents: dict[str, ArticleContent] = {}
    _, told, seen = _open_readers(settings, caption_file)
    try:
        for item in told.items():
            article = told.read(item)
            content = _content(article, seen.read(item))
            if content is not None and isinstance(article, Article) and article.id not in contents:
                image = content.image
                if isinstance(image, StoredPicture):
                    image = replace(image, content=b"")
                contents[article.id] = replace(content, text=shorten(content.text), image=image)
    except (UserError, OSError):
        return {}
    return contents


def _stored_picture(settings: str, caption_file: str, article_id: str) -> StoredPicture | None:
    """Read the first picture of an article whose pictures lie in the table; None if there is none."""
    _, _, seen = _open_readers(settings, caption_file)
    for item in seen.items():
        article = seen.read(item)
        if isinstance(article, Article) and article.id == article_id:
            return article.image if isinstance(article.image, StoredPicture) else None
    return None


def _content(told: Article | LeftOut, seen: Article | LeftOut) -> ArticleContent | None:
    """Join an article read with its caption (`told`) and with its image (`seen`); None if either was left out."""
    if isinstance(told, Article) and isinstance(seen, Article):
        return ArticleContent(told.title, told.text, told.caption or None, seen.image)
    return None


def thumbnail(picture: Picture) -> str | None:
    """Redraw an image as a small JPEG and return it as a data URI; None if it cannot be read or is far too large.

    The result contains pixels only: no metadata, and nothing else from the file.
    """
    try:
        home = picture.parent.resolve() if isinstance(picture, Path) else Path()
        small = decode_image(read_picture(picture, home), picture.name)
    except UnusableImage:
        return None
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    bare = Image.new("RGB", small.size)  # a copy would keep the file's comments
    bare.paste(small)
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def shorten(text: str) -> str:
    """Cut a text after at most MOST_CHARACTERS, between words."""
    text = " ".join(text.split())
    if len(text) <= MOST_CHARACTERS:
        return text
    start = text[:MOST_CHARACTERS]
    between_words = start.rsplit(" ", 1)[0]
    # Chinese has no blank at the end of a word, and the last one may stand far in front.
    return (between_words if len(between_words) > MOST_CHARACTERS // 2 else start) + " …"
