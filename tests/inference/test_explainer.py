"""Explanations as coloured text."""

import json

from safe_exp.inference.explainer import Passage, _locate_patches, colour_words


def test_coloured_text_shows_markup_of_others_as_it_is():
    answer = {"id": "[bold]a", "verdict": "fake", "probability": 0.75, "similarity": None}
    shown = colour_words({"text": Passage(["[red]", "x"], 0)}, answer, {"text": [1.0, -2.0, 0.0]})
    assert "[red] x" in shown.plain
    assert shown.plain.startswith("[bold]a: fake, probability of fake 0.750\n")
    assert json.dumps(shown.plain)


def test_chinese_words_stand_side_by_side():
    answer = {"id": "a", "verdict": "fake", "probability": 0.75, "similarity": None}
    shown = colour_words({"text": Passage(["北", "京", "5g", "ok"], 0)}, answer, {"text": [1.0, -2.0, 0.0, 1.0]})
    assert "北京 5g ok \n" in shown.plain


def test_below_the_coloured_words_stands_how_the_logit_comes_about():
    side = {"phrases": [{"contribution": 1.0}, {"contribution": -3.0}], "others": 0.25}
    logit = {"value": -2.5, "constant": -1.0, "text": side, "image": {"phrases": [], "others": 0.25}}
    answer = {"id": "a", "verdict": "real", "probability": 0.07, "similarity": None, "explanation": {"logit": logit}}
    shown = colour_words({"text": Passage(["x"], 0)}, answer, {"text": [-2.0]}).plain
    assert shown.endswith("adds 2 to the logit\nlogit -2.500 = - 1.000 constant - 1.750 text + 0.250 image")
    answer["explanation"] = {"cosine": {}}  # SAFE\\W has no logit
    assert colour_words({"text": Passage(["x"], 0)}, answer, {"text": [-2.0]}).plain.endswith("adds 2 to -cos(t, v)")


def test_patches_of_several_images_are_located_in_their_own():
    levels = [(2, 2), (1, 1)]
    assert _locate_patches([levels], 3, 5) == [
        {"grid": 2, "row": 1, "column": 1},
        {"grid": 1, "row": 0, "column": 0},
    ]
    assert _locate_patches([levels, levels], 4, 6) == [
        {"image": 0, "grid": 1, "row": 0, "column": 0}, {"image": 1, "grid": 2, "row": 0, "column": 0}
    ]  # fmt: skip
