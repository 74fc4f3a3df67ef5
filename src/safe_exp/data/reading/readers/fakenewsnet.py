"""FakeNewsNet-style folders: <root>/[<site>/]{fake,real}/<id>/, labelled by the folder; or unlabelled folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from safe_exp.config.data import DataConfig, LabelsConfig
from safe_exp.data.reading.articles import Article, LeftOut, label_words, require_words
from safe_exp.data.reading.cleaning import as_text, iso_date
from safe_exp.data.reading.labels import IGNORED, Labels
from safe_exp.data.reading.readers import DataKind, readers
from safe_exp.data.reading.untrusted import (
    COPY_LINKS,
    LINK_OUTSIDE,
    UnusableArticle,
    leads_outside,
    parse_object,
    read_text,
)
from safe_exp.data.reading.written_dates import written_date
from safe_exp.system.errors import UserError

ARTICLE_FILES = ("news_article.json", "news content.json")  # the names of the SAFE authors and of FakeNewsNet's crawler
IMAGE_STEM = "image"  # image.jpg, image.png, …; its content alone decides the format
LAYOUT = "Expected <root>/[<site>/]{fake,real}/<article id>/."
MAX_CAPTION_BYTES = 1_000_000
MAX_DEPTH = 3  # <site>/<label>/<id>; unlabelled articles are not searched for below this level


@dataclass
class FolderReader:
    """Read folders of articles.

    Args:
        root: the folder as the user gave it.
        labels: the words that name each class; a folder of such a name holds articles of the class. None: the articles
            have no labels, and each folder with an article file, or without a folder in it, is an article, down to
            MAX_DEPTH below the root.
        caption_file: the file with the sentence that describes the image; None: look for the image itself.
    """

    root: str
    labels: LabelsConfig | None
    caption_file: str | None
    downloaded: dict[str, str] = field(default_factory=dict)  # see TakesDownloads
    not_downloaded: dict[str, tuple[str, str]] = field(default_factory=dict)

    revision = 1

    def __post_init__(self) -> None:
        self._root = Path(self.root).expanduser().resolve()
        self._words = {} if self.labels is None else label_words(self.labels)
        self._ignored = [] if self.labels is None else Labels(self.labels).ignored
        self._folders = {*self._words, *self._ignored}  # names of folders that hold articles
        self._stray: list[LeftOut] = []

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles, as plain values."""
        ignored = {"ignored_labels": self._ignored} if self._ignored else {}
        return {"reader": "folders", "labels": self._words, "caption_file": self.caption_file, **ignored}

    @property
    def image_root(self) -> Path:
        """The resolved folder outside of which no image is read."""
        return self._root

    def items(self) -> Iterator[str]:
        """List the ids of the article folders, sorted.

        Raises:
            UserError: the root is missing or holds no label folder, or a folder cannot be read.
        """
        self._stray = []
        if self.labels is None:
            yield from self._unlabelled(self._existing_root(), MAX_DEPTH)
            return
        yield from sorted(folder.relative_to(self._root).as_posix() for folder in self._article_folders())

    def stray(self) -> list[LeftOut]:
        """List the links out of the root, which `items` did not follow."""
        return self._stray

    def signature(self, item: str) -> Any:
        """Collect name, size and times of the article's files."""
        wanted = {*ARTICLE_FILES, self.caption_file}
        found: list[Any] = []
        try:
            with os.scandir(self._root / item) as entries:
                for entry in entries:
                    if entry.name in wanted or (self.caption_file is None and _is_image(entry.name)):
                        stat = entry.stat()
                        found.append([entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
        except OSError as error:  # gone since the listing, or unreadable: `read` gives the reason
            found.append(error.errno)
        return [item, sorted(found, key=str), self.downloaded.get(item), self.not_downloaded.get(item)]

    def read(self, item: str) -> Article | LeftOut:
        """Read the article in the folder `item`, or give the reason why there is none."""
        try:
            return self._read(item)
        except UnusableArticle as error:
            return LeftOut(_printable(item), error.reason, error.detail)
        except OSError as error:  # files that cannot be read have reasons of their own
            return LeftOut(_printable(item), "article folder cannot be read", error.strerror or str(error))

    def addresses(self, item: str, article: Article) -> dict[str, str]:
        """Give the address of the article's image, under its id, where no image lies beside it."""
        return {} if article.images or not article.image_urls else {item: article.image_urls[0]}

    def _read(self, item: str) -> Article:
        folder = self._root / item
        if self._ignored and folder.parent.name.casefold() in self._ignored:
            raise UnusableArticle(IGNORED, f"folder {folder.parent.name}")
        names = [name for name in ARTICLE_FILES if (folder / name).exists()]
        name = names[0] if names else ARTICLE_FILES[0]
        content = parse_object(read_text(folder / name, self._root, "article"), "article file", name)
        title, text = as_text(content.get("title")), as_text(content.get("text"))
        caption, image, no_visual = self._visual(item, folder)
        require_words(item, title, text, has_visual=no_visual is None)
        label, site = None, []
        if self.labels is not None:
            *site, label_folder, _ = item.split("/")
            label = self._words[label_folder.casefold()]
        return Article(
            id=_printable(item),
            label=label,
            title=title,
            text=text,
            caption=caption,
            images=() if image is None else (image,),
            no_visual=no_visual,
            site=site[0] if site else None,
            source=as_text(content.get("source")) or None,
            date=iso_date(content.get("publish_date")),
            date_written=written_date(content.get("publish_date")),
            image_urls=_image_urls(content),
        )

    def _visual(self, item: str, folder: Path) -> tuple[str, Path | None, tuple[str, str] | None]:
        """Read the caption or find the image; third is the reason where there is neither."""
        try:
            if self.caption_file is not None:
                caption = as_text(read_text(folder / self.caption_file, self._root, "caption", MAX_CAPTION_BYTES))
                return caption, None, None if caption else ("caption is empty", self.caption_file)
        except UnusableArticle as error:
            return "", None, (error.reason, error.detail)
        found = sorted(path for path in folder.iterdir() if _is_image(path.name))
        if found:
            if leads_outside(found[0], self._root):
                return "", None, (LINK_OUTSIDE, f"{found[0].name}; {COPY_LINKS}")
            return "", found[0], None
        if item in self.downloaded:
            return "", Path(self.downloaded[item]), None
        return "", None, self.not_downloaded.get(item, ("no image file", f"expected {IMAGE_STEM}.jpg or the like"))

    def _existing_root(self) -> Path:
        if not self._root.is_dir():
            what = "is not a folder" if self._root.exists() else "does not exist"
            raise UserError(
                f"data.root={self.root} {what} (looked at {self._root}). {LAYOUT} "
                "A relative path starts where the command is started."
            )
        return self._root

    def _unlabelled(self, folder: Path, depth: int) -> Iterator[str]:
        """Yield the ids of the article folders in `folder` as they are found."""
        for inner in self._subfolders(folder):
            deeper = [] if _holds_article(inner) else self._subfolders(inner, required=False)
            if not deeper:  # an article, or a folder that lacks its article file: `read` gives the reason
                yield inner.relative_to(self._root).as_posix()
            elif depth > 1:
                yield from self._unlabelled(inner, depth - 1)

    def _article_folders(self) -> Iterator[Path]:
        """Yield the article folders in all label folders.

        Raises:
            UserError: there is no label folder.
        """
        root, given = self._existing_root(), self.root
        label_folders = [
            folder
            for level in (root, *self._subfolders(root))
            if level == root or level.name.casefold() not in self._folders
            for folder in self._subfolders(level, required=level == root)
            if folder.name.casefold() in self._folders
        ]
        if not label_folders:
            if root.name.casefold() in self._words:
                raise UserError(
                    f"data.root={given} is the '{root.name}' folder itself, one level too deep. {LAYOUT} "
                    f"Set data.root={root.parent}."
                )
            names = " or ".join(f"'{word}'" for word in self._words)
            if links := [item.path for item in self._stray if Path(item.path).name.casefold() in self._words]:
                raise UserError(
                    f"data.root={given}, {' and '.join(links)}: {LINK_OUTSIDE}, and is not followed. Point data.root "
                    f"at the folder of the articles themselves, or copy them: {COPY_LINKS}."
                )
            raise UserError(
                f"data.root={given} holds no folder named {names}, nor does a folder in it (looked at {root}). "
                f"{LAYOUT} Point data.root at the folder that holds them, or at the one that holds politifact/ and "
                "gossipcop/; data.labels names other words."
            )
        for label_folder in label_folders:
            articles = self._subfolders(label_folder)
            if not articles and (files := [path for path in label_folder.iterdir() if path.is_file()]):
                detail = f"{len(files)} files; expected a folder for each article, with {ARTICLE_FILES[0]} in it"
                self._add_stray(label_folder, "label folder without article folders", detail)
            yield from articles

    def _subfolders(self, folder: Path, required: bool = True) -> list[Path]:
        """List the visible folders in a folder, sorted; links out of the root are recorded as stray, not followed.

        A folder that is not `required` and cannot be read, such as lost+found of a disk, is recorded as stray.

        Raises:
            UserError: a required folder cannot be read.
        """
        found = []
        try:
            with os.scandir(folder) as entries:
                visible = sorted((entry for entry in entries if not _is_hidden(entry.name)), key=lambda e: e.name)
        except OSError as error:
            if not required:
                self._add_stray(folder, "folder cannot be read", f"{error.strerror}; it was passed over")
                return []
            raise UserError(
                f"{folder}: the folder cannot be read ({error.strerror}). Its owner can give you access."
            ) from error
        for entry in visible:
            path = folder / entry.name
            if entry.is_symlink() and leads_outside(path, self._root):
                self._add_stray(path, LINK_OUTSIDE, f"not followed; {COPY_LINKS}")
            elif entry.is_dir():
                found.append(path)
        return found

    def _add_stray(self, path: Path, reason: str, detail: str) -> None:
        found = LeftOut(_printable(path.relative_to(self._root).as_posix()), reason, detail)
        if found not in self._stray:  # the root's own entries are listed twice
            self._stray.append(found)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"  # macOS puts what its archives say of files there


def _holds_article(folder: Path) -> bool:
    try:
        return any((folder / name).exists() for name in ARTICLE_FILES)
    except OSError:
        return False


def _image_urls(content: dict[str, Any]) -> tuple[str, ...]:
    """Find the address of the article's image, in full: its top image, else the first of its list."""
    images = content.get("images")
    found = as_text(content.get("top_img")) or (as_text(images[0]) if isinstance(images, list) and images else "")
    try:
        return (urljoin(as_text(content.get("url")), found),) if found else ()
    except ValueError:  # brackets that are no IPv6 address; the download refuses it
        return (found,)


def _printable(item: str) -> str:
    """Replace bytes of a folder name that are no UTF-8: they could not be written to the prepared data."""
    return item.encode("utf-8", "replace").decode("utf-8")


def _is_image(name: str) -> bool:
    return name.partition(".")[0].casefold() == IMAGE_STEM and "." in name


def _reader(data: DataConfig, labels: LabelsConfig | None, caption_file: str | None) -> FolderReader:
    return FolderReader(data.root, labels, caption_file)


readers.add(DataKind("fakenewsnet", DataConfig, _reader, items_are_ids=True))
