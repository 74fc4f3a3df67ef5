"""The runs of a stack whose seeds share the work of a step."""

import pytest

from safe_exp.sweep.stacked.shares import MOST_FILTERS, form_shares, rows_to_keep


def test_seeds_with_equally_many_runs_share_a_pass_up_to_a_number_of_filters():
    seeds = [0, 0, 1, 1, 2, 2, 5, 7]
    assert form_shares(seeds, num_filters=1) == [(slice(0, 6), (0, 1, 2)), (slice(6, 8), (5, 7))]
    assert form_shares(seeds, MOST_FILTERS // 4) == [(slice(0, 4), (0, 1)), (slice(4, 6), (2,)), (slice(6, 8), (5, 7))]
    assert [share.seeds for share in form_shares(seeds, 10 * MOST_FILTERS)] == [(0,), (1,), (2,), (5,), (7,)]


@pytest.mark.parametrize(
    ("ended", "kept"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        ([1, 3], [0, 2, 4, 5]),  # one of each seed
        ([0, 1, 2], [3, 4, 5]),  # all of seed 0
        ([0, 1, 4], [0, 2, 3, 5]),  # an ended run of seed 0 fills it up
        (range(6), []),
    ],
)
def test_seeds_keep_equally_many_rows(ended, kept):
    assert rows_to_keep([0, 0, 0, 1, 1, 1], [row not in ended for row in range(6)]) == kept
