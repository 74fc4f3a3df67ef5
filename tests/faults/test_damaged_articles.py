"""Every kind of damage in one folder: nothing stops the preparation, and every article is accounted for."""

from dataclasses import replace

import pytest

from safe_exp.config import VectorsConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.prepared import prepare
from safe_exp.system.errors import UserError
from tests.data.damage import DAMAGES, USED, write_damaged
from tests.data.folders import folder_config
from tests.made import compose_config

CAPTIONER = compose_config("captioner=visual_words", "captioner.words=8").captioner


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    root = tmp_path_factory.mktemp("damaged")
    return root / "articles", write_damaged(root / "articles")


def test_there_are_sixty_kinds_of_damage_and_each_has_a_name_of_its_own():
    assert len({name for name, *_ in DAMAGES}) == len(DAMAGES) >= 60


def test_every_damaged_article_is_read_or_left_out_with_its_reason(damaged, tmp_path):
    root, expected = damaged
    data = replace(folder_config(root, "data.workers=1"), prepared=str(tmp_path))
    module = FakeNewsNetDataModule(data, CAPTIONER, VectorsConfig(path=None, dim=8, seed=0), seed=0)
    module.setup()
    left_out = {item.path: item.reason for item in module.left_out}
    used = {module.ids[row]: USED for row in module.rows}
    assert used.keys() & left_out.keys() == set()
    assert used | left_out == expected
    assert all(item.detail for item in module.left_out)
    assert len([row for batch in module.train_dataloader() for row in batch.index]) == len(module.split.train)


def test_strict_names_the_first(damaged, tmp_path):
    root, expected = damaged
    data = replace(folder_config(root, "data.workers=1", "data.strict=true"), prepared=str(tmp_path))
    first = min(path for path, reason in expected.items() if reason is not USED and not _lacks_text(reason))
    with pytest.raises(UserError, match=rf"{first}: {expected[first]} .*data\.strict=false"):
        prepare(data, CAPTIONER)


def _lacks_text(reason: str) -> bool:
    return reason == "no title and no text"  # an image alone can be used, by model=visual_only
