"""The variants as the rest of the program sees them, and one more that is made here."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from safe_exp.config import ModelConfig, Update, plain_config
from safe_exp.equations import SafeOutput, Words, safe_loss
from safe_exp.network import SafeNetwork
from safe_exp.network.safe_network import VARIANTS
from safe_exp.network.variants import Variant, embed_batch, variants
from safe_exp.system.errors import UserError
from tests.made import compose_config, draw_batch, word_vectors

NAMES = variants.names()  # with those that somebody has added
SHIPPED = [*VARIANTS, "released"]
CLOSED_FORM = [variant.name for variant in variants if Update.closed_form in variant.updates]
EXPLAINED = [variant.name for variant in variants if variant.explained]


def run(name: str):
    """A small network of a variant, the arguments of its forward pass over sixteen articles, and their labels."""
    model = compose_config(f"model={name}", "model.num_filters=4", "model.feature_dim=6").model
    torch.manual_seed(0)
    vectors, batch = word_vectors().double(), draw_batch()
    network = variants[name].build(model, 8, 8).double()
    return model, network, embed_batch(model, batch, vectors, vectors), batch.label


@dataclass(frozen=True)
class BuiltVariant(Variant):
    """A variant that overrides nothing but `build`."""

    def build(self, model: ModelConfig, text_dim: int, visual_dim: int) -> nn.Module:
        return SafeNetwork(text_dim, visual_dim, **model.network_sizes)


@pytest.fixture
def built(monkeypatch):
    """A registered variant that only builds its network, and has one setting."""
    variant = BuiltVariant("built", settings={"depth": int})
    monkeypatch.setattr(variants, "_entries", {**variants._entries, "built": variant})
    return variant


def test_each_shipped_variant_is_asked_for_its_step_and_its_encoders():
    assert set(SHIPPED) <= set(CLOSED_FORM) & set(EXPLAINED)


@pytest.mark.parametrize("name", NAMES)
def test_the_forward_pass_of_a_variant_is_its_network_s(name):
    _, network, sentences, _ = run(name)
    with torch.no_grad():
        expected, (output, _) = network(**sentences), variants[name].forward(network, **sentences)
    for a, b in zip(expected, output, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_the_step_of_a_variant_is_autograd_s(name):
    model, network, sentences, label = run(name)
    output, losses, gradients = variants[name].step(network, label, **sentences, **model.loss_settings)
    assert gradients.keys() == dict(network.named_parameters()).keys()
    reference = network(**sentences)
    total = safe_loss(reference, label, **model.loss_settings).total
    total.backward()
    torch.testing.assert_close(output.probability, reference.probability, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(losses.total, total, rtol=1e-12, atol=1e-12)
    for parameter, weight in network.named_parameters():
        torch.testing.assert_close(gradients[parameter], weight.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_reads_compares_and_scores_as_it_says(name):
    _, network, sentences, _ = run(name)
    variant = variants[name]
    output: SafeOutput = network(**sentences)
    assert variant.compares == (output.similarity is not None)
    assert ("text" in variant.reads, "visual" in variant.reads) == (
        output.text_features is not None,
        output.visual_features is not None,
    )
    apart = variant.compares and not torch.allclose(output.probability, 1 - output.similarity)
    assert variant.combines == apart  # where M_s alone decides, the probability of fake is 1 - s


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_variant_has_a_predictor_where_it_learns_from_one_and_joins_it_with_the_similarity(name):
    variant, network = variants[name], run(name)[1]
    assert ("prediction" in variant.losses) == any(key.startswith("predictor.") for key in network.state_dict())
    assert variant.combines == (name in ("safe", "no_similarity", "released"))


@pytest.mark.parametrize("name", EXPLAINED)
def test_the_encoders_of_a_variant_compute_its_features(name):
    """Features from the words in each encoder's cache, by its own filters: the explanation takes apart the network."""
    model, network, sentences, _ = run(name)
    output, cache = variants[name].forward(network, **sentences)
    encoders = variants[name].encoders(cache)
    assert set(encoders) - {"image"} <= set(variants[name].cuts(model, title_words=2))
    for encoder in encoders.values():
        vectors = encoder.words.vectors[encoder.words.tokens]  # (B, L, E)
        for number, (bank, starts) in enumerate(zip(encoder.weights.filters, encoder.positions, strict=True)):
            for article in range(len(vectors)):
                windows = torch.stack([vectors[article, s : s + bank.weight.shape[1]] for s in starts[article]])
                scores = (windows * bank.weight).sum(dim=(1, 2)) + bank.bias  # (K,)
                pooled = encoder.pooled[article].chunk(len(encoder.positions))[number]
                torch.testing.assert_close(scores.relu(), pooled, rtol=1e-9, atol=1e-12)
    features = [e.pooled @ e.weights.project_weight.T + e.weights.project_bias for e in encoders.values()]
    expected = [f for f in (output.text_features, output.visual_features) if f is not None]
    torch.testing.assert_close(torch.cat(features, dim=1), torch.cat(expected, dim=1), rtol=1e-9, atol=1e-12)


