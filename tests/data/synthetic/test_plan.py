from collections import Counter

import pytest

from safe_exp.data.synthetic.plan import COLOURS, SUBJECTS, plan_article
from tests.made import compose_config


def plans(count, *overrides):
    config = compose_config("data=synthetic", *overrides).data
    return [plan_article(number, config) for number in range(count)]


def share(values):
    values = list(values)
    return sum(values) / len(values)


def test_half_of_the_articles_are_fake():
    assert Counter(plan.label for plan in plans(100)) == {0: 50, 1: 50}


def test_signals_follow_their_strengths():
    drawn = plans(8000, "data.cue_strength=0.5", "data.mismatch_strength=0.9")
    for label, loud, archive in ((0, 0.3, 0.03), (1, 0.7, 0.03 + 0.94 * 0.9)):
        of_class = [plan for plan in drawn if plan.label == label]
        assert share(cue for plan in of_class for cue in plan.loud) == pytest.approx(loud, abs=0.015)
        assert share(plan.from_archive for plan in of_class) == pytest.approx(archive, abs=0.015)


def test_at_strength_zero_neither_signal_tells_anything():
    drawn = plans(8000, "data.cue_strength=0", "data.mismatch_strength=0")
    for label in (0, 1):
        of_class = [plan for plan in drawn if plan.label == label]
        assert share(cue for plan in of_class for cue in plan.loud) == pytest.approx(0.5, abs=0.015)
        assert share(plan.from_archive for plan in of_class) == pytest.approx(0.03, abs=0.01)
        assert share(plan.picture.night for plan in of_class) == pytest.approx(0.03 * 0.9 + 0.97 * 0.1, abs=0.02)


def test_a_picture_shows_the_story_or_differs_in_thing_colour_and_place():
    for plan in plans(500):
        if plan.from_archive:
            assert plan.picture.subject != plan.story.subject
            assert plan.picture.colour != plan.story.colour
            assert plan.picture.place != plan.story.place
        else:
            assert plan.picture == plan.story


def test_nothing_but_the_signals_differs_between_the_classes():
    drawn = plans(12000, "data.mismatch_strength=1")
    for values in (
        lambda plan: plan.story.subject, lambda plan: plan.picture.subject,
        lambda plan: plan.picture.colour, lambda plan: plan.source, lambda plan: plan.story.night,
    ):  # fmt: skip
        fake, real = (Counter(values(plan) for plan in drawn if plan.label == label) for label in (1, 0))
        assert fake.keys() == real.keys()
        for value in fake:
            assert fake[value] / 6000 == pytest.approx(real[value] / 6000, abs=0.025), value
    assert {plan.story.subject for plan in drawn} == set(SUBJECTS)
    assert {plan.story.colour for plan in drawn} == set(COLOURS)


def test_a_strength_changes_articles_only_where_it_must():
    weak, strong = plans(200, "data.mismatch_strength=0.2"), plans(200, "data.mismatch_strength=0.8")
    assert [plan.story for plan in weak] == [plan.story for plan in strong]
    assert [plan.loud for plan in weak] == [plan.loud for plan in strong]
    assert all(after.from_archive for before, after in zip(weak, strong, strict=True) if before.from_archive)
