"""Settings that contradict the variant are refused before any data is read."""

import pytest

from safe_exp.system.errors import UserError
from safe_exp.training.checks import check_config
from tests.commands import run
from tests.made import compose_config


@pytest.mark.parametrize(
    ("model", "monitor", "message"),
    [
        ({"beta": 0.4}, "val/auroc", r"model\.beta=0\.4: model=text_only has no similarity loss"),
        ({}, "val/similarity_auroc", r"monitor=val/similarity_auroc is not logged with model=text_only"),
        ({"variant": "best"}, "val/auroc", r"model\.variant=best: expected one of .*no_similarity"),
    ],
)
def test_settings_that_the_variant_contradicts_are_refused(model, monitor, message):
    config = compose_config("model=text_only", "callbacks.monitor=val/auroc", "callbacks.mode=max")
    config.callbacks.monitor = monitor
    for name, value in model.items():
        setattr(config.model, name, value)
    with pytest.raises(UserError, match=message):
        check_config(config)


def test_a_training_is_refused_before_its_articles_are_looked_for(tmp_path):
    done = run("train", "model=text_only", "model.beta=0.4", "data=fakenewsnet", "data.root=nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "model.beta=0.4: model=text_only has no similarity loss" in done.stderr
    assert "nowhere" not in done.stderr
