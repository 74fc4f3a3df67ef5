"""ServedNetwork, which is exported, gives the probabilities of the answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from safe_exp.data.article_encoder import ArticleEncoder, make_batch
from safe_exp.data.batch import NewsBatch
from safe_exp.data.reading.articles import Article
from safe_exp.inference.answers import Answerer
from safe_exp.inference.members import group_members, mean_output
from safe_exp.inference.served_network import ServedNetwork, word_rows
from safe_exp.runs.ensemble import Ensemble
from safe_exp.runs.open_run import open_run
from safe_exp.scoring.calibration import Calibration
from safe_exp.system.errors import UserError
from tests.made_jobs import write_sweep
from tests.made_run import write_run
from tests.test_export import made_run, transformer_run

VARIANTS = ("safe", "text_only", "visual_only", "no_similarity", "similarity_only", "released")
ARTICLES = [
    Article(f"a{n}", None, "the senator " * (n % 3), "a boat é the " * n, "the é boat " * (n % 4)) for n in range(9)
]


def feed(network, batch):
    """Choose the inputs of a batch."""
    found = {"text": batch.text_tokens, "text_lengths": batch.text_lengths, "visual": batch.visual_tokens,
             "visual_lengths": batch.visual_lengths, "title_lengths": batch.title_lengths}  # fmt: skip
    return [found[name] for name in network.inputs]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_gives_the_answers_of_the_run(variant, tmp_path):
    stored = open_run(write_run(tmp_path / "run", f"model={variant}", "captioner=file"))
    stored.artifacts.text_vectors[0] = 0  # padding, as in a run of train
    stored = replace(stored, calibration=Calibration(1.7, {"prediction": 0.4, "similarity": 0.4}, None, 9))
    network = ServedNetwork(stored).eval()
    encoder = ArticleEncoder(stored.artifacts, network.variant.reads)
    output = network(*feed(network, make_batch(encoder.encode(ARTICLES))))
    answers = Answerer(stored).answer(ARTICLES)
    calibrated = Answerer(stored, calibrate=True).answer(ARTICLES)
    assert output.probability.tolist() == pytest.approx([each["probability"] for each in answers], abs=2e-6)
    assert output.calibrated.tolist() == pytest.approx([each["probability"] for each in calibrated], abs=2e-6)
    if output.similarity is None:
        assert {each["similarity"] for each in answers} == {None}
    else:
        assert output.similarity.tolist() == pytest.approx([each["similarity"] for each in answers], abs=2e-6)
    assert len({each["probability"] for each in answers}) > 2


def test_hidden_states_are_given_as_vectors_and_standardised_within():
    stored = transformer_run(-1)
    network = ServedNetwork(stored).eval()
    assert network.vectors == ("text", "visual")
    numbers = np.random.default_rng(0)
    text, visual = (torch.from_numpy(numbers.normal(size=(3, length, 6)).astype(np.float32)) for length in (8, 5))
    lengths = torch.tensor([8, 1, 3]), torch.tensor([5, 2, 1])
    (group,) = group_members(stored)
    standardised = stored.artifacts.standardisers["text"].apply(text)
    zero = torch.zeros(3, dtype=torch.int64)
    expected = mean_output([o for o, _ in group.forward(NewsBatch(standardised, visual, *lengths, zero, zero, zero))])
    ours = network(text, lengths[0], visual, lengths[1])
    torch.testing.assert_close(ours.logits, expected.logits)


def test_the_tokens_of_a_transformer_stand_behind_padding():
    artifacts = transformer_run(0).artifacts
    rows = word_rows(artifacts)
    assert {word: row - 1 for word, row in rows.items()} == artifacts.tokenizer.get_vocab()
    assert max(rows.values()) < len(artifacts.text_vectors)


def test_jobs_with_vocabularies_of_their_own_are_no_one_network(tmp_path):
    with pytest.raises(UserError, match="its jobs have vocabularies of their own"):
        ServedNetwork(open_run(write_sweep(tmp_path / "sweep", "captioner=file")))


def test_jobs_that_read_the_same_words_are_one_network():
    one = made_run()
    other = replace(one, weights={name: value + 0.1 for name, value in one.weights.items()})
    both = Ensemble((one, other), {"0": "", "1": ""}, None, one.source)
    inputs = ServedNetwork(one).example().values()
    with torch.no_grad():
        parts = [ServedNetwork(each).eval()(*inputs).logits for each in (one, other)]
        torch.testing.assert_close(ServedNetwork(both).eval()(*inputs).logits, (parts[0] + parts[1]) / 2)
