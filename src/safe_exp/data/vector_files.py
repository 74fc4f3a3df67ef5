"""Text files of word vectors, of GloVe, word2vec or fastText, as they are or packed as gzip, zip or xz."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from safe_exp.data.packed_text import OpenText, opened_text, unreadable
from safe_exp.system.errors import UserError
from safe_exp.system.terminal import counting

log = logging.getLogger(__name__)

ANNOUNCED_BYTES = 200_000_000  # files from this size on, which take a second or more to read, are announced
PROBED_LINES = 10  # lines at the start of the file that tell its E
MAX_DIM = 99_999  # of E; published vectors have a few hundred numbers
MAX_LINE_BYTES = 1 << 22  # a word and MAX_DIM numbers; in a packed file a line could else fill the memory
BLOCK_BYTES = 1 << 19  # read at a time, which the processor's cache holds
MARK = b"\xef\xbb\xbf"  # byte-order mark of UTF-8, which some editors write
LINES_A_STEP = 10_000
SPACE, LINE_END = 32, 10


def take_vectors(path: Path, wanted: set[str]) -> tuple[dict[str, np.ndarray], int]:
    """Read the vectors (E,) float32 of the wanted words, and E.

    Blocks of whole lines are read, packed or not: glove.840B has 5 GB. The memory holds one block and the vectors
    taken. Of a line that has E spaces only the word is looked at, unless it is wanted. A word may hold spaces, and
    white space of any kind parts it from its numbers. The first vector of a word counts.

    Raises:
        UserError: the file is missing or damaged, a line of it cannot be read, or it knows none of the words.
    """
    if not path.is_file():
        raise UserError(
            f"vectors.path={path}: there is no such file. Expected word vectors as text, GloVe's (a word and its "
            "numbers on each line) or word2vec's and fastText's (the same after a line with the count and the "
            "dimension), as it is or packed as .gz, .zip or .xz; vectors.path=null takes seeded random ones."
        )
    wanted_bytes = {word.encode(): word for word in wanted}
    known: dict[str, np.ndarray] = {}
    size = path.stat().st_size
    announcement = f"Reading word vectors from {path} ({size / 1e9:.1f} GB)" if size >= ANNOUNCED_BYTES else None
    with opened_text(path) as text, counting(log, f"Reading {path.name}, MB", size / 1e6, announcement) as advance:
        blocks = _read_blocks(text, path, advance)
        start_of_file = _take_lines(blocks, PROBED_LINES)
        lines = chain.from_iterable(block.removesuffix(b"\n").split(b"\n") for block in start_of_file)
        dim, first_line_number = _probe_layout(path, islice(lines, PROBED_LINES))
        number = 0
        for block in chain(start_of_file, blocks):
            for start, end, spaces in _find_lines(block):
                number += 1
                if number < first_line_number:
                    continue
                if spaces == dim and block[start : block.find(b" ", start)] not in wanted_bytes:
                    continue
                # Split from the right: a few words of glove.840B hold spaces themselves, as in ". . .".
                fields = block[start:end].rstrip().rsplit(None, dim)
                if not fields:
                    continue
                if len(fields) != dim + 1:
                    raise _bad_line_error(path, number, dim, f"found {max(0, len(fields) - 1)} numbers")
                found = wanted_bytes.get(fields[0])
                if found is not None and found not in known:
                    known[found] = _parse_numbers(fields[1:], path, number)
    if not known:
        raise UserError(
            f"{path}: none of the {len(wanted)} words of the training articles has a vector in it. Expected vectors "
            "for lower-case words of the articles' language; check vectors.path."
        )
    return known, dim


def _take_lines(blocks: Iterator[bytes], least: int) -> list[bytes]:
    """Take blocks until they have so many lines, or there are no more."""
    taken, lines = [], 0
    for block in blocks:
        taken.append(block)
        lines += block.count(b"\n")
        if lines >= least:
            break
    return taken


def _read_blocks(text: OpenText, path: Path, advance: Callable[[float], None]) -> Iterator[bytes]:
    """Yield blocks of whole lines, without a byte-order mark, and tell `advance` the megabytes of the file read.

    Raises:
        UserError: the file is damaged, or a line has MAX_LINE_BYTES or more.
    """
    told = lines = 0
    begun, starts = b"", True  # a line that is not whole yet
    while True:
        try:
            read = text.handle.read(BLOCK_BYTES)
        except Exception as error:  # gzip, zipfile and lzma have no common error
            raise unreadable(path, error) from error
        place = text.place()
        advance((place - told) / 1e6)
        told = place
        read, starts = read.removeprefix(MARK) if starts else read, False
        end = read.rfind(b"\n") + 1
        block = begun + (read[:end] if end else read)
        begun = read[end:] if end else b""
        if read and not end:
            begun, block = block, b""
        _require_short_lines(block or begun, path, lines)
        if block:
            yield block
        if not read:
            return
        lines += block.count(b"\n")


def _require_short_lines(block: bytes | bytearray, path: Path, before: int) -> None:
    """Refuse a line of MAX_LINE_BYTES or more in a block that follows `before` lines."""
    if len(block) < MAX_LINE_BYTES:
        return
    for number, line in enumerate(block.split(b"\n"), start=before + 1):
        if len(line) >= MAX_LINE_BYTES:
            raise UserError(
                f"{path}, line {number}: it has {MAX_LINE_BYTES / 1e6:.0f} MB or more. Expected a word and its "
                f"numbers, at most {MAX_DIM:,}, on each line of a text file."
            )


def _find_lines(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Find the lines of a block by NumPy, which takes 0.3 s for a million lines of 300 numbers.

    Yields:
        Start and end of each line, and the number of spaces in it, without one at its end. It is -1 where it does not
        tell the number of fields, since the block has a tab or two spaces together.
    """
    characters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(characters == LINE_END)
    if not len(ends) or ends[-1] != len(block) - 1:
        ends = np.append(ends, len(block))  # the last line of a file may lack its end
    starts = np.concatenate([[0], ends[:-1] + 1])
    is_space = characters == SPACE
    spaces = np.add.reduceat(is_space.view(np.uint8), starts, dtype=np.int32)
    spaces -= (characters[np.maximum(ends - 1, 0)] == SPACE) & (ends > starts)
    if b"\t" in block or (is_space[1:] & is_space[:-1]).any():
        spaces[:] = -1
    for part in range(0, len(ends), LINES_A_STEP):  # Python's numbers take four times the memory of NumPy's
        columns = (column[part : part + LINES_A_STEP].tolist() for column in (starts, ends, spaces))
        yield from zip(*columns, strict=True)


