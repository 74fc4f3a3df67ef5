"""Several models as one, against the same models asked one by one."""

import io
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from scipy.special import expit

from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.data import article_encoder
from safe_exp.data.captioners.visual_words import VisualWordsCaptioner
from safe_exp.data.reading.articles import Article
from safe_exp.data.text import split_words
from safe_exp.inference.answers import Answerer, answer_all
from safe_exp.inference.evaluation import evaluate
from safe_exp.inference.explainer import Explainer
from safe_exp.inference.members import group_members
from safe_exp.runs.open_run import open_folder, open_run
from tests.commands import read_json, read_rows, run
from tests.made_jobs import write_job, write_sweep

TEXT = "A boat, the senator said; the own1 boat is own2. own0!"
ALL_PHRASES = 1000


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """A sweep on captions and one on visual words, folds with vocabularies and codebooks of their own."""
    folder = tmp_path_factory.mktemp("sweeps")
    return {name: write_sweep(folder / name, f"captioner={name}") for name in ("file", "visual_words")}


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "p.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    return path


def articles(picture=None):
    images = () if picture is None else (picture,)
    texts = ("The senator", TEXT), ("a", ""), ("", "é boat " * 12)
    return [
        Article(f"a{n}", None, title, text, None if images else "the boat, a senator", images=images)
        for n, (title, text) in enumerate(texts)
    ]


def explained(stored, asked):
    """Answer with every phrase listed."""
    return Answerer(stored, Explainer(stored.members[0].model, ALL_PHRASES)).answer(asked)


def members_alone(sweep):
    return [open_folder(path, "best") for path in sorted(sweep.iterdir()) if path.is_dir()]


def phrase_sums(answers, quantity, side):
    """Average the contribution of each span of words over answers."""
    found = defaultdict(float)
    for answer in answers:
        for phrase in answer["explanation"][quantity][side]["phrases"]:
            found[phrase["start"], phrase["end"]] += phrase["contribution"] / len(answers)
    return found


@pytest.mark.parametrize("name", ["file", "visual_words"])
def test_logit_and_similarity_are_means_and_the_explanation_adds_up_to_them(name, sweeps, picture):
    asked = articles(picture if name == "visual_words" else None)
    alone = [explained(member, asked) for member in members_alone(sweeps[name])]
    together = explained(open_run(sweeps[name]), asked)
    for row, answer in enumerate(together):
        singles = [answers[row] for answers in alone]
        logits = [single["explanation"]["logit"]["value"] for single in singles]
        assert len(set(logits)) == 3
        found = answer["explanation"]["logit"]
        assert found["value"] == pytest.approx(np.mean(logits), abs=1e-12)
        assert answer["probability"] == pytest.approx(expit(np.mean(logits)), rel=1e-5)
        assert answer["similarity"] == pytest.approx(np.mean([single["similarity"] for single in singles]), rel=1e-5)
        assert answer["explanation"]["cosine"]["value"] == pytest.approx(2 * answer["similarity"] - 1, abs=1e-5)
        phrases = [phrase["contribution"] for side in ("text", "image") for phrase in found[side]["phrases"]]
        assert found["constant"] + sum(phrases) == pytest.approx(found["value"], abs=1e-12)
        for side in ("text", "image"):
            assert found[side]["others"] == 0
            expected = phrase_sums(singles, "logit", side)
            ours = {(each["start"], each["end"]): each["contribution"] for each in found[side]["phrases"]}
            assert ours == pytest.approx(expected, abs=1e-12)
            part = answer["explanation"]["cosine"][f"from_{side}"]
            total = part["constant"] + sum(each["contribution"] for each in part[side]["phrases"])
            assert total == pytest.approx(answer["explanation"]["cosine"]["value"], abs=1e-12)
        words = split_words(f"The senator {TEXT}", 99)[0]
        if row == 0:
            assert all(
                each["words"] == " ".join(words[each["start"] : each["end"]]) for each in found["text"]["phrases"]
            )
        if name == "visual_words":
            each = found["image"]["phrases"][0]  # no codebook's names
            assert each["words"] == " ".join(f"p{number + 1}" for number in range(each["start"], each["end"]))
            assert len(each["patches"]) == each["end"] - each["start"]


