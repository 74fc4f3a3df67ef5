"""vectors=transformer from articles to batches, artifacts and single articles."""

import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from safe_exp.config import PrepareConfig, VectorsConfig
from safe_exp.data.article_encoder import ArticleEncoder, make_batch
from safe_exp.data.artifacts import Artifacts
from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.labelled_folder import encode_folder
from safe_exp.data.prepare_command import prepare_data_set
from safe_exp.data.reading.articles import Article
from safe_exp.data.transformer.hidden_states import HiddenStates
from safe_exp.system.errors import UserError
from tests.data.folders import folder_config, write_folder
from tests.data.tiny_transformers import DIM, bert, make_tokenizer, static, vectors_config

CAPTIONER = FileCaptionerConfig("file", "caption.txt")
KINDS = {"static": (static, 0), "input embeddings": (bert, 0), "hidden states": (bert, -1)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("articles") / "articles", per_class=12)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return tmp_path_factory.mktemp("prepared")


def set_up(root, prepared, model, layer, *overrides, artifacts=None, **changes):
    data = replace(folder_config(root, "data.batch_size=8", *overrides), prepared=str(prepared))
    module = FakeNewsNetDataModule(data, CAPTIONER, vectors_config(model, layer, **changes), 0, artifacts)
    module.setup("fit")
    return module


def embedded(module, batch):
    """The vectors (B, L, E) that the network reads of the texts and of the captions of a batch."""
    for tokens, table in ((batch.text_tokens, module.text_vectors), (batch.visual_tokens, module.visual_vectors)):
        yield tokens if tokens.is_floating_point() else table[tokens]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("standardise", [False, True])
def test_a_run_reads_its_own_articles_in_each_way_alike(kind, standardise, root, prepared, tmp_path):
    """As train, evaluate and predict read them: batch by batch, by stored artifacts, one by one."""
    make, layer = KINDS[kind]
    module = set_up(root, prepared, make(), layer, "data.max_text_tokens=11", standardise=standardise)
    module.save_artifacts(tmp_path)
    stored = Artifacts.load(tmp_path)
    row = 3
    batch = module.encoded[row]
    scored = next(iter(encode_folder(module.data, [stored], ("text", "visual")).loaders[0]))
    place = scored.index.tolist().index(row)
    content = next(iter(module.prepared.contents(np.array([row]))))
    asked = Article("x", None, content["title"], content["text"], content["caption"])
    (item,) = ArticleEncoder(stored, ("text", "visual")).encode([asked])
    alone = make_batch([item])
    length, visual_length = int(batch.text_lengths), int(batch.visual_lengths)
    assert length == 11 == len(item.text_words)
    assert scored.text_lengths[place] == alone.text_lengths[0] == length
    assert scored.title_lengths[place] == alone.title_lengths[0] == batch.title_lengths[0] > 0
    for ours, folder, single in zip(
        embedded(module, batch), embedded(module, scored), embedded(module, alone), strict=True
    ):
        length = ours.shape[1]
        torch.testing.assert_close(folder[place, :length], ours[0], rtol=0, atol=0)
        torch.testing.assert_close(single[0], ours[0], rtol=2e-3, atol=2e-3)
        assert (folder[place, length:] == 0).all()
    assert visual_length == 3


def test_every_token_keeps_its_vector_and_padding_is_zero(root, prepared):
    module = set_up(root, prepared, bert(), 0)
    weights = load_file(bert() / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(module.text_vectors[1:], weights)
    assert (module.text_vectors[0] == 0).all()
    assert module.visual_vectors is module.text_vectors


def test_standardised_vectors_of_the_training_side_have_mean_0_and_deviation_1(root, prepared):
    for kind, (make, layer) in KINDS.items():
        module = set_up(root, prepared, make(), layer, standardise=True)
        texts, captions = [], []
        for batch in module.train_dataloader():
            text, caption = embedded(module, batch)
            texts += [text[i, :n] for i, n in enumerate(batch.text_lengths)]
            captions += [caption[i, :n] for i, n in enumerate(batch.visual_lengths)]
        for vectors in [torch.cat(texts), torch.cat(captions)] if layer else [torch.cat(texts + captions)]:
            torch.testing.assert_close(vectors.mean(0), torch.zeros(vectors.shape[1]), rtol=0, atol=1e-3, msg=kind)
            spread = vectors.std(0, unbiased=False)
            torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0, atol=1e-3, msg=kind)


