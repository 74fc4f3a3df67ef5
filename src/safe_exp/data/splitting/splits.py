"""Splits: articles to train on, to choose the checkpoint by, and to be scored once at the end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from safe_exp.config import DataConfig, SplitMethod
from safe_exp.config.data import DateOrder
from safe_exp.data.reading.written_dates import choose_order, read_written
from safe_exp.data.splitting.as_given import count_leaks, drop_leaks, split_as_given
from safe_exp.data.splitting.by_date import split_by_date
from safe_exp.data.splitting.groups import count_members, join_groups, number_keys
from safe_exp.system.errors import UserError

# StratifiedGroupKFold takes 0.15 ms for each group: half a minute for 200,000 articles that name no publisher.
MAX_GROUPS = 20_000
NOT_DRAWN = (SplitMethod.date, SplitMethod.given)


@dataclass(frozen=True)
class SplitColumns:
    """The columns that decide a split, a row for each of N articles."""

    ids: Sequence[str]
    labels: np.ndarray  # (N,) 1 = fake, 0 = real
    groups: np.ndarray  # (N,) int64, near-duplicates share a number: see DuplicateGroups
    sources: Sequence[str | None]  # publishers
    dates: Sequence[str | None]  # ISO 8601, with or without a time of day
    sides: Sequence[str | None] | None = None  # train, val or test, as published; None: no article says
    dates_written: Sequence[str | None] | None = None  # dates as `written_date` has them; None: all are certain


@dataclass(frozen=True)
class Split:
    """Rows of the articles on each side, ascending, and counts of what was kept together."""

    train: np.ndarray  # (n_train,) int64
    val: np.ndarray  # (n_val,) int64
    test: np.ndarray  # (n_test,) int64
    unplaced: dict[str, np.ndarray]  # rows on no side, by reason; every other article stands on exactly one
    groups: int  # groups of near-duplicates, under split=source joined by publisher
    largest_group: int  # articles in it; publishers that share near-duplicates can grow into one that fills a side
    near_duplicates: int  # articles that share their group with another
    publishers: int
    shared_publishers: int  # publishers with articles on more than one side
    without_source: int  # articles that name no publisher
    leaks: dict[str, int] | None = None  # near-duplicates across given sides, before any were dropped: see count_leaks
    val_drawn: bool = False  # the sides are given, and val, which was not among them, is a part of train

    def sides(self) -> dict[str, np.ndarray]:
        """Rows (n,) int64 of each side by its name."""
        return {"train": self.train, "val": self.val, "test": self.test}


def make_split(columns: SplitColumns, config: DataConfig) -> Split:
    """Split the articles into train, val and test; `data.seed` alone decides what is drawn.

    Near-duplicates stand on one side; under split=source whole publishers do. The test side is fold `data.fold` of
    `data.folds`; without folds, one of round(1 / test_fraction) parts. Val is one part of what that leaves; its share
    of all articles comes as near as possible to val_fraction. Under split=date nothing is drawn: see `split_by_date`.
    Under split=given the sides are those that the articles name. Near-duplicates on two of them are counted, and with
    data.drop_leaks dropped. Only a val side that is not given is drawn: one of round(1 / val_fraction) parts of train.

    Raises:
        UserError: there are too few articles, publishers or dates, or a side lacks a class, so that AUROC would be
            undefined on it.
    """
    labels = np.asarray(columns.labels)
    publishers = number_publishers(columns.sources)
    groups = number_keys(np.asarray(columns.groups).tolist())
    if config.split is SplitMethod.source:
        if (publishers < 0).all():
            raise UserError(
                f"data.split=source: none of the {len(labels)} articles names a publisher ('source' in its file). "
                "Use data.split=random."
            )
        groups = _join_publishers(groups, publishers)
    unplaced: dict[str, np.ndarray] = {}
    leaks, val_drawn = None, False
    if config.split is SplitMethod.date:
        sides, unplaced = split_by_date(
            groups, _order_dates(columns, config.dates), config.val_fraction, config.test_fraction
        )
    elif config.split is SplitMethod.given:
        sides, unplaced = split_as_given(columns.sides or [None] * len(labels))
        val_drawn = not len(sides["val"]) and config.val_root is None
        leaks = count_leaks(sides, groups)
        if config.drop_leaks:
            sides, dropped = drop_leaks(sides, groups)
            unplaced |= dropped
        if val_drawn:
            sides = _draw_val(sides, labels, groups, config)
            leaks = leaks if config.drop_leaks else count_leaks(sides, groups)
    else:
        sides = _draw_sides(labels, groups, config)
    _check_sides(sides, labels, unplaced, config)
    standing = np.concatenate([np.unique(publishers[side]) for side in sides.values()])  # once for each side
    return Split(
        **sides,
        unplaced=unplaced,
        groups=len(np.unique(groups[np.concatenate(list(sides.values()))])),
        largest_group=int(np.bincount(groups).max()),
        near_duplicates=int((count_members(number_keys(np.asarray(columns.groups).tolist())) > 1).sum()),
        publishers=int(publishers.max(initial=-1)) + 1,
        shared_publishers=int((np.bincount(standing[standing >= 0]) > 1).sum()),
        without_source=int((publishers < 0).sum()),
        leaks=leaks,
        val_drawn=val_drawn,
    )


def _order_dates(columns: SplitColumns, order: DateOrder | None) -> Sequence[str | None]:
    """Read the dates of numbers alone in one order; one that is no date in that order stays as it is written."""
    written = columns.dates_written
    if written is None or not any(written):
        return columns.dates
    order = order or choose_order([date for date in written if date])
    return [
        known if date is None else str(read_written(date, order) or date)
        for known, date in zip(columns.dates, written, strict=True)
    ]


def number_publishers(sources: Sequence[str | None]) -> np.ndarray:
    """Number the publisher of each article, by first appearance; -1 where it names none. (N,) int64."""
    keys = [_source_key(source) for source in sources]
    named = np.array([key is not None for key in keys], dtype=bool)
    numbers = np.full(len(keys), -1, dtype=np.int64)
    numbers[named] = number_keys(key for key in keys if key is not None)
    return numbers


def _source_key(source: str | None) -> str | None:
    """Normalise a publisher's name or address; an address is the same with and without protocol and www."""
    key = re.sub(r"^(https?://)?(www\.)?", "", (source or "").strip().casefold()).rstrip("/")
    return key or None