@pytest.mark.parametrize("variant", ["text_only", "no_similarity", "similarity_only", "released"])
def test_every_variant_answers_by_its_mean_logit(variant, tmp_path):
    sizes = {"released": ["model.word_dim=3", "model.headline_words=2", "model.body_words=5"]}.get(variant, [])
    for number in range(2):
        write_job(tmp_path, number, "captioner=file", f"model={variant}", *sizes, seed=number)
    alone = [explained(member, articles()) for member in members_alone(tmp_path)]
    for row, answer in enumerate(explained(open_run(tmp_path), articles())):
        probabilities = np.array([answers[row]["probability"] for answers in alone])
        expected = expit(np.mean(np.log(probabilities / (1 - probabilities))))
        assert answer["probability"] == pytest.approx(expected, abs=1e-5)
        for found in answer["explanation"].get("logit"), answer["explanation"].get("cosine", {}).get("from_text"):
            for side in set(found or ()) - {"value", "constant"}:
                assert found[side]["phrases"]
        assert ("combined" in answer["scores"]) is False  # none of these is calibrated


def test_jobs_that_cut_texts_at_other_places_are_joined_by_the_position_of_the_words(tmp_path):
    for number, most in enumerate((3, 20)):
        write_job(tmp_path, number, "captioner=file", settings={"max_text_tokens": most}, seed=number)
    short, long = (explained(member, articles())[0] for member in members_alone(tmp_path))
    (answer, *_) = explained(open_run(tmp_path), articles())
    found = answer["explanation"]["logit"]
    ends = {phrase["end"] for phrase in short["explanation"]["logit"]["text"]["phrases"]}
    assert ends == {3}  # also of windows of four words
    ours = {(each["start"], each["end"]): each["contribution"] for each in found["text"]["phrases"]}
    assert ours == pytest.approx(phrase_sums([short, long], "logit", "text"), abs=1e-12)
    assert max(end for _, end in ours) > 3


def test_a_sweep_of_one_job_is_the_job_itself(tmp_path, sweeps):
    asked = articles()
    write_job(tmp_path, 0, "captioner=file")
    (member,) = members_alone(tmp_path)
    assert explained(open_run(tmp_path), asked) == explained(member, asked)


def test_an_article_that_cannot_be_read_gets_the_reason_once(sweeps):
    refused = Answerer(open_run(sweeps["visual_words"])).answer([Article("x", None, "t", "", images=())])
    assert [answer.keys() for answer in refused] == [{"id", "probability", "similarity", "verdict", "scores"}]
    answers = Answerer(open_run(sweeps["visual_words"])).answer([Article("x", None, "t", "", images=(sweeps["file"],))])
    assert len(answers) == 1
    assert "error" in answers[0]


def test_texts_are_cut_and_pictures_described_once_for_all_jobs(sweeps, picture, monkeypatch):
    described, cut = [], []
    describe, split = VisualWordsCaptioner.describe, article_encoder.split_words
    monkeypatch.setattr(
        VisualWordsCaptioner, "describe", lambda self, images: described.extend(images) or describe(self, images)
    )
    monkeypatch.setattr(article_encoder, "split_words", lambda *given: cut.append(given) or split(*given))
    Answerer(open_run(sweeps["visual_words"])).answer(articles(picture))
    assert len(described) == 1
    assert len(cut) == len(set(cut))


def test_jobs_that_share_words_and_vectors_are_encoded_once(sweeps, tmp_path):
    for number in range(2):
        write_job(tmp_path, number, "captioner=file", f"model.alpha={number + 1}", split={"test": ["ab"[number]]})
    assert [len(group.networks) for group in group_members(open_run(tmp_path))] == [2]
    assert [len(group.networks) for group in group_members(open_run(sweeps["file"]))] == [1, 1, 1]


def evaluated(source, table, folder, *overrides):
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = [
            f"run={source}",
            "data=table",
            f"data.root={table}",
            f"data.prepared={folder / 'prepared'}",
            *overrides,
        ]
        config = typed_config(compose("evaluate", overrides=given))
    evaluate(config, folder)
    return read_json(folder / "metrics.json"), read_rows(folder / "predictions.csv")


