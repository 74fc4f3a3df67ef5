"""Labels of articles: the words, numbers and truth values that stand for the two classes."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Protocol

from safe_exp.config.data import REST
from safe_exp.data.reading.cleaning import EMPTY, clean_text
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.system.errors import UserError

LABELS = {"fake": 1, "real": 0}
IGNORED = "label is one of data.labels.ignore"
_WHOLE = re.compile(r"([-+]?\d+)[.,]0+")  # 1.0, and 1,0 where the comma is the decimal sign
_LIST_OF_ONE = re.compile(r"""\[\s*(["']?)([^"'\[\],]*)\1\s*\]""")


class LabelWords(Protocol):
    """Words of the classes, as LabelsConfig or an older stored config gives them."""

    fake: Any
    real: Any


class Labels:
    """The class that each label stands for."""

    def __init__(self, config: LabelWords, column: str = "label") -> None:
        """Index the words of both classes.

        Args:
            config: the words; REST for one of the classes stands for all labels that are named nowhere else.
            column: where the labels stand, for messages.
        Raises:
            UserError: two words of different classes are one label, such as 1 and 1.0.
        """
        self.column = column
        self.words: dict[str, int] = {}  # as they are named, in lower case
        self.rest: int | None = None
        self.ignored = sorted({word.strip().casefold() for word in as_words(getattr(config, "ignore", None) or [])})
        for name, label in LABELS.items():
            words = as_words(getattr(config, name))
            if words == [REST]:
                self.rest = label
            else:
                self.words |= {word.strip().casefold(): label for word in words}
        self._classes: dict[str, int | None] = {}
        for word, label in [*self.words.items(), *((word, None) for word in self.ignored)]:
            if self._classes.setdefault(_whole_number(word), label) != label:
                raise UserError(f"data.labels: {word} stands for two classes, as a number.")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that shape the articles; the last two only where they are used."""
        settings: dict[str, Any] = {"labels": self.words}
        if self.rest is not None:
            settings["other_labels"] = self.rest
        if self.ignored:
            settings["ignored_labels"] = self.ignored
        return settings

    @property
    def named(self) -> frozenset[str]:
        """All labels that are named, in lower case."""
        return frozenset(self._classes) | frozenset(self.words) | frozenset(self.ignored)

    def find(self, cell: Any) -> int:
        """Return the class of a cell: a word, a number, true or false, or a list of one of them.

        Raises:
            UnusableArticle: the cell names no class.
        """
        word = self._word(cell)
        if isinstance(cell, bool) and word not in self._classes:
            word = str(int(cell)) if str(int(cell)) in self._classes else word
        if word in self._classes:
            label = self._classes[word]
            if label is None:
                raise UnusableArticle(IGNORED, f"'{word[:40]}' in column {self.column}")
            return label
        if self.rest is None:
            raise UnusableArticle(
                "label is not one of data.labels",
                f"'{'' if cell is None else str(cell).strip()[:40]}' in column {self.column}; say which words are "
                "which, as in data.labels.fake=[false] data.labels.real=[true]",
            )
        if word in EMPTY:
            raise UnusableArticle("label is empty", f"column {self.column}")
        return self.rest

    def _word(self, cell: Any) -> str:
        """Write a cell as a word in lower case."""
        if isinstance(cell, list | tuple):
            if len(cell) > 1:
                raise UnusableArticle("label is no single word", f"{len(cell)} of them in column {self.column}")
            return self._word(cell[0]) if cell else ""
        if cell is None or isinstance(cell, str):
            text = clean_text(cell or "")
            if found := _LIST_OF_ONE.fullmatch(text):
                text = found.group(2).strip()
            return _whole_number(text.casefold())
        if isinstance(cell, bool):
            return str(cell).casefold()
        if isinstance(cell, int):
            return str(cell)
        if isinstance(cell, float | Decimal):
            return str(int(cell)) if cell == cell and cell % 1 == 0 else str(cell).casefold()
        raise UnusableArticle("label is no word", f"a {type(cell).__name__} in column {self.column}")


def as_words(value: Any) -> list[str]:
    """List words that are given as a list or as one."""
    return [str(word) for word in (value if isinstance(value, list | tuple) else [value])]


def _whole_number(word: str) -> str:
    found = _WHOLE.fullmatch(word)
    return str(int(found.group(1))) if found else word