def _join_publishers(groups: np.ndarray, publishers: np.ndarray) -> np.ndarray:
    """Join groups (N,) of articles that share a publisher; articles of no publisher (-1) keep their group."""
    named = np.flatnonzero(publishers >= 0)
    _, first, publisher = np.unique(publishers[named], return_index=True, return_inverse=True)
    return join_groups(groups, groups[named], groups[named[first]][publisher])


def _draw_sides(labels: np.ndarray, groups: np.ndarray, config: DataConfig) -> dict[str, np.ndarray]:
    """Draw the rows of train, val and test from N articles with these labels (N,) and groups (N,)."""
    folds = config.folds or round(1 / config.test_fraction)
    val_folds = max(2, round((1 - 1 / folds) / config.val_fraction))
    rows = np.arange(len(labels))
    test_parts = _deal(rows, labels, groups, folds, config, "data.folds" if config.folds else "data.test_fraction")
    test = test_parts[config.fold] if config.folds else _pick_part_with_both_classes(test_parts, labels)
    rest = np.setdiff1d(rows, test)
    val = _pick_part_with_both_classes(_deal(rest, labels, groups, val_folds, config, "data.val_fraction"), labels)
    return {"train": np.setdiff1d(rest, val), "val": val, "test": test}


def _draw_val(
    sides: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, config: DataConfig
) -> dict[str, np.ndarray]:
    """Draw val from the rows of train; test stays as it is."""
    val_folds = max(2, round(1 / config.val_fraction))
    parts = _deal(sides["train"], labels, groups, val_folds, config, "data.val_fraction")
    val = _pick_part_with_both_classes(parts, labels)
    return {"train": np.setdiff1d(sides["train"], val), "val": val, "test": sides["test"]}