def test_hidden_states_are_computed_once(root, tmp_path, monkeypatch):
    first = set_up(root, tmp_path, bert(), -1)
    monkeypatch.setattr(HiddenStates, "compute", lambda *arguments: pytest.fail("computed again"))
    second = set_up(root, tmp_path, bert(), -1, "data.seed=3")
    assert torch.equal(first.encoded[2].text_tokens, second.encoded[2].text_tokens)
    assert first.encoded[2].text_tokens.dtype == torch.float32


def test_a_model_counts_in_the_fingerprint_and_its_place_does_not(root, prepared, tmp_path):
    moved = shutil.copytree(bert(), tmp_path / "moved")
    prints = [set_up(root, prepared, model, layer).fingerprint for model, layer in
              ((bert(), 0), (moved, 0), (bert(), -1), (bert(), 1), (static(), 0))]  # fmt: skip
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_a_run_goes_on_with_its_own_artifacts_and_refuses_another_model(root, prepared, tmp_path):
    module = set_up(root, prepared, bert(), 0, standardise=True)
    module.save_artifacts(tmp_path)
    again = set_up(root, prepared, bert(), 0, artifacts=tmp_path, standardise=True)
    assert torch.equal(again.text_vectors, module.text_vectors)
    with pytest.raises(UserError, match="are not those with which"):
        set_up(root, prepared, static(), 0, artifacts=tmp_path, standardise=True)


def test_the_summary_names_the_tokens_and_the_kind_of_vectors(root, prepared):
    lines = dict(set_up(root, prepared, bert(), -1, "data.max_text_tokens=3").summary())
    assert lines["vocabulary"] == f"{make_tokenizer().get_vocab_size():,} tokens of {bert()}"
    assert lines["vectors"] == "hidden states of layer -1, 8 numbers each"
    assert lines["cut"].startswith("100.0% of texts after 3 tokens")
    assert dict(set_up(root, prepared, static(), 0).summary())["vectors"] == "input embeddings, 5 numbers each"


def test_a_table_with_fewer_vectors_than_the_tokenizer_has_tokens_is_refused(root, prepared, tmp_path):
    folder = shutil.copytree(static(), tmp_path / "few")
    save_file({"embeddings": torch.ones(3, 5)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"tokens, and there are 3 vectors\. The files belong to two models"):
        set_up(root, prepared, folder, 0)


def test_words_of_the_default_vectors_can_be_standardised(root, prepared):
    data = replace(folder_config(root), prepared=str(prepared))
    module = FakeNewsNetDataModule(data, CAPTIONER, VectorsConfig(None, 6, 0, standardise=True), 0)
    module.setup("fit")
    vectors = []
    for batch in module.train_dataloader():
        for tokens, lengths in ((batch.text_tokens, batch.text_lengths), (batch.visual_tokens, batch.visual_lengths)):
            vectors += [module.text_vectors[row[:n]] for row, n in zip(tokens, lengths, strict=True)]
    vectors = torch.cat(vectors)
    torch.testing.assert_close(vectors.mean(0), torch.zeros(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(vectors.std(0, unbiased=False), torch.ones(6), rtol=0, atol=1e-5)
    assert (module.text_vectors[0] == 0).all()


def test_prepare_computes_the_hidden_states_that_a_training_reads(root, tmp_path, monkeypatch):
    vectors = vectors_config(bert(), 1)
    data = replace(folder_config(root, "data.batch_size=8"), prepared=str(tmp_path / "prepared"))
    prepare_data_set(PrepareConfig(data, CAPTIONER, vectors), tmp_path)
    monkeypatch.setattr(HiddenStates, "compute", lambda *arguments: pytest.fail("computed again"))
    assert set_up(root, tmp_path / "prepared", bert(), 1).text_vectors.tolist() == [[0] * DIM]


def test_the_work_is_announced_to_the_user(root, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        set_up(root, tmp_path, bert(), -1)
    assert f"Loading the transformer from {bert()}" in caplog.messages
