from dataclasses import replace

import pytest

from safe_exp.data.prepared import shared
from safe_exp.data.prepared.shared import prepare_or_share, share_between_jobs
from safe_exp.data.text import Cutting
from tests.data.folders import folder_config, write_article, write_folder
from tests.made import compose_config

CUTTING = Cutting("auto", False)


@pytest.fixture
def looks(monkeypatch):
    """The calls by which the input was listed; jobs share what they read."""
    calls, prepare = [], shared.prepare
    monkeypatch.setattr(shared, "prepare", lambda *given, **more: calls.append(given) or prepare(*given, **more))
    share_between_jobs(True)
    yield calls
    share_between_jobs(False)


def test_jobs_of_other_folds_and_seeds_share_the_articles(tmp_path, looks):
    data, captioner = folder_config(write_folder(tmp_path / "a", per_class=4)), compose_config().captioner
    first = prepare_or_share(data, captioner, CUTTING)
    others = [
        replace(data, seed=3),
        replace(data, folds=4, fold=2),
        replace(data, batch_size=3),
        replace(data, min_frequency=1),
    ]
    assert all(prepare_or_share(other, captioner, CUTTING) is first for other in others)
    assert len(looks) == 1


def test_jobs_of_other_articles_or_words_do_not(tmp_path, looks):
    data, captioner = folder_config(write_folder(tmp_path / "a", per_class=4)), compose_config().captioner
    first = prepare_or_share(data, captioner, CUTTING)
    elsewhere = replace(data, root=str(write_folder(tmp_path / "b", per_class=5)))
    for other, cutting in (
        (elsewhere, CUTTING),
        (replace(data, max_text_tokens=2), CUTTING),
        (data, CUTTING._replace(keep_urls=True)),
    ):
        assert prepare_or_share(other, captioner, cutting) is not first
    again = prepare_or_share(data, captioner, CUTTING)
    assert again is not first
    assert again.fingerprint == first.fingerprint
    assert len(looks) == 5


def test_a_job_that_shares_nothing_sees_a_new_article(tmp_path, looks):
    data, captioner = folder_config(write_folder(tmp_path / "a", per_class=4)), compose_config().captioner
    first = prepare_or_share(data, captioner, CUTTING)
    write_article(tmp_path / "a", "fake/new")
    assert len(prepare_or_share(data, captioner, CUTTING)) == len(first)
    share_between_jobs(False)
    assert len(prepare_or_share(data, captioner, CUTTING)) == len(first) + 1
