"""A resume under a conf/ that has changed since the start."""

import pytest
from omegaconf import OmegaConf

from safe_exp.runs.settings import require_same_settings, restore_earlier_defaults
from safe_exp.system.errors import UserError

THEN = {"model": {"alpha": 0.6}, "scheduler": None, "seed": 0, "hydra": {"job": {"num": 1}}}


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (
            {"model": {"alpha": 0.5}},
            r"resume=x: the run started with model\.alpha=0\.6, and conf/ now gives 0\.5 \(1 such",
        ),
        ({"scheduler": {"_target_": "y"}}, "scheduler=None"),
        ({"model": {"alpha": 0.5}, "seed": 1}, r"2 such differences\)\. Bring conf/ back, or start another run"),
        ({"model": {}}, r"model\.alpha=0\.6, and conf/ now gives None"),
    ],
)
def test_a_value_that_changed_is_named(now, message):
    with pytest.raises(UserError, match=message):
        require_same_settings("resume=x", "run", THEN, THEN | now)


def test_what_a_later_version_added_and_what_the_user_gave_is_no_change():
    now = {"model": {"alpha": 0.5, "new": 1}, "threshold": 0.5, "hydra": {"job": {"num": 2}}}
    require_same_settings("resume=x", "run", THEN, THEN | now, given={"model.alpha"})


@pytest.mark.parametrize(
    ("then", "select", "figures"),
    [
        ({"callbacks": {"monitor": "val/loss"}}, "best", True),
        ({"callbacks": {"select": "auto"}}, "auto", True),
        ({"callbacks": {"select": "auto"}, "figures": False}, "auto", "auto"),
        ({}, "auto", "auto"),
    ],
)
def test_what_was_begun_before_a_key_existed_goes_on_as_it_did(then, select, figures):
    composed = OmegaConf.create({"callbacks": {"monitor": "val/loss", "select": "auto"}, "figures": "auto"})
    restore_earlier_defaults(composed, then)
    assert (composed.callbacks.select, composed.figures) == (select, figures)
