"""Near-duplicates: articles that are copies or near-copies of one another, by their words or by their picture.

Texts: MinHash (Broder 1997) over shingles of words, by datasketch. Banding finds the candidates; the estimated Jaccard
similarity of the two sets of shingles decides. An excerpt of a much longer text has a small Jaccard similarity with it
and is not found. Pictures: the same file, or perceptual hashes a few bits apart, unless many stories have the picture.

No step compares all pairs of a large set: 200,000 articles take about 20 seconds and 0.3 GB.
"""

import hashlib
import logging
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise

import numpy as np

from safe_exp.data.splitting.groups import count_members, join_groups, number_keys

log = logging.getLogger(__name__)

# Three words in a row are seldom written twice by chance, and one changed word spoils only three of them: a story in
# which one word in ten was changed keeps a similarity of about 0.54.
SHINGLE_WORDS = 3
# On three real collections (1,374 articles) no two unrelated articles come above 0.41, while edited agency stories,
# pages of one template and error pages begin at 0.51.
MIN_SIMILARITY = 0.5
# The estimate's standard deviation is sqrt(J (1 - J) / 128), 0.044 at J = 0.5; 512 bytes for each article.
PERMUTATIONS = 128
# A pair of similarity J agrees in some band of 4 with probability 1 - (1 - J^4)^32: 0.003 at 0.1, 0.87 at 0.5, 0.99 at
# 0.6. Candidates are checked, so a needless pair costs less than a missed one.
BAND_ROWS = 4
# About 8,000 words, 5 ms: a body of 10 MB is a dump, not an article. text_key reads a body in full.
MAX_CHARACTERS = 50_000
# In a larger bucket each member is compared with so many neighbours; sorting has brought similar ones together.
MAX_NEIGHBOURS = 64
# Re-encoding and scaling move a perceptual hash of 64 bits by 0 to 4; different pictures begin at about 8.
PERCEPTUAL_BITS = 4
# A picture under more stories than this is a stock picture or a logo, and ties none of them.
MAX_STORIES = 4
KEY_BYTES = 16  # of a text's SHA-256, kept to find its copies in other data sets
CHUNK_PAIRS = 1 << 16  # pairs compared at a time: 64 MB
SIGNATURE_RECIPE = f"datasketch affine32, crc32, {SHINGLE_WORDS} words, {PERMUTATIONS} permutations, {MAX_CHARACTERS}"

# Chinese and Japanese write no spaces, so each of their characters counts as a word.
WORD = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True)
class DuplicateGroups:
    """Groups of near-duplicates, and the number of articles grouped for each reason; an article may have several."""

    group: np.ndarray  # (N,) int64, numbered by first appearance
    story: np.ndarray  # (N,) int64: the groups of near-duplicate texts, before pictures tie them
    exact_copies: int  # articles with the same text as another
    near_texts: int  # articles with nearly the text of another, but not the same
    identical_images: int  # articles tied to another story by the same picture
    near_images: int  # articles tied to another story by nearly the same picture, and by no identical one


def text_key(title_and_text: str) -> str:
    """SHA-256 of a text's words, without case, punctuation and runs of white space: equal for copies of a text.

    A text of punctuation alone keeps its characters, since all such texts would count as copies otherwise.
    """
    folded = title_and_text.casefold()
    words = " ".join(re.sub(r"[\W_]+", " ", folded).split())
    return hashlib.sha256((words or f"!{folded}").encode()).hexdigest()


def minhash_signature(title_and_text: str) -> np.ndarray:
    """MinHash signature of a text, (PERMUTATIONS,) uint32, the same on every machine.

    The share of equal numbers in two signatures estimates the Jaccard similarity of the texts' sets of shingles. A text
    with fewer words than a shingle is one shingle, and a text without words is its characters: such texts are similar
    only if they are the same. Takes about 0.3 ms for 500 words.
    """
    from datasketch import MinHash  # takes time to import, and scipy's optimisers with it

    # crc32 suffices, since datasketch mixes its bits again; a cryptographic hash would take most of the time.
    minhash = MinHash(PERMUTATIONS, hashfunc=zlib.crc32, permutations=_permutations(), scheme="affine32")
    minhash.update_batch(_shingles(title_and_text))
    return minhash.hashvalues


