"""The order of the articles and their batches: it depends on (seed, epoch) alone and is shared between processes."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from safe_exp.system.errors import UserError

# A last batch of one or two articles would take a full step for their sake. The bound does not depend on the number of
# processes, so that up to 8 processes see exactly the batches of one.
SMALLEST_LAST_BATCH = 8


class ArticleOrder(Sampler[int]):
    """The rows of a split, shuffled anew for each epoch; without a seed, in their own order.

    Args:
        rows: (n,) int64.
    """

    def __init__(self, rows: np.ndarray, seed: int | None = None) -> None:
        self.rows = np.asarray(rows)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to be shuffled for. Lightning calls this before each epoch, also after a resume."""
        self.epoch = epoch

    def order(self) -> np.ndarray:
        """Return the rows (n,) in the order of the current epoch."""
        if self.seed is None:
            return self.rows
        # No generator is kept between epochs: its state would have to travel with every checkpoint.
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)

    def __iter__(self) -> Iterator[int]:
        yield from self.order().tolist()

    def __len__(self) -> int:
        return len(self.rows)


class GlobalBatches(Sampler[list[int]]):
    """Cut the order into batches of `batch_size` over all processes, and hand this process its share of each.

    Every process computes the same global batches and takes every `world_size`-th article of each: nothing is repeated
    and nothing dropped. Every process needs a share of each batch, since one without would wait for ever in the next
    exchange of gradients. So a last batch with fewer articles than processes joins the one before. So does a last batch
    below `SMALLEST_LAST_BATCH` or `batch_size`, whichever is less, for any number of processes.

    Raises:
        UserError: fewer articles, or a smaller batch, than there are processes.
    """

    def __init__(self, sampler: ArticleOrder, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if min(batch_size, len(sampler)) < world_size:
            raise UserError(
                f"{world_size} processes cannot share batches of data.batch_size={batch_size} from a split of "
                f"{len(sampler)} articles: each needs at least one article of every batch. "
                f"Use at most trainer.devices={min(batch_size, len(sampler))}, or a larger data.batch_size."
            )
        self.sampler = sampler  # under this name Lightning looks for set_epoch
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size

    def bounds(self) -> list[tuple[int, int]]:
        """List start and end of each global batch, as places in the order of the epoch."""
        starts = list(range(0, len(self.sampler), self.batch_size))
        last = len(self.sampler) - starts[-1]
        if len(starts) > 1 and last < max(self.world_size, min(SMALLEST_LAST_BATCH, self.batch_size)):
            starts.pop()
        return list(zip(starts, [*starts[1:], len(self.sampler)], strict=True))

    def shares(self) -> list[slice]:
        """List this process's share of each global batch, as places in the order of the epoch."""
        return [slice(start + self.rank, end, self.world_size) for start, end in self.bounds()]

    def __iter__(self) -> Iterator[list[int]]:
        order = self.sampler.order()
        for share in self.shares():
            yield order[share].tolist()

    def __len__(self) -> int:
        return len(self.bounds())
