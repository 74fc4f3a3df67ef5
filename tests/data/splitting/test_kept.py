import json
from dataclasses import fields, replace

import numpy as np
import pytest

from safe_exp.config.data import DateOrder, SplitMethod
from safe_exp.data.splitting import kept
from safe_exp.data.splitting.kept import FOLDER, make_or_read_split
from safe_exp.data.splitting.splits import make_split
from safe_exp.system.errors import UserError
from tests.data.folders import article, folder_config, gather_columns

METHODS = [
    ("data.split=random",),
    ("data.split=source", "data.folds=4", "data.fold=2"),
    ("data.split=date", "data.test_fraction=0.25"),
    ("data.split=given",),
]


def columns(count=120):
    sides = ("train", "train", "val", "test")
    articles = [
        replace(article(n, n % 2, source=f"paper {n % 30}"), date=f"2020-01-{1 + n % 28:02d}", side=sides[n // 2 % 4])
        for n in range(count)
    ]
    return replace(gather_columns(articles), sides=[item.side for item in articles])


def same(one, other):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, dict):
            assert {k: np.asarray(v).tolist() for k, v in a.items()} == {
                k: np.asarray(v).tolist() for k, v in b.items()
            }
        else:
            assert np.asarray(a).tolist() == np.asarray(b).tolist()
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
    return True


@pytest.mark.parametrize("overrides", METHODS)
def test_a_kept_split_is_the_one_that_was_made(overrides, tmp_path, monkeypatch):
    config = folder_config("unused", *overrides)
    made = make_split(columns(), config)
    assert same(make_or_read_split(columns(), config, tmp_path), made)
    monkeypatch.setattr(kept, "make_split", None)  # cannot be called
    assert same(make_or_read_split(columns(), config, tmp_path), made)


def test_whatever_a_split_depends_on_makes_it_another(tmp_path):
    config = folder_config("unused", "data.split=random")
    make_or_read_split(columns(), config, tmp_path)
    changed = columns()
    changed.labels[:2] = changed.labels[1::-1]
    others = [
        (changed, config),
        (replace(columns(), sources=["x"] * 120), config),
        (replace(columns(), dates_written=["05.03.2020"] * 120), config),
        (columns(), replace(config, seed=5)),
        (columns(), replace(config, folds=3, fold=1)),
        (columns(), replace(config, val_fraction=0.3)),
        (columns(), replace(config, split=SplitMethod.date, dates=DateOrder.dmy)),
    ]
    for table, settings in others:
        make_or_read_split(table, settings, tmp_path)
    assert len(list((tmp_path / FOLDER).iterdir())) == 1 + len(others)


@pytest.mark.parametrize("damage", [lambda text: text[:-20], lambda text: text.replace("120", "121"), lambda _: "{}"])
def test_a_damaged_split_is_made_anew_and_said(damage, tmp_path, caplog):
    config = folder_config("unused", "data.split=random")
    made = make_or_read_split(columns(), config, tmp_path)
    (path,) = (tmp_path / FOLDER).iterdir()
    content = json.loads(path.read_text())
    path.write_text(damage(json.dumps(content | {"train": [120, *content["train"]]})))
    assert same(make_or_read_split(columns(), config, tmp_path), made)
    assert "the split is made anew" in caplog.text
    caplog.clear()
    assert same(make_or_read_split(columns(), config, tmp_path), made)
    assert not caplog.text


def test_a_split_that_cannot_be_made_or_kept_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="publisher"):
        make_or_read_split(
            replace(columns(), sources=[None] * 120), folder_config("unused", "data.split=source"), tmp_path
        )
    assert not (tmp_path / FOLDER).exists()
    (tmp_path / FOLDER).write_text("a file where the folder would be")
    config = folder_config("unused", "data.split=random")
    assert same(make_or_read_split(columns(), config, tmp_path), make_split(columns(), config))
