"""NewsCLIPpings (Luo et al. 2021): pairs of ids, whose captions and photographs are those of VisualNews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import MISSING

from safe_exp.config.data import DataConfig, LabelsConfig
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.cleaning import as_text
from safe_exp.data.reading.json_text import BrokenJson, JsonText
from safe_exp.data.reading.readers import DataKind, readers
from safe_exp.data.reading.readers.table import ColumnsConfig, TableReader
from safe_exp.data.reading.table_formats import Row
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.system.errors import UserError

PAIRS, NEWS = "annotations", "data.json"  # key of the pairs in their file; the file of VisualNews
COLUMNS = ColumnsConfig("id", None, "text", "label", "image", "caption", source="source", date=None, split=None)
EXPECTED = "Expected a file of matches, as news_clippings/data/merged_balanced/train.json."


@dataclass
class NewsClippingsDataConfig(DataConfig):
    """Pairs of NewsCLIPpings, and VisualNews."""

    visual_news: str = MISSING  # folder of VisualNews with data.json, called origin there
    images: str | None = MISSING  # folder that the paths in data.json start from; null: data.visual_news


class _News(NamedTuple):
    """An entry of VisualNews."""

    caption: str
    image: str  # path of the photograph
    source: str


class NewsClippingsReader:
    """Read pairs; as rows of a table, once caption and photograph are found by their ids.

    Args:
        root: the file of pairs as the user gave it.
        visual_news: the folder with data.json as the user gave it.
        images: folder that paths of photographs start from; None: `visual_news`.
        labels: the words for true and false in `falsified`; None: no labels.
        reads_captions: look for no photographs. There are no sentences about them.
    """

    revision = TableReader.revision

    def __init__(
        self, root: str, visual_news: str, images: str | None, labels: LabelsConfig | None, reads_captions: bool
    ) -> None:
        self.root = root
        self.visual_news = visual_news
        self._path = Path(root).expanduser().resolve()
        self._news_path = Path(visual_news).expanduser().resolve() / NEWS
        self._table = TableReader(root, COLUMNS, labels, images or visual_news, reads_captions)
        self._found: tuple[Any, dict[str, _News]] | None = None  # what was found in which state of the file

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_found": None}  # processes get whole rows, and need no part of VisualNews

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles, as plain values."""
        return self._table.settings | {"reader": "newsclippings"}

    @property
    def image_root(self) -> Path:
        """The resolved folder outside of which no image is read."""
        return self._table.image_root

    def items(self) -> Iterator[Row]:
        """Yield the pairs in their order, joined with VisualNews.

        Raises:
            UserError: one of the two files is missing, cut off or of another form.
        """
        pairs = list(self._pairs())
        news = self._find_news(pairs)
        for number, pair in enumerate(pairs, 1):
            yield number, _join(pair, news)

    def stray(self) -> list[LeftOut]:
        """List what `items` left out: nothing, since a pair that is not found is an item, too."""
        return []

    def signature(self, item: Row) -> Any:
        """Hash the joined pair, and add size and times of its photograph."""
        return self._table.signature(item)

    def read(self, item: Row) -> Article | LeftOut:
        """Read a pair as an article, or give the reason why it is none."""
        return self._table.read(item)

    def _pairs(self) -> Iterator[Any]:
        if not self._path.is_file():
            what = "is a folder" if self._path.is_dir() else "does not exist"
            raise UserError(f"data.root={self.root} {what} (looked at {self._path}). {EXPECTED}")
        found = False
        try:
            with self._path.open(encoding="utf-8-sig", errors="replace") as handle:
                text = JsonText(handle)
                for key in text.members():
                    if key == PAIRS:
                        found = True
                        yield from text.elements()
                    else:
                        text.skip()
        except (OSError, BrokenJson) as error:
            raise UserError(f"data.root={self.root} cannot be read ({error}). Is the file whole? {EXPECTED}") from error
        if not found:
            raise UserError(f"data.root={self.root} has no key '{PAIRS}'. {EXPECTED}")

    def _find_news(self, pairs: Sequence[Any]) -> dict[str, _News]:
        """Find the entries of VisualNews that the pairs name; once, unless its file changes.

        Of a million entries only these are kept.
        """
        try:
            stat = self._news_path.stat()
        except OSError as error:
            raise UserError(
                f"data.visual_news={self.visual_news} holds no {NEWS} (looked at {self._news_path.parent}). "
                "NewsCLIPpings has ids alone; captions and photographs are those of VisualNews, which its authors give "
                "on request: https://github.com/FuxiaoLiu/VisualNews-Repository. Give its folder origin."
            ) from error
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if self._found is None or self._found[0] != state:
            wanted = {as_text(pair.get(key)) for pair in pairs if isinstance(pair, dict) for key in ("id", "image_id")}
            self._found = state, self._read_news(wanted - {""})
        return self._found[1]

    def _read_news(self, wanted: set[str]) -> dict[str, _News]:
        news = {}
        try:
            with self._news_path.open(encoding="utf-8-sig", errors="replace") as handle:
                for entry in JsonText(handle).elements():
                    if isinstance(entry, dict) and (key := as_text(entry.get("id"))) in wanted:
                        image = entry.get("image_path")
                        news[key] = _News(
                            as_text(entry.get("caption")),
                            image if isinstance(image, str) else "",
                            as_text(entry.get("source")),
                        )
        except (OSError, BrokenJson) as error:
            raise UserError(
                f"data.visual_news={self.visual_news}: {NEWS} cannot be read ({error}). Is the file whole? Expected "
                "VisualNews' array of objects with id, caption and image_path."
            ) from error
        return news


def _join(pair: Any, news: Mapping[str, _News]) -> dict[str, Any] | UnusableArticle:
    """Put caption, photograph and label of a pair into the cells of a row."""
    if isinstance(pair, UnusableArticle):
        return pair
    if not isinstance(pair, dict):
        return UnusableArticle("pair is not a JSON object", f"it is a {type(pair).__name__}")
    caption_id, image_id = as_text(pair.get("id")), as_text(pair.get("image_id"))
    for key, name in (("id", caption_id), ("image_id", image_id)):
        if name not in news:
            return UnusableArticle("id is not in VisualNews", f"{key} {name[:40] or 'is missing'}")
    caption, photograph = news[caption_id], news[image_id]
    return {
        "id": f"{caption_id}-{image_id}", "text": caption.caption, "image": photograph.image,
        "label": pair.get("falsified"), "source": caption.source,
    }  # fmt: skip


def _reader(
    data: NewsClippingsDataConfig, labels: LabelsConfig | None, caption_file: str | None
) -> NewsClippingsReader:
    return NewsClippingsReader(
        data.root, data.visual_news, data.images, labels, reads_captions=caption_file is not None
    )


readers.add(DataKind("newsclippings", NewsClippingsDataConfig, _reader))
