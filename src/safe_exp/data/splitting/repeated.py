"""Pictures and openings of texts that repeat over many stories, such as site logos and "log in to continue".

Each step is linear in the number of articles, apart from sorting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, TypedDict

import numpy as np
from scipy.special import bdtr, bdtrc, gammaln, xlog1py, xlogy

from safe_exp.data.splitting.duplicates import PERCEPTUAL_BITS, close_hashes
from safe_exp.data.splitting.groups import number_keys

MIN_STORIES = 3
# On five real collections (14,300 articles) the openings of six words that repeat are mostly of the site, such as
# its buttons and notices. Four words find figures of speech, and eight miss half of what six find.
OPENING_WORDS = 6
OPENING_CHARACTERS = 1000  # as many are looked through for these words
# Such repeats are said to follow the class if chance gives as much in this share of data sets. Two tests have it each.
CHANCE = 0.002
EXAMPLES = 5
MAX_ROUNDS = 100  # a chain of nearly the same pictures is cut into at most so many pictures

# In scripts that write no spaces a character is half a word (Han, kana) or a quarter (Thai, Lao, Burmese, Khmer).
HALF, QUARTER = "\u3040-\u30ff\u3400-\u9fff", "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
OPENING_WORD = re.compile(rf"[{HALF}]{{1,2}}|[{QUARTER}]{{1,4}}|[^\W_{HALF}{QUARTER}]+")


class Carried(NamedTuple):
    """Pictures or openings and the articles that carry them, as C pairs; an article may carry several."""

    article: np.ndarray  # (C,) int64, row of the article
    item: np.ndarray  # (C,) int64, number of the picture or opening, from 0

    def among(self, rows: np.ndarray) -> Carried:
        """Keep the pairs whose article is in `rows` (n,) int64."""
        kept = np.isin(self.article, rows)
        return Carried(self.article[kept], self.item[kept])


class RepeatedItem(TypedDict):
    """A picture, an opening or a text that repeats, as plain values."""

    articles: int
    stories: int  # copies of a text are one story
    fake: int  # how many of the articles
    words: str  # of the opening, or with which the text begins; empty for a picture
    examples: list[str]  # ids of the first articles


@dataclass(frozen=True)
class Repeats:
    """Pictures and openings that repeat in a data set: the articles that carry them, and each item in plain values."""

    pictures: Carried
    openings: Carried
    items: dict[str, list[RepeatedItem]]  # "pictures" and "openings" by their numbers; "texts" are copies of one story

    def carried(self, reads: Sequence[str]) -> tuple[Carried, list[str]]:
        """Put together what a model of these modalities sees; the second is a sentence about each item."""
        kinds = {"visual": "pictures", "text": "openings"}
        seen = [kind for modality, kind in kinds.items() if modality in reads]
        return (
            merge_carried(getattr(self, kind) for kind in seen),
            [describe_item(kind, item, examples=2) for kind in seen for item in self.items[kind]],
        )


@dataclass(frozen=True)
class ClassGiveaway:
    """Items that follow the class more than chance allows."""

    items: list[int]  # the clearest first: those that do by themselves; if none does, those that lean most
    articles: int  # that carry an item, copies counted once
    accuracy: float  # on these, of a classifier that sees only the item, and the other articles that carry it
    commoner: float  # share of the commoner class among all articles


def opening(text: str) -> str:
    """Cut out the first OPENING_WORDS words of a text, without case and punctuation; all of a shorter one."""
    words = []
    for found in OPENING_WORD.finditer(text[:OPENING_CHARACTERS].casefold()):
        words.append(found[0])
        if len(words) == OPENING_WORDS:
            break
    return " ".join(words)


def number_openings(openings: Sequence[str]) -> Carried:
    """Number the different openings of N articles; an empty one is none."""
    rows = np.flatnonzero(np.array([bool(words) for words in openings], dtype=bool))
    return Carried(rows, number_keys(openings[row] for row in rows.tolist()))


def number_pictures(perceptual_hashes: Sequence[Sequence[int]]) -> Carried:
    """Number the different pictures of N articles, each with the perceptual hashes of its pictures.

    Hashes within PERCEPTUAL_BITS of the commonest of their neighbourhood are one picture. (Chained neighbours would
    be too many things in one: of 200,000 pictures many are close to another one by chance.)
    """
    lengths = np.array([len(hashes) for hashes in perceptual_hashes], dtype=np.int64)
    flat = np.fromiter(chain.from_iterable(perceptual_hashes), dtype=np.uint64, count=int(lengths.sum()))
    values, value, count = np.unique(flat, return_inverse=True, return_counts=True)
    chains, number = close_hashes(values), np.full(len(values), -1, dtype=np.int64)
    free = np.lexsort((-count, chains))  # the commonest of each chain first
    for _ in range(MAX_ROUNDS):
        if not len(free):
            break
        _, first, member = np.unique(chains[free], return_index=True, return_inverse=True)
        centre = free[first[member]]
        near = np.bitwise_count(values[free] ^ values[centre]) <= PERCEPTUAL_BITS
        number[free[near]] = centre[near]
        free = free[~near]
    number[free] = free
    pairs = np.unique(np.stack([np.repeat(np.arange(len(lengths)), lengths), number[value]]), axis=1)
    return Carried(pairs[0], pairs[1])


def keep_repeated(carried: Carried, stories: np.ndarray) -> Carried:
    """Keep the items that MIN_STORIES different stories carry, numbered anew: the most stories first.

    Args:
        stories: (N,) int64, number of each article's story; copies of a text share one.
    """
    under = np.unique(np.stack([carried.item, stories[carried.article]]), axis=1)
    return _keep_common(carried, np.bincount(under[0]))


def _keep_common(carried: Carried, count: np.ndarray) -> Carried:
    """Keep the items with a count (I,) int64 of MIN_STORIES or more, numbered by it, the largest first."""
    order = np.argsort(-count, kind="stable")[: int((count >= MIN_STORIES).sum())]
    number = np.full(len(count), -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    kept = number[carried.item] >= 0
    return Carried(carried.article[kept], number[carried.item[kept]])


def find_repeats(
    ids: Sequence[str],
    labels: np.ndarray,
    stories: np.ndarray,
    openings: Sequence[str],
    perceptual_hashes: Sequence[Sequence[int]],
) -> Repeats:
    """Find the pictures and openings that repeat over MIN_STORIES stories or more, among N articles.

    Args:
        labels: (N,) 1 = fake.
        stories: (N,) int64, copies of a text share a number: see DuplicateGroups.
        openings: the `opening` of each article.
        perceptual_hashes: of the pictures of each article that the network reads; others tell it nothing.
    """
    pictures = keep_repeated(number_pictures(perceptual_hashes), stories)
    begun = keep_repeated(number_openings(openings), stories)
    texts = _keep_common(Carried(np.arange(len(ids)), stories), np.bincount(stories))
    named = {"pictures": (pictures, None), "openings": (begun, openings), "texts": (texts, openings)}
    return Repeats(pictures, begun, {kind: _list_items(*found, ids, labels, stories) for kind, found in named.items()})


def _list_items(
    carried: Carried, words: Sequence[str] | None, ids: Sequence[str], labels: np.ndarray, stories: np.ndarray
) -> list[RepeatedItem]:
    order = np.lexsort((carried.article, carried.item))
    starts = np.flatnonzero(np.diff(carried.item[order], prepend=-1))
    return [
        RepeatedItem(
            articles=len(rows),
            stories=len(np.unique(stories[rows])),
            fake=int(labels[rows].sum()),
            words="" if words is None else words[rows[0]],
            examples=[ids[row] for row in rows[:EXAMPLES]],
        )
        for rows in np.split(carried.article[order], starts[1:])
        if len(rows)
    ]


def describe_item(kind: str, item: RepeatedItem, examples: int = EXAMPLES) -> str:
    """Describe an item of `Repeats.items` in one clause: articles, class balance, examples."""
    fake, articles = item["fake"], item["articles"]
    balance = "all fake" if fake == articles else "all real" if not fake else f"{fake} of them fake"
    copies = "" if item["stories"] in (1, articles) else f" of {item['stories']} stories"
    named = ", ".join(item["examples"][:examples]) + ", …" * (articles > examples)
    what = {
        "pictures": "one picture stands under",
        "openings": f"the opening '{item['words']}' begins",
        "texts": f"one text, '{item['words']} …', or nearly the same, makes up",
    }[kind]
    return f"{what} {articles} articles{copies}, {balance}: {named}"


def merge_carried(parts: Iterable[Carried]) -> Carried:
    """Put items of several kinds together: those of the second are numbered after those of the first, and so on."""
    rows, items, start = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for part in parts:
        rows.append(part.article)
        items.append(part.item + start)
        start += int(part.item.max(initial=-1)) + 1
    return Carried(np.concatenate(rows), np.concatenate(items))


def find_giveaway(
    carried: Carried, labels: np.ndarray, groups: np.ndarray, rows: np.ndarray | None = None
) -> ClassGiveaway | None:
    """Tell if items follow the class: more than chance explains, if labels were dealt without regard to them.

    Two tests are exact, each at the level CHANCE. One takes the items one by one (binomial, two-sided), the other all
    together: the number of articles with the commoner class of their item. A group of near-duplicates counts once. It
    stands on one side of every split, so that an item in a single group tells a model nothing about others.

    Args:
        labels: (N,) 1 = fake, 0 = real.
        groups: (N,) int64, near-duplicates share a number.
        rows: (n,) int64, the articles that count; None: all.
    """
    rows = np.arange(len(labels)) if rows is None else rows
    carried = carried.among(rows)
    _, first = np.unique(groups[rows], return_index=True)
    fake_share = float(labels[rows[first]].mean()) if len(first) else 0.0
    item, fake = _units(carried, labels, groups)
    members, fakes = np.bincount(item), np.bincount(item, weights=fake).astype(np.int64)  # (I,)
    several = members > 1
    if not several.any() or not 0 < fake_share < 1:
        return None
    by_chance = np.ones(len(members))
    low, high = bdtr(fakes, members, fake_share), bdtrc(fakes - 1, members, fake_share)  # at most, and at least so many
    by_chance[several] = np.minimum(1, 2 * np.minimum(low, high))[several]
    clear = by_chance <= CHANCE / _count_tests(members[several], fake_share)
    item, fake = _units(carried, labels, groups, once=True)
    members, fakes = np.bincount(item, minlength=len(members)), np.bincount(item, fake, len(members)).astype(np.int64)
    several = members > 1
    if not clear.any() and _chance_of_commoner(members[several], fakes[several], fake_share) > CHANCE:
        return None
    order = np.argsort(by_chance, kind="stable")
    counted = several[item]
    others = 2 * (fakes[item] - fake) - (members[item] - 1)  # fakes minus real ones, among the item's other articles
    answer = np.where(others == 0, fake_share > 0.5, others > 0)
    return ClassGiveaway(
        items=[int(n) for n in order if clear[n]] or [int(n) for n in order[:MIN_STORIES]],
        articles=int(counted.sum()),
        accuracy=float((answer == fake)[counted].mean()) if counted.any() else 1.0,
        commoner=max(fake_share, 1 - fake_share),
    )


def _units(
    carried: Carried, labels: np.ndarray, groups: np.ndarray, once: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """List item (U,) int64 and label (U,) int64 of each pair of an item and a group that carries it.

    Args:
        once: each group with one of its items alone, the commonest, since two items on the same articles (the logo and
            the opening of one site) are no two observations.
    """
    group = groups[carried.article]
    _, first = np.unique(np.stack([carried.item, group]), axis=1, return_index=True)
    item, group, label = carried.item[first], group[first], labels[carried.article[first]].astype(np.int64)
    if once:
        order = np.lexsort((item, -np.bincount(item)[item] if len(item) else item))
        _, chosen = np.unique(group[order], return_index=True)
        item, label = item[order[chosen]], label[order[chosen]]
    return item, label


def _count_tests(members: np.ndarray, fake_share: float) -> int:
    """Count the tests by which the level is to be divided, of items with `members` (I,) int64 articles (Tarone 1990).

    An item of few articles can never reach the level, whatever their classes, and so raises no false alarm.
    """
    least = np.sort(2 * np.minimum(fake_share**members, (1 - fake_share) ** members))  # smallest p-value of each item
    tests = np.arange(1, len(members) + 1)
    enough = np.searchsorted(least, CHANCE / tests, side="right") <= tests
    return int(tests[enough][0])


def _chance_of_commoner(members: np.ndarray, fakes: np.ndarray, fake_share: float) -> float:
    """Compute the chance that as many of the articles, or more, have the commoner class of their item.

    The numbers of I items are independent, so their sum's distribution is the product of their Fourier transforms.

    Args:
        members, fakes: (I,) int64, articles of each item, and the fakes among them.
        fake_share: chance of each to be fake.
    """
    least = (members + 1) // 2
    found = int((np.maximum(fakes, members - fakes) - least).sum())
    size = int((members - least).sum()) + 1
    transform = np.ones(size // 2 + 1, dtype=complex)
    for count, times in zip(*np.unique(members, return_counts=True), strict=True):
        fake = np.arange(count + 1)
        above = np.maximum(fake, count - fake) - (count + 1) // 2
        transform *= np.fft.rfft(np.bincount(above, _chances(count, fake_share)), size) ** times
    return float(np.fft.irfft(transform, size)[found:].sum())


def _chances(count: int, fake_share: float) -> np.ndarray:
    """Compute the chance of 0, 1, …, `count` fakes among `count` articles, (count + 1,).

    So does scipy.stats, which takes half a second to import.
    """
    fake = np.arange(count + 1)
    orders = gammaln(count + 1) - gammaln(fake + 1) - gammaln(count - fake + 1)
    return np.exp(orders + xlogy(fake, fake_share) + xlog1py(count - fake, -fake_share))