def _deal(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, config: DataConfig, key: str
) -> list[np.ndarray]:
    """Deal `rows` (n,) into `folds` parts that keep groups whole and, as far as these allow, the share of fakes."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes most of a second to import

    _check_enough(rows, labels, groups, folds, config, key)
    groups, labels = groups[rows], labels[rows]
    if config.split is SplitMethod.source:
        dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=config.seed)
        bundles = _bundle_lone_articles(groups, labels, config.seed)
        return [rows[part] for _, part in dealer.split(rows, labels, bundles)]
    # Groups are small. One row of each is dealt, with the label of most of its articles; the others follow it.
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)  # (G,), (n,)
    fakes = np.bincount(member, weights=labels)
    majority = (2 * fakes >= np.bincount(member)).astype(int)  # (G,)
    order = np.argsort(first)  # in the order of the ids
    dealer = StratifiedKFold(folds, shuffle=True, random_state=config.seed)
    part_of = np.empty(len(first), dtype=np.int64)
    for number, (_, part) in enumerate(dealer.split(order, majority[order])):
        part_of[order[part]] = number
    return [rows[part_of[member] == number] for number in range(folds)]


def _bundle_lone_articles(groups: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Bundle articles that are alone in their group, by class, where StratifiedGroupKFold gets too many groups."""
    if len(np.unique(groups)) <= MAX_GROUPS:
        return groups
    alone = np.random.RandomState(seed).permutation(np.flatnonzero(count_members(groups) == 1))
    handful = -(-len(alone) // MAX_GROUPS)  # articles in a bundle
    bundles = groups.copy()
    for label in (0, 1):
        rows = alone[labels[alone] == label]
        bundles[rows] = groups[rows[np.arange(len(rows)) // handful * handful]]  # the number of its first article
    return bundles


def _check_enough(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, config: DataConfig, key: str
) -> None:
    """Refuse to deal articles into more parts than there are groups of a class.

    Raises:
        UserError: there are too few; the message gives both numbers and `key`, the setting that asks for the parts.
    """
    by_source = config.split is SplitMethod.source
    unit = "publishers" if by_source else "articles, copies counted once,"
    linked = " Publishers that share near-duplicates count as one." if by_source else ""
    for label, name in ((1, "fake"), (0, "real")):
        count = len(np.unique(groups[rows[labels[rows] == label]]))
        if count < folds:
            raise UserError(
                f"{key}: {folds} parts with both classes in each need at least {folds} {unit} with {name} news; "
                f"there are {count}.{linked} {_advice(config)}"
            )


def _pick_part_with_both_classes(parts: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    # Large publishers can leave a part with one class; another part is as random.
    return next((part for part in parts if len(np.unique(labels[part])) == 2), parts[0])


def _check_sides(
    sides: dict[str, np.ndarray], labels: np.ndarray, unplaced: dict[str, np.ndarray], config: DataConfig
) -> None:
    """Refuse sides that lack a class.

    Raises:
        UserError: one does; the message gives the counts, and under split=given those of the articles on no side.
    """
    drawn = "" if config.split in NOT_DRAWN else f", data.seed={config.seed}, data.fold={config.fold}"
    left = "; ".join(f"{len(rows)} × {reason}" for reason, rows in unplaced.items())
    on_no_side = f" On no side: {left}." if left and config.split is SplitMethod.given else ""
    for name, rows in sides.items():
        fake, real = int((labels[rows] == 1).sum()), int((labels[rows] == 0).sum())
        if not (fake and real):
            raise UserError(
                f"data.split={config.split.value}{drawn}: the {name} split has {fake} fake and {real} real articles; "
                f"each split needs both.{on_no_side} {_advice(config)}"
            )


def _advice(config: DataConfig) -> str:
    if config.split is SplitMethod.given:
        return (
            "Given sides are taken as they are. Where no val side is given it is drawn from train, by "
            "data.val_fraction; data.split=random draws all sides; or give more articles."
        )
    fewer = "fewer data.folds" if config.folds else "a larger data.test_fraction or data.val_fraction"
    seed = "" if config.split in NOT_DRAWN else ", another data.seed"
    other = "" if config.split is SplitMethod.random else ", data.split=random"
    return f"Use {fewer}{seed}{other}, or more articles."