def test_evaluate_scores_by_the_mean_logit_names_the_jobs_and_knows_what_any_was_trained_on(sweeps, tmp_path, caplog):
    table = tmp_path / "articles.jsonl"
    asked = [article for article in articles() if article.title]
    lines = [
        {"id": name, "title": article.title, "text": article.text, "caption": article.caption, "label": label}
        for name, label, article in zip("ab", ("fake", "real"), asked, strict=True)
    ]
    table.write_text("\n".join(map(json.dumps, lines)))
    caplog.set_level("INFO")
    metrics, rows = evaluated(sweeps["file"], table, tmp_path, "threshold=best")
    expected = [answer["probability"] for answer in Answerer(open_run(sweeps["file"])).answer(asked)]
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected, abs=2e-6)
    assert metrics["jobs"] == {str(n): f"data.fold={n}" for n in range(3)}
    manifest = read_json(tmp_path / "data_manifest.json")
    assert manifest["jobs"] == metrics["jobs"]
    assert manifest["trained_on"]["by_id"] == ["a", "b"]  # job 0 tested them, the other two were trained on them
    assert "2 of the 2 articles have the ids of articles that this run was trained on" in caplog.text
    assert "threshold=best: the highest macro F1 on out-of-fold predictions" in caplog.text
    assert metrics["test"]["calibrated"]["temperature"] == open_run(sweeps["file"]).calibration.temperature
    alone = evaluated(sweeps["file"] / "1", table, tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "0").symlink_to(sweeps["file"] / "1")
    one = evaluated(tmp_path / "one", table, tmp_path)
    assert one[1] == alone[1]
    assert one[0]["test"] == alone[0]["test"]


@pytest.mark.slow
def test_a_sweep_of_folds_and_seeds_is_asked_scored_and_exported_as_one_model(tmp_path):
    sizes = ["data.articles=60", "trainer.max_epochs=2", "model.num_filters=4", "model.feature_dim=4", "logger=none"]
    swept = ["data.folds=3", "data.fold=0,1,2", "seed=0,1", "captioner=visual_words", "captioner.words=20"]
    done = run("train", "-m", *sizes, *swept, "hydra.sweep.dir=s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = open_run(tmp_path / "s")
    assert stored.calibration.articles == 60
    assert [len(group.networks) for group in group_members(stored)] == [2, 2, 2]
    root = next(path.parent for path in tmp_path.glob("data/synthetic/*/fake"))
    articles = ["data=fakenewsnet", f"data.root={root}"]
    done = run("export", "run=s", "to=s.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with initialize_config_dir(str(CONF), version_base="1.3"):
        register_schemas()
        config = typed_config(compose("predict", overrides=["run=s", *articles, "explain=true"]))
    answers = {
        source: ask(replace(config, run=str(tmp_path / source)))
        for source in ("s", "s.safetensors", *map(job, range(6)))
    }
    assert answers["s"] == answers["s.safetensors"]
    for row, answer in enumerate(answers["s"]):
        singles = [answers[job(number)][row]["explanation"]["logit"]["value"] for number in range(6)]
        assert answer["explanation"]["logit"]["value"] == pytest.approx(np.mean(singles), abs=1e-12)
    scored = []
    for source in ("s", "s.safetensors"):
        done = run("evaluate", f"run={source}", *articles, "threshold=best", f"hydra.run.dir=e_{source}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "of the 60 articles have the ids of articles that this run was trained on" in done.stderr
        assert "threshold=best: the highest macro F1 on out-of-fold predictions" in done.stderr
        scored.append(read_json(tmp_path / f"e_{source}" / "metrics.json"))
    assert scored[0]["test"] == scored[1]["test"]
    assert scored[0]["jobs"] == scored[1]["jobs"]
    assert scored[0]["jobs"]["5"] == "data.fold=2 seed=1"


def job(number):
    return f"s/{number}"


def ask(config):
    output = io.BytesIO()
    assert answer_all(config, io.BufferedReader(io.BytesIO()), output) == 0
    return [json.loads(line) for line in output.getvalue().splitlines()]
