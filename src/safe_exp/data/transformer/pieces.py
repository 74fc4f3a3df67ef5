"""Tokens of a transformer's own tokenizer: words, or pieces of words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from safe_exp.data.scripts import CONTINUES
from safe_exp.system.errors import UserError, first_line

TOKENIZER_FILE = "tokenizer.json"
# Characters read at first for each token wanted. A word takes six, and pieces are shorter.
CHARS_PER_TOKEN = 12
PROBE = "a \U0001f9ff"
MOST_TORN = 1000  # characters that are looked through for a blank at which a text can be cut

_BLANK = re.compile(r"\s")


@dataclass
class Cut:
    """The first tokens of a text."""

    text: str
    encoding: Encoding  # without special tokens
    title: int  # number of tokens that belong to the title
    cut: bool  # the text has more tokens

    @property
    def ids(self) -> list[int]:
        """Numbers of the tokens, as the tokenizer gives them."""
        return self.encoding.ids

    def words(self) -> list[str]:
        """Write each token as it stands in the text; one within a word begins with ##."""
        shown: list[str] = []
        last = 0
        for token, (start, end) in zip(self.encoding.tokens, self.encoding.offsets, strict=True):
            piece = self.text[start:end]  # some tokenizers count the blank before a word to it
            within = 0 < start == last and piece[:1].isalnum() and self.text[start - 1].isalnum()
            shown.append(f"{CONTINUES}{piece}" if within else piece.strip() or token)
            last = end
        return shown


class Pieces:
    """A tokenizer that cuts texts without special tokens, however long they are.

    Args:
        tokenizer: as it was saved. Its own truncation and padding are switched off.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # an article that holds the characters [SEP] has no token [SEP]
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Pieces:
        """Read tokenizer.json.

        Raises:
            UserError: it is damaged.
        """
        try:
            return cls(parse_tokenizer((folder / TOKENIZER_FILE).read_text(encoding="utf-8")))
        except Exception as error:  # tokenizers raises a bare Exception
            raise UserError(
                f"{folder / TOKENIZER_FILE}: no tokenizer can be read from it ({first_line(error)}). Was the copy "
                "complete?"
            ) from error

    @property
    def count(self) -> int:
        """V, one more than the largest number of a token."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def unknown(self) -> int | None:
        """Number of the token that stands for what the tokenizer does not know; None without one."""
        name = getattr(self.tokenizer.model, "unk_token", None)
        return None if name is None else self.tokenizer.token_to_id(name)

    def cut(self, text: str, most: int, title_length: int = 0) -> Cut:
        """Cut a text into its first `most` tokens.

        Args:
            title_length: characters of the title, with which the text begins.
        """
        chars = max(CHARS_PER_TOKEN * most, 256)
        while True:
            end = _next_blank(text, chars)
            encoding = self.tokenizer.encode(text[:end], add_special_tokens=False)
            if len(encoding) > most or end >= len(text):
                break
            chars *= 4
        cut = len(encoding) > most
        encoding.truncate(most)
        return Cut(text, encoding, sum(start < title_length for start, _ in encoding.offsets), cut)


def parse_tokenizer(text: str) -> Tokenizer:
    """Build the tokenizer that the text of a tokenizer.json describes, and try it on a character that it hardly knows.

    Raises:
        Exception: of tokenizers, or a ValueError: it cannot be built, or cannot cut such a text.
    """
    try:
        tokenizer = Tokenizer.from_str(text)
        tokenizer.encode(PROBE, add_special_tokens=False)  # some lack the token for what they do not know
    except Exception:
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, which has no public name: Ctrl-C is none
            raise
        raise ValueError(f"the tokenizer is damaged: {first_line(error)}") from error
    return tokenizer


def _next_blank(text: str, place: int) -> int:
    """Find the first blank from `place` on, at which the last token of the text before it is whole."""
    found = _BLANK.search(text, place, place + MOST_TORN)
    return found.start() if found else min(place + MOST_TORN, len(text))