def test_a_variant_that_only_builds_its_network_is_trained_by_autograd(built):
    assert (
        compose_config("model.variant=built", "model.update=autograd", "+model.extra.depth=3").model.variant == "built"
    )
    with pytest.raises(
        UserError, match=r"update=closed_form: model=built cannot be trained that way. Set model.update=autograd\."
    ):
        compose_config("model.variant=built")
    with pytest.raises(UserError, match=r"model=built cannot be trained that way"):
        compose_config("model.variant=built", "model.update=algorithm1")
    assert not built.stackable
    assert not built.explained


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=similarity_only", "model.label_smoothing=0.1"], r"label_smoothing=0\.1: in model=similarity_only M_s"),
        (["model=similarity_only", "model.feature_dropout=0.1"], r"feature_dropout=0\.1: in model=similarity_only M_s"),
        (
            ["model.update=algorithm1", "model.pooled_dropout=0.5"],
            r"pooled_dropout=0\.5: .* paper's loop, which has no",
        ),
        (["model.update=algorithm1", "model.feature_dropout=0.5"], r"Set model\.update=closed_form, or leave it out"),
        (["model.variant=built", "model.update=autograd", "model.pooled_dropout=0.5"], r"model=built has no dropout"),
    ],
)
def test_regularisers_that_a_variant_does_not_know_are_refused(built, overrides, message):
    extra = ["+model.extra.depth=3"] if "model.variant=built" in overrides else []
    with pytest.raises(UserError, match=message):
        compose_config(*overrides, *extra)


def test_weights_and_smoothed_labels_need_a_closed_form_that_knows_them_or_autograd(monkeypatch, built):
    variant = BuiltVariant("built", settings={"depth": int}, updates=tuple(Update))
    monkeypatch.setattr(variants, "_entries", {**variants._entries, "built": variant})
    chosen = ["model.variant=built", "+model.extra.depth=3"]
    for override in ("model.article_weights=class", "model.label_smoothing=0.1"):
        with pytest.raises(
            UserError, match=r"closed form of model=built does not compute it\. Set model\.update=autogr"
        ):
            compose_config(*chosen, override)
        assert compose_config(*chosen, "model.update=autograd", override)


def test_a_variant_s_own_settings_travel_in_extra(built):
    config = compose_config("model.variant=built", "model.update=autograd", "+model.extra.depth=3")
    assert config.model.extra == {"depth": 3}
    assert plain_config(config)["model"]["extra"] == {"depth": 3}
    with pytest.raises(UserError, match=r"model\.extra\.width: model=built has no such setting\. Expected depth\."):
        compose_config("model.variant=built", "model.update=autograd", "+model.extra.width=3")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["+model.extra.depth=two"], r"model\.extra\.depth=two: expected a whole number\."),
        (["+model.extra.depth=true"], r"model\.extra\.depth=True: expected a whole number\."),
        ([], r"model\.extra\.depth must be given: model=built reads it\."),
    ],
)
def test_a_setting_of_another_type_or_none_is_refused(built, given, message):
    with pytest.raises(UserError, match=message):
        compose_config("model.variant=built", "model.update=autograd", *given)


def test_a_batch_s_sentences_are_joined_with_the_table_of_their_kind():
    model, batch = compose_config().model, draw_batch()
    text, visual = word_vectors(8, seed=1), word_vectors(5, seed=2)
    found = embed_batch(model, batch, text, visual)
    assert found["text"] == Words(text, batch.text_tokens)
    assert found["visual"] == Words(visual, batch.visual_tokens)
    assert found["text_lengths"] is batch.text_lengths


@pytest.mark.parametrize("name", SHIPPED)
def test_a_batch_of_vectors_gives_the_output_and_gradients_of_its_words(name):
    model, network, sentences, label = run(name)
    vectors, batch = word_vectors().double(), draw_batch()
    looked_up = batch._replace(text_tokens=vectors[batch.text_tokens], visual_tokens=vectors[batch.visual_tokens])
    embedded = embed_batch(model, looked_up, vectors[:1], vectors[:1])
    assert not any(isinstance(value, Words) for value in embedded.values())
    losses = model.loss_settings
    expected = variants[name].step(network, label, **sentences, **losses)
    found = variants[name].step(network, label, **embedded, **losses)
    torch.testing.assert_close(found[0].probability, expected[0].probability)
    for parameter, gradient in expected[2].items():
        torch.testing.assert_close(found[2][parameter], gradient)
