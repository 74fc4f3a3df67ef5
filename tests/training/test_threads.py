"""Small steps get one thread, unless the config or the environment sets another number."""

import pytest
import torch

from safe_exp.system.errors import UserError
from safe_exp.training import threads
from safe_exp.training.threads import set_threads, step_multiply_adds
from tests.made import compose_config


@pytest.fixture(autouse=True)
def four_threads(monkeypatch):
    """A machine of four cores, on which no number of threads is set."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_at_start", None)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


LARGE = ("data.batch_size=64", "model.num_filters=128")


@pytest.mark.parametrize(
    ("overrides", "dim", "expected"),
    [
        ([], 32, 1),  # the built-in data's run
        (["model.num_filters=1", "data.batch_size=64"], 300, 1),  # the paper's size
        (LARGE, 32, 4),
        (LARGE, 300, 4),
        ([*LARGE, "threads=2"], 300, 2),
        (["threads=3"], 32, 3),
    ],
)
def test_threads_follow_the_work_of_a_step_and_the_config_rules(overrides, dim, expected):
    assert set_threads(compose_config(*overrides), dim) == torch.get_num_threads() == expected


def test_small_steps_get_one_thread_whatever_the_profile_of_a_cluster_says(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert set_threads(compose_config(), 32) == 1
    assert set_threads(compose_config(*LARGE), 300) == 4  # PyTorch read it when it was imported


def test_a_small_job_takes_nothing_from_the_larger_one_after_it():
    assert set_threads(compose_config(), 32) == 1
    assert set_threads(compose_config(*LARGE), 300) == 4


def test_the_work_is_that_of_the_convolutions():
    config = compose_config("data.batch_size=2", "data.max_text_tokens=9", "data.max_visual_tokens=1",
                            "model.num_filters=5")  # fmt: skip
    assert step_multiply_adds(config, 11) == 2 * 10 * (3 + 4) * 5 * 11


def test_no_thread_at_all_is_refused():
    with pytest.raises(UserError, match="threads=0"):
        compose_config("threads=0")
