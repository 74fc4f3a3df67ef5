"""The weights that a run keeps, and what it says where validation cannot choose an epoch."""

from types import SimpleNamespace

import pytest
import torch

from safe_exp.config import Select
from safe_exp.scoring.scores import ScoredSplit
from safe_exp.training.selection import EpochOutputs, choose_weights, count_publishers, describe_choice
from tests.made import compose_config
from tests.scoring.test_gain import LOSS, drawn


def train_through(scores: list[ScoredSplit], values: list[float], mode: str = "min") -> EpochOutputs:
    outputs = EpochOutputs("val/loss_prediction", mode)
    for scored, value in zip(scores, values, strict=True):
        trainer = SimpleNamespace(callback_metrics={"val/loss_prediction": torch.tensor(value)})
        outputs.on_train_epoch_end(trainer, SimpleNamespace(scored={"val": scored}))
    return outputs


CHANCE = [drawn(60, seed, 0.0) for seed in range(4)]
LEARNED = [drawn(60, 0, 0.0), drawn(60, 1, 1.0), drawn(60, 2, 3.0), drawn(60, 3, 0.5)]
VALUES = [0.8, 0.6, 0.3, 0.7]


def choose(select: str, scores: list[ScoredSplit], publishers: int | None = None, values=VALUES):
    config = compose_config(f"callbacks.select={select}").callbacks
    choice = choose_weights(config, train_through(scores, values), len(scores), LOSS, publishers)
    return choice, describe_choice(config, choice)


def test_where_validation_can_choose_auto_keeps_the_best_epoch_and_says_nothing():
    choice, line = choose("auto", LEARNED)
    assert (choice.rule, choice.epoch, line) == (Select.best, 2, None)
    assert choice.plain()["epoch"] == 3
    assert choice.plain()["interval"][0] > 0


def test_where_the_gain_lies_within_its_interval_auto_keeps_the_average_and_says_so():
    choice, line = choose("auto", CHANCE)
    assert (choice.rule, choice.epoch) == (Select.average, 3)
    assert line.startswith("Validation cannot choose an epoch. From epoch 1 to epoch 3, the best, val/loss_prediction")
    assert "on 60 articles, " in line
    assert line.endswith("Kept: the average of the weights of its epochs (callbacks.select=auto).")
    low, high = choice.gain.interval
    assert low < 0 < high


def test_few_publishers_cannot_choose_an_epoch_whatever_the_gain():
    choice, line = choose("auto", LEARNED, publishers=9)
    assert choice.rule is Select.average
    assert "Its articles are of 9 publishers, and fewer than 10 do not stand for others" in line
    assert choose("auto", LEARNED, publishers=10)[0].rule is Select.best


def test_the_first_epoch_as_the_best_one_is_no_choice():
    choice, line = choose("auto", LEARNED, values=[0.1, 0.6, 0.3, 0.7])
    assert choice.rule is Select.average
    assert "No epoch is better than the first by val/loss_prediction" in line


def test_what_is_asked_for_is_kept_and_best_says_where_it_is_chance():
    choice, line = choose("best", CHANCE)
    assert (choice.rule, choice.epoch) == (Select.best, 2)
    assert line.endswith("Kept: the weights of the best epoch (callbacks.select=best).")
    for select in ("last", "average"):
        choice, line = choose(select, CHANCE)
        assert (choice.rule.value, choice.epoch, choice.gain, line) == (select, 3, None, None)


def test_a_run_that_was_begun_by_an_earlier_version_keeps_its_best_epoch():
    outputs = train_through(CHANCE[:2], VALUES[:2])  # the epochs since it was resumed
    choice = choose_weights(compose_config().callbacks, outputs, 4, LOSS, None)
    assert choice.rule is Select.best
    assert "begun by a version" in choice.reason


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_epoch_is_the_first_of_equal_ones_and_never_one_without_a_value(mode):
    sign = 1 if mode == "min" else -1
    outputs = train_through(CHANCE, [float("nan"), sign * 0.5, sign * 0.5, float("nan")], mode)
    assert outputs.best_epoch == 1
    assert torch.equal(outputs.best.logits, CHANCE[1].logits)
    assert torch.equal(outputs.first.logits, CHANCE[0].logits)


def test_the_kept_scores_come_back_from_a_checkpoint_bit_for_bit(tmp_path):
    outputs, resumed = train_through(CHANCE[:3], VALUES[:3]), EpochOutputs("val/loss_prediction", "min")
    torch.save(outputs.state_dict(), tmp_path / "state")
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert (resumed.epochs, resumed.best_epoch, resumed.best_value) == (3, 2, pytest.approx(0.3))
    for name in ("first", "best"):
        for ours, theirs in zip(getattr(outputs, name), getattr(resumed, name), strict=True):
            assert torch.equal(ours, theirs)


def test_publishers_are_counted_on_the_validation_side_of_a_split_by_publisher():
    sources = ["a.com", "https://www.a.com/", "b.com", None, "c.com"]
    data = SimpleNamespace(
        data=compose_config("data.split=source").data,
        prepared=SimpleNamespace(sources=sources),
        split=SimpleNamespace(val=[0, 1, 2, 3]),
    )
    assert count_publishers(data) == 2
    data.data = compose_config("data.split=random").data
    assert count_publishers(data) is None