def near_duplicate_groups(
    text_keys: Sequence[str],
    signatures: np.ndarray,
    image_hashes: Sequence[str],
    perceptual_hashes: np.ndarray,
    articles: np.ndarray,
) -> DuplicateGroups:
    """Group N articles that are tied by their text, or by a picture that few stories share; ties chain.

    An article may have several pictures, each of which may tie it.

    Args:
        text_keys: the `text_key` of each article.
        signatures: the `minhash_signature` of each, (N, PERMUTATIONS) uint32, in memory or mapped from a file.
        image_hashes: hash of each of M pictures' content.
        perceptual_hashes: of the pictures, (M,) uint64.
        articles: row of each picture's article, (M,) int64.
    """
    if len(text_keys) >= CHUNK_PAIRS:
        log.info("Looking for near-duplicates among %s articles.", f"{len(text_keys):,}")
    texts = number_keys(text_keys)  # (N,)
    _, first = np.unique(texts, return_index=True)  # (T,) one article for each text
    stories = _alike_texts(np.asarray(signatures), first)[texts]  # (N,)
    texts_of_story = np.bincount(stories[first])

    values, value = np.unique(np.asarray(perceptual_hashes, dtype=np.uint64), return_inverse=True)
    same_links, same = _ties(number_keys(image_hashes), articles, stories)
    # Where a chain of neighbours has grown too long to say anything, equal perceptual hashes still may.
    equal_links, equal = _ties(value, articles, stories)
    close_links, close = _ties(close_hashes(values)[value], articles, stories)

    left, right = np.concatenate([same_links, equal_links, close_links], axis=1)
    return DuplicateGroups(
        group=join_groups(stories, left, right),
        story=stories,
        exact_copies=int((count_members(texts) > 1).sum()),
        near_texts=int((texts_of_story[stories] > 1).sum()),
        identical_images=int(same.sum()),
        near_images=int(((equal | close) & ~same).sum()),
    )


def compact_signatures(text_keys: Sequence[str], signatures: np.ndarray) -> np.ndarray:
    """Shorten text keys and signatures to KEY_BYTES + PERMUTATIONS bytes an article, (N, 144) uint8, for `find_copies`.

    The low byte of a MinHash value keeps most of what it says (b-bit minwise hashing, Li & König 2010): two unequal
    values agree in it once in 256 times.
    """
    keys = np.array([list(bytes.fromhex(key[: 2 * KEY_BYTES])) for key in text_keys], dtype=np.uint8)
    return np.concatenate([keys.reshape(-1, KEY_BYTES), (np.asarray(signatures) & 0xFF).astype(np.uint8)], axis=1)


