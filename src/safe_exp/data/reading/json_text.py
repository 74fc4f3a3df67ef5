"""Arrays of JSON files, an element at a time: the memory holds a piece of the file, never all of it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from safe_exp.data.reading.untrusted import MAX_ARTICLE_BYTES, UnusableArticle

PIECE_CHARS = 1 << 20
_DECODER = json.JSONDecoder(strict=False)  # crawlers leave raw line breaks and tabs inside strings
_SPACE = re.compile(r"[ \t\r\n\0\ufeff]*")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)|[\[\]{},]', re.DOTALL)
_NEXT_OBJECT = re.compile(r"\}\s*,\s*\{")
END = ""  # instead of a character


class BrokenJson(Exception):
    """Text that is not JSON, beyond which it cannot be told where values begin; the message gives the line."""


class JsonText:
    """A JSON text that is read piece by piece."""

    def __init__(self, handle: io.TextIOBase) -> None:
        self._handle = handle
        self._buffer = ""
        self._at = 0
        self._lines = 1

    @property
    def line(self) -> int:
        """Number of the line that is being read, from 1."""
        return self._lines + self._buffer.count("\n", 0, self._at)

    def peek(self) -> str:
        """Return the next character that is no space, or END."""
        while True:
            self._at = _SPACE.match(self._buffer, self._at).end()
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read_on():
                return END

    def elements(self) -> Iterator[Any]:
        """Yield each element of the array that begins here; an UnusableArticle for a damaged one.

        Raises:
            BrokenJson: the array is cut off, or it cannot be told where an element ends.
        """
        self._take("[")
        while self.peek() != "]":
            yield self._element()
            if self.peek() != "]":
                self._take(",")
        self._take("]")

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here; before it goes on, the caller reads or skips the value.

        Raises:
            BrokenJson: it is no object, or is cut off.
        """
        self._take("{")
        while self.peek() != "}":
            key = self._value()
            if not isinstance(key, str):
                raise BrokenJson(f"line {self.line}: expected a key in quotation marks")
            self._take(":")
            yield key
            if self.peek() != "}":
                self._take(",")
        self._take("}")

    def skip(self) -> None:
        """Pass over the value that begins here.

        Raises:
            BrokenJson: it is not valid JSON.
        """
        opening = self.peek()
        if opening == "[":
            for element in self.elements():
                if isinstance(element, UnusableArticle):
                    raise BrokenJson(element.detail)
        elif opening == "{":
            for _ in self.members():
                self.skip()
        else:
            self._value()

    def _element(self) -> Any:
        try:
            return self._value()
        except BrokenJson as error:
            return self._pass_over(error)

    def _pass_over(self, error: BrokenJson) -> UnusableArticle:
        """Pass over an element that is not JSON, if its brackets tell where it ends."""
        start, depth = self.line, 0
        for token in _TOKEN.finditer(self._buffer, self._at):
            sign = token.group()
            if depth == 0 and sign in (",", "]"):
                broken = self._buffer[self._at : token.start()]
                if _NEXT_OBJECT.search(broken):  # a quotation mark is missing, and its string ran into the next element
                    break
                self._at = token.start()
                return UnusableArticle("row is not valid JSON", str(error))
            depth += (sign in ("[", "{")) - (sign in ("]", "}"))
            if depth < 0:
                break
        raise BrokenJson(f"{error}; the element that begins in line {start} has no end that can be told")

    def _value(self) -> Any:
        """Read the value that begins here.

        Raises:
            BrokenJson: it is not valid JSON, or is cut off, or larger than MAX_ARTICLE_BYTES.
        """
        self.peek()
        while True:
            value, end, fault = None, len(self._buffer), None
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except (ValueError, RecursionError) as error:  # RecursionError: brackets nested by the thousand
                fault = error
            # What stands at the end of a piece may go on in the next: a number does after ".", "e" or "e-".
            left = len(self._buffer) - end
            open_end = left == 0 or (left <= 2 and isinstance(value, int | float))
            if open_end and len(self._buffer) - self._at <= MAX_ARTICLE_BYTES and self._read_on():
                continue
            if fault is not None:
                raise BrokenJson(self._explain(fault)) from fault
            self._at = end
            return value

    def _explain(self, fault: Exception) -> str:
        if isinstance(fault, json.JSONDecodeError):
            return f"line {self._lines + self._buffer.count(chr(10), 0, fault.pos)}: {fault.msg}"
        what = "it is nested too deeply" if isinstance(fault, RecursionError) else str(fault)
        return f"line {self.line}: {what}"

    def _take(self, sign: str) -> None:
        found = self.peek()
        if found != sign:
            what = f"found '{found}'" if found else "the file ends"
            raise BrokenJson(f"line {self.line}: expected '{sign}', {what}")
        self._at += 1

    def _read_on(self) -> bool:
        """Read the next piece and forget what was used; False at the end of the file."""
        # Twice as much each time: a long value is tried again for every piece.
        piece = self._handle.read(max(PIECE_CHARS, len(self._buffer) - self._at))
        if not piece:
            return False
        self._lines += self._buffer.count("\n", 0, self._at)
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return True
