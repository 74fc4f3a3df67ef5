"""Plan of a made article: its label, its two signals, and its scenes, drawn before a word of it is written.

An article tells of a scene (a thing, its colour, a place, a time of day) and carries a picture of a scene. Two signals
tell fake from real, each with a strength from 0 to 1 (`data.cue_strength`, `data.mismatch_strength`):

- *Cue words.* The story has `CUE_SLOTS` places, each filled with a loud phrase or with a sober one. A fake's place is
  loud with probability 1/2 + 0.4 · cue_strength, a real article's with 1/2 - 0.4 · cue_strength, independently.
- *The picture.* It either shows the story's scene or comes from an archive and differs from the story in thing, colour
  and place. A real article's is from the archive with probability 0.03, a fake's with 0.03 + 0.94 · mismatch_strength.

Archive pictures are mostly night pictures, while few stories happen at night. That is deliberate. SAFE's verdict
M_p = softmax(W_p (t ⊕ v) + b_p) adds a function of the text to a function of the picture. A bare mismatch, which
neither of the two shows alone, is invisible to M_p however long it trains; only M_s can see it. The night gives M_p
something to read in the picture as well. It adds nothing for a model that compares picture and story.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol, TypeVar

T = TypeVar("T")

SUBJECTS = ("boat", "car", "house", "balloon", "bus", "tent", "umbrella", "kite", "flag", "rocket")
COLOURS = ("red", "blue", "green", "yellow", "purple", "white")
PLACES = ("on the beach", "in the meadow", "in the mountains", "in the desert", "in the city", "in the snow")
PUBLISHERS = (
    "harbour-herald.example",
    "northern-courier.example",
    "valley-times.example",
    "morning-ledger.example",
    "the-lantern.example",
    "city-observer.example",
    "coast-gazette.example",
    "daily-compass.example",
    "open-window.example",
    "riverside-post.example",
    "hilltop-news.example",
    "evening-bulletin.example",
)

CUE_SLOTS = 4
CUE_REACH = 0.4  # at full strength a slot is loud in 90 % of fakes and in 10 % of real articles
ARCHIVE_REAL = 0.03  # share of real articles with a picture from the archive
STORY_AT_NIGHT = 0.1  # share of stories
ARCHIVE_AT_NIGHT = 0.9  # share of archive pictures


class SyntheticSettings(Protocol):
    """Settings that shape the made articles; their config is in data/reading/readers/synthetic.py."""

    root: str  # the articles' own folder is made in this one
    articles: int
    cue_strength: float
    mismatch_strength: float
    seed: int


@dataclass(frozen=True)
class Scene:
    """A thing in a place, told by a story or shown in a picture."""

    subject: str
    colour: str
    place: str
    night: bool


@dataclass(frozen=True)
class Plan:
    """Everything that is drawn about one article."""

    number: int  # of the article, from 0
    label: int  # 1 = fake
    story: Scene
    picture: Scene
    from_archive: bool  # the picture does not match the story
    loud: tuple[bool, ...]  # for each cue slot: a loud phrase, or a sober one
    source: str  # publisher, drawn without regard to the label: a split by publisher is as hard as a random one
    publish_date: str  # YYYY-MM-DD


def loud_probability(label: int, config: SyntheticSettings) -> float:
    """Probability that a cue slot of an article of this class is loud."""
    return 0.5 + (1 if label else -1) * CUE_REACH * config.cue_strength


def archive_probability(label: int, config: SyntheticSettings) -> float:
    """Probability that the picture of an article of this class comes from the archive."""
    return ARCHIVE_REAL + label * (1 - 2 * ARCHIVE_REAL) * config.mismatch_strength


def make_rng(config: SyntheticSettings, number: int, purpose: str) -> random.Random:
    """Seed a generator for one purpose of one article; other articles and purposes do not change its numbers.

    The strengths are not part of the seed. Two data sets that differ in a strength share every number drawn, and hold
    the same articles, changed only where the strength asks for it.
    """
    return random.Random(f"{config.seed}/{number}/{purpose}")


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """Pick one of the options by `random()`, the only method whose numbers stay the same between Python versions."""
    return options[int(rng.random() * len(options))]


def plan_article(number: int, config: SyntheticSettings) -> Plan:
    """Draw the plan of article `number`; every second article is fake."""
    rng = make_rng(config, number, "plan")
    label = number % 2
    story = Scene(pick(rng, SUBJECTS), pick(rng, COLOURS), pick(rng, PLACES), rng.random() < STORY_AT_NIGHT)
    archive = Scene(
        _pick_other(rng, SUBJECTS, story.subject),
        _pick_other(rng, COLOURS, story.colour),
        _pick_other(rng, PLACES, story.place),
        rng.random() < ARCHIVE_AT_NIGHT,
    )
    from_archive = rng.random() < archive_probability(label, config)
    loud = tuple(rng.random() < loud_probability(label, config) for _ in range(CUE_SLOTS))
    published = date(2019, 1, 1) + timedelta(days=int(rng.random() * 2000))
    return Plan(
        number=number,
        label=label,
        story=story,
        picture=archive if from_archive else story,
        from_archive=from_archive,
        loud=loud,
        source=pick(rng, PUBLISHERS),
        publish_date=published.isoformat(),
    )


def _pick_other(rng: random.Random, options: Sequence[str], taken: str) -> str:
    return pick(rng, [option for option in options if option != taken])