def find_copies(texts: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Find the texts that are copies or near-copies of a known text: (n,) bool.

    Args:
        texts: (n, 144) uint8, see `compact_signatures`.
        known: (m, 144) uint8.
    """
    keys, known_keys = (
        np.ascontiguousarray(part[:, :KEY_BYTES]).view(f"V{KEY_BYTES}")[:, 0] for part in (texts, known)
    )
    found = np.isin(keys, known_keys)
    texts, known = texts[:, KEY_BYTES:], known[:, KEY_BYTES:]
    for start in range(0, PERMUTATIONS, BAND_ROWS):
        left = np.flatnonzero(~found)
        band, known_band = (
            np.ascontiguousarray(part[:, start : start + BAND_ROWS]).view(f"u{BAND_ROWS}")[:, 0]
            for part in (texts[left], known)
        )
        order = np.argsort(known_band, kind="stable")
        first, last = (np.searchsorted(known_band, band, side, sorter=order) for side in ("left", "right"))
        for step in range(MAX_NEIGHBOURS):
            at = np.flatnonzero(first + step < last)
            if not len(at):
                break
            for chunk in np.array_split(at, len(at) // CHUNK_PAIRS + 1):
                equal = np.count_nonzero(texts[left[chunk]] == known[order[first[chunk] + step]], axis=1)
                found[left[chunk[equal >= MIN_SIMILARITY * PERMUTATIONS]]] = True
    return found


@cache
def _permutations() -> np.ndarray:
    from datasketch import MinHash

    return MinHash(PERMUTATIONS, seed=1, scheme="affine32").permutations  # drawing them takes as long as using them


def _shingles(text: str) -> list[bytes]:
    folded = text[:MAX_CHARACTERS].casefold()
    words = WORD.findall(folded)
    if len(words) < SHINGLE_WORDS:
        return [(" ".join(words) or f"!{folded}").encode()]
    return [" ".join(shingle).encode() for shingle in zip(*(words[k:] for k in range(SHINGLE_WORDS)), strict=False)]


def _alike_texts(signatures: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Group the T texts signatures[rows] by an estimated similarity of at least MIN_SIMILARITY: (T,) int64."""
    groups = np.arange(len(rows))
    for start in range(0, PERMUTATIONS, BAND_ROWS):
        band = signatures[rows, start : start + BAND_ROWS].astype(np.uint64)  # (T, BAND_ROWS)
        bucket = np.zeros(len(rows), dtype=np.uint64)
        for column in band.T:
            bucket = (bucket ^ column) * np.uint64(0x9E3779B97F4A7C15)  # wraps; a clash of buckets costs one more check
        closer = signatures[rows, (start + BAND_ROWS) % PERMUTATIONS]
        for left, right in _pairs(bucket, np.lexsort((closer, bucket)), MAX_NEIGHBOURS):
            apart = groups[left] != groups[right]
            left, right = left[apart], right[apart]
            alike = _are_similar(signatures, rows[left], rows[right])
            if alike.any():
                groups = join_groups(groups, groups[left[alike]], groups[right[alike]])
    return groups


def _pairs(keys: np.ndarray, order: np.ndarray, window: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs (K,), (K,) of positions with equal keys: neighbours in `order`, then two apart, … up to `window`."""
    ordered = keys[order]
    at = np.arange(len(keys))
    for step in range(1, window + 1):
        at = at[at + step < len(keys)]
        at = at[ordered[at] == ordered[at + step]]
        if not len(at):
            return
        yield order[at], order[at + step]


def _are_similar(signatures: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Compare K pairs of signatures: True where the estimated similarity is at least MIN_SIMILARITY, (K,) bool."""
    least = MIN_SIMILARITY * PERMUTATIONS
    chunks = [slice(k, k + CHUNK_PAIRS) for k in range(0, len(left), CHUNK_PAIRS)]
    parts = [np.count_nonzero(signatures[left[chunk]] == signatures[right[chunk]], axis=1) >= least for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def close_hashes(values: np.ndarray) -> np.ndarray:
    """Group U different 64-bit hashes that lie within PERCEPTUAL_BITS of one another: (U,) int64.

    Cut into PERCEPTUAL_BITS + 2 pieces, two such hashes agree in at least two pieces. Only hashes that do are compared.
    """
    groups = np.arange(len(values))
    edges = np.linspace(0, 64, PERCEPTUAL_BITS + 3).astype(int)
    masks = [np.uint64(((1 << int(b)) - 1) ^ ((1 << int(a)) - 1)) for a, b in pairwise(edges)]
    for first, second in combinations(masks, 2):
        bucket = values & (first | second)
        for left, right in _pairs(bucket, np.argsort(bucket, kind="stable"), MAX_NEIGHBOURS):
            close = np.bitwise_count(values[left] ^ values[right]) <= PERCEPTUAL_BITS
            if close.any():
                groups = join_groups(groups, groups[left[close]], groups[right[close]])
    return groups


def _ties(pictures: np.ndarray, articles: np.ndarray, stories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the stories that a picture ties: at most MAX_STORIES of them have it.

    Args:
        pictures: (M,) int64, numbers of M pictures, equal for the same picture.
        articles: (M,) int64, row of each picture's article.
        stories: (N,) int64, number of each article's story.
    Returns:
        Pairs of tied stories (2, K) int64; and (N,) bool, true for articles with a picture that ties.
    """
    under = np.unique(np.stack([pictures, stories[articles]]), axis=1)  # (2, C) by picture, then story
    count = np.bincount(under[0])  # stories under each picture
    rare = (count > 1) & (count <= MAX_STORIES)
    picture, story = under[:, rare[under[0]]]
    neighbours = picture[1:] == picture[:-1]
    tied = np.zeros(len(stories), dtype=bool)
    tied[articles[rare[pictures]]] = True
    return np.stack([story[:-1][neighbours], story[1:][neighbours]]), tied
