"""Settings that contradict the variant are refused before any data is read."""

import pytest

from safe_exp.system.errors import UserError
from safe_exp.training.run import train
from tests.made import compose_config


@pytest.mark.parametrize(
    ("model", "monitor", "message"),
    [
        ({"beta": 0.4}, "val/auroc", r"model\.beta=0\.4: model=text_only has no similarity loss"),
        ({}, "val/similarity_auroc", r"monitor=val/similarity_auroc is not logged with model=text_only"),
        ({"variant": "best"}, "val/auroc", r"model\.variant=best: expected one of no_similarity"),
    ],
)
def test_a_training_is_refused_before_its_articles_are_looked_for(model, monitor, message, tmp_path):
    articles = "data=fakenewsnet", f"data.root={tmp_path}/nowhere"
    config = compose_config("model=text_only", "callbacks.monitor=val/auroc", "callbacks.mode=max", *articles)
    config.callbacks.monitor = monitor
    for name, value in model.items():
        setattr(config.model, name, value)
    with pytest.raises(UserError, match=message):
        train(config, tmp_path / "run")
    assert not any(tmp_path.iterdir())
