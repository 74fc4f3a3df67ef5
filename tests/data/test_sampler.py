from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_exp.data.sampler import ArticleOrder, GlobalBatches
from safe_exp.system.errors import UserError


def batches(count, batch_size, rank=0, world_size=1, seed=0, epoch=0):
    order = ArticleOrder(np.arange(100, 100 + count), seed)
    order.set_epoch(epoch)
    return list(GlobalBatches(order, batch_size, rank, world_size))


def test_the_order_depends_on_seed_and_epoch_alone():
    assert batches(50, 8, seed=3, epoch=4) == batches(50, 8, seed=3, epoch=4)
    assert batches(50, 8, seed=3, epoch=4) != batches(50, 8, seed=3, epoch=5)
    assert batches(50, 8, seed=3, epoch=4) != batches(50, 8, seed=4, epoch=4)
    sampler = ArticleOrder(np.arange(50), seed=1)
    first = list(sampler)
    sampler.set_epoch(9)
    list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first  # no state is carried from epoch to epoch


def test_without_a_seed_the_rows_keep_their_order():
    assert batches(6, 2, seed=None, epoch=7) == [[100, 101], [102, 103], [104, 105]]


@given(st.integers(1, 80), st.integers(1, 20), st.integers(1, 6))
def test_processes_share_each_batch_and_nothing_is_repeated_or_dropped(count, batch_size, world_size):
    if min(count, batch_size) < world_size:
        return
    shares = [batches(count, batch_size, rank, world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    for parts in zip(*shares, strict=True):
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
    seen = [row for share in shares for batch in share for row in batch]
    assert sorted(seen) == list(range(100, 100 + count))


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 8))
def test_up_to_eight_processes_see_the_batches_of_one(count, batch_size, world_size):
    if min(count, batch_size) < world_size:
        return
    alone = batches(count, batch_size)
    shares = [batches(count, batch_size, rank, world_size) for rank in range(world_size)]
    together = [sorted(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert together == [sorted(batch) for batch in alone]


@pytest.mark.parametrize(
    ("count", "batch_size", "world_size", "sizes"),
    [
        (128, 64, 1, [64, 64]),
        (136, 64, 1, [64, 64, 8]),
        (135, 64, 1, [64, 71]),
        (135, 64, 8, [64, 71]),
        (140, 64, 16, [64, 76]),
        (5, 64, 1, [5]),
        (13, 8, 1, [13]),
        (13, 8, 5, [13]),
        (7, 1, 1, [1] * 7),
        (9, 4, 1, [4, 5]),
    ],
)
def test_a_small_last_batch_joins_the_one_before(count, batch_size, world_size, sizes):
    bounds = GlobalBatches(ArticleOrder(np.arange(count)), batch_size, 0, world_size).bounds()
    assert [end - start for start, end in bounds] == sizes
    assert all(before[1] == after[0] for before, after in pairwise(bounds))


def test_more_processes_than_articles_in_a_batch_are_refused():
    with pytest.raises(UserError, match=r"3 processes cannot share .*batch_size=2.*at most trainer\.devices=2"):
        GlobalBatches(ArticleOrder(np.arange(50)), 2, 0, 3)
    with pytest.raises(UserError, match=r"a split of 2 articles"):
        GlobalBatches(ArticleOrder(np.arange(2)), 64, 0, 3)
