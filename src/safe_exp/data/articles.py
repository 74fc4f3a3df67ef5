"""From a FakeNewsNet-style folder to records: <root>/[<site>/]{fake,real}/<id>/, labelled by the folder."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safe_exp.data.captions import Captioner
from safe_exp.data.untrusted import UnusableArticle, leads_outside, read_text
from safe_exp.errors import UserError

LABELS = {"fake": 1, "real": 0}
ARTICLE_FILES = ("news_article.json", "news content.json")  # as the SAFE authors name it, and FakeNewsNet's crawler


@dataclass(frozen=True)
class Article:
    id: str  # its folder below the root, as in fake/politifact15544: unique, and where to look
    label: int  # 1 = fake, 0 = real
    title: str
    text: str  # the body
    caption: str  # the sentence that describes its image
    site: str | None  # the level between root and label, if there is one
    source: str | None  # publisher
    publish_date: str | None  # as written in the file

    @property
    def title_and_text(self) -> str:
        """T, the article's words: the title followed by the body."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True)
class LeftOut:
    path: str  # below the root
    reason: str  # one of few fixed phrases, to count by
    detail: str


def read_articles(
    root: str | Path, captioner: Captioner, strict: bool, both_classes: bool = True
) -> tuple[list[Article], list[LeftOut]]:
    """Read every article below `root`, in the order of the ids, which is the same on every machine.

    What cannot be used is left out and listed; with `strict` the first such article ends the reading.

    Args:
        both_classes: refuse a folder whose usable articles are all fake or all real. Nothing can be learned from those,
            though they can be scored.
    Raises:
        UserError: no folder of this layout, no usable article, one class only, or (strict) an unusable article.
    """
    given, root = root, Path(root).expanduser().resolve()
    articles: list[Article] = []
    left_out: list[LeftOut] = []
    for folder in _article_folders(root, str(given), left_out):
        try:
            articles.append(_read_article(folder, root, captioner))
        except UnusableArticle as error:
            left_out.append(LeftOut(folder.relative_to(root).as_posix(), error.reason, error.detail))
        if strict and left_out:
            first = left_out[0]
            raise UserError(
                f"{root / first.path}: {first.reason} ({first.detail}). Repair or remove this article, or set "
                "data.strict=false to leave such articles out and count them."
            )
    _check_classes(articles, left_out, root, both_classes)
    return sorted(articles, key=lambda article: article.id), sorted(left_out, key=lambda item: item.path)


def count_reasons(left_out: Sequence[LeftOut]) -> dict[str, int]:
    """How many articles were left out for each reason, the commonest first."""
    counts = Counter(item.reason for item in left_out)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _article_folders(root: Path, given: str, left_out: list[LeftOut]) -> Iterator[Path]:
    layout = "Expected <root>/[<site>/]{fake,real}/<article id>/."
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UserError(
            f"data.root={given} {what} (looked at {root}). {layout} "
            "A relative path starts where the command is started."
        )
    label_folders = [
        folder
        for level in (root, *_subfolders(root, root, left_out))
        if level == root or level.name not in LABELS
        for folder in _subfolders(level, root, left_out)
        if folder.name in LABELS
    ]
    if not label_folders:
        if root.name in LABELS:
            raise UserError(
                f"data.root={given} is the '{root.name}' folder itself, one level too deep. {layout} "
                f"Set data.root={root.parent}."
            )
        raise UserError(
            f"data.root={given} holds no folder named 'fake' or 'real', nor does a folder in it (looked at {root}). "
            f"{layout} Point data.root at the folder that holds them, or at the one that holds politifact/ and "
            "gossipcop/."
        )
    for label_folder in label_folders:
        yield from _subfolders(label_folder, root, left_out)


def _subfolders(folder: Path, root: Path, left_out: list[LeftOut]) -> list[Path]:
    """The visible folders in a folder, sorted; links that lead out of the root are listed as left out, not followed."""
    found = []
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise UserError(
            f"{folder}: the folder cannot be read ({error.strerror}). Its owner can give you access."
        ) from error
    for entry in entries:
        if entry.name.startswith("."):  # .git, .DS_Store, a draft of the built-in data
            continue
        if leads_outside(entry, root):
            link = LeftOut(entry.relative_to(root).as_posix(), "a link leads outside data.root", "not followed")
            if link not in left_out:  # the root's own entries are looked through twice
                left_out.append(link)
        elif entry.is_dir():
            found.append(entry)
    return found


def _read_article(folder: Path, root: Path, captioner: Captioner) -> Article:
    article_id = folder.relative_to(root).as_posix()
    content = _read_json(folder, root)
    title, text = _as_text(content.get("title")), _as_text(content.get("text"))
    if not title and not text:
        raise UnusableArticle("no title and no text", "both are empty or absent")
    *site, label, _ = article_id.split("/")
    return Article(
        id=article_id,
        label=LABELS[label],
        title=title,
        text=text,
        caption=captioner.caption(folder, root),
        site=site[0] if site else None,
        source=_as_text(content.get("source")) or None,
        publish_date=_as_text(content.get("publish_date")) or None,
    )


def _read_json(folder: Path, root: Path) -> dict[str, Any]:
    name = next((name for name in ARTICLE_FILES if (folder / name).exists()), ARTICLE_FILES[0])
    raw = read_text(folder / name, root, "article")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested by the thousand
        raise UnusableArticle("article file is not valid JSON", f"{name}: {error}") from error
    if not isinstance(content, dict):
        raise UnusableArticle("article file is not a JSON object", f"{name}: it holds a {type(content).__name__}")
    return content


def _as_text(value: Any) -> str:
    """A JSON value as text: crawlers write null, "null", numbers and lists where a string belongs."""
    if isinstance(value, str):
        text = _without_surrogates(value).strip()
        return "" if text.casefold() in ("null", "none") else text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return " ".join(filter(None, map(_as_text, value)))
    return ""


def _without_surrogates(text: str) -> str:
    # JSON may hold half of a surrogate pair ("\ud83d"); Python reads it, but it cannot be written as UTF-8 again.
    return text.encode("utf-8", "replace").decode("utf-8")


def _check_classes(articles: Sequence[Article], left_out: Sequence[LeftOut], root: Path, both_classes: bool) -> None:
    reasons = "; ".join(f"{count} × {reason}" for reason, count in count_reasons(left_out).items()) or "none"
    if not articles:
        raise UserError(
            f"{root}: no usable article. Left out: {reasons}{_example(left_out)}. Each article needs "
            f"{ARTICLE_FILES[0]} or '{ARTICLE_FILES[1]}' with a title or a text, and a sentence for its image "
            "(see captioner)."
        )
    fake = sum(article.label for article in articles)
    if both_classes and fake in (0, len(articles)):
        have, lack = ("fake", "real") if fake else ("real", "fake")
        raise UserError(
            f"{root}: all {len(articles)} usable articles are {have}, none is {lack}; a classifier needs both. "
            f"Left out: {reasons}. Point data.root at a folder that holds both fake/ and real/."
        )


def _example(left_out: Sequence[LeftOut]) -> str:
    return f" (for example {left_out[0].path}: {left_out[0].detail})" if left_out else ""