def _probe_layout(path: Path, lines: Iterable[bytes]) -> tuple[int, int]:
    """Tell E from the first lines, and the number of the line on which the vectors start.

    It is 2 after the header of word2vec and fastText, which is the count and the dimension, else 1.
    """
    fields = [line.split() for line in lines]
    if fields and len(fields[0]) == 2 and all(field.isdigit() for field in fields[0]):
        dim = _parse_header(path, fields[0][1])
        (common, times), *_ = Counter(len(found) - 1 for found in fields[1:] if found).most_common(1) or [(dim, 0)]
        if common != dim and times > 1:
            raise UserError(
                f"{path}, line 1: its header promises vectors of {dim} numbers, and the lines below it have {common}. "
                "Correct the header, or download the file again."
            )
        return dim, 2
    counts = Counter(len(found) for found in fields if found)
    # The commonest count. Of two equally common ones the larger comes from words with spaces in them.
    dim = min(counts, key=lambda count: (-counts[count], count), default=0) - 1
    if dim < 1:
        raise UserError(
            f"{path}, line 1: expected a word and its numbers, separated by spaces, or a header with the count and the "
            "dimension. Is this a word vector file in text format, as it is or packed as .gz, .zip or .xz? (The binary "
            "formats of word2vec and fastText are not read.)"
        )
    return dim, 1


def _parse_header(path: Path, field: bytes) -> int:
    dim = int(field) if len(field) <= len(str(MAX_DIM)) else MAX_DIM + 1
    if not 1 <= dim <= MAX_DIM:
        raise UserError(
            f"{path}, line 1: its header promises vectors of {field[:20].decode()} numbers; expected 1 to {MAX_DIM:,}. "
            "The file may be damaged: download it again."
        )
    return dim


def _parse_numbers(fields: Sequence[bytes], path: Path, number: int) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # 1e39 becomes infinite, and is refused below
            vector = np.fromiter(map(float, fields), np.float64, len(fields)).astype(np.float32)  # (E,)
    except ValueError as error:
        raise _bad_line_error(path, number, len(fields), str(error)) from error
    if not np.isfinite(vector).all():
        raise _bad_line_error(path, number, len(fields), "one of its numbers is not finite")
    return vector


def _bad_line_error(path: Path, number: int, dim: int, found: str) -> UserError:
    return UserError(
        f"{path}, line {number}: expected a word and {dim} numbers, separated by spaces; {found}. "
        "The file may be cut off or damaged: download it again."
    )
