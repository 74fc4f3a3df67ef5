"""The closed form of a stack of runs, against the closed form of each run and against autograd."""

from typing import Any

import pytest
import torch

from safe_exp.equations import DropoutMasks, Words, closed_form_step, safe_loss
from safe_exp.equations.safe import SafeWeights, map_tensors, name_gradients
from safe_exp.network import SafeNetwork
from safe_exp.network.safe_network import VARIANTS
from safe_exp.sweep.stacked.closed_form import Share, stacked_step

RUNS = 5
ALPHA = torch.tensor([0.6, 0.0, 1.0, 0.3, 2.0], dtype=torch.float64)
BETA = torch.tensor([0.4, 1.0, 0.5, 2.0, 0.0], dtype=torch.float64)
VISUAL_DIM = 5
WORDS = 30  # more than a quarter of a batch's words, so that the table is reduced to those that occur


def draw_share(runs: slice, seed: int, batch: int = 6, patches: bool = False) -> Share:
    """Draw articles of different lengths, one of them shorter than the widest window.

    Args:
        patches: the sentence of the image is vectors, with no table of words.
    """
    generator = torch.Generator().manual_seed(seed)
    of_all_seeds = torch.Generator().manual_seed(0)
    sentences = {}
    for name, length, dim in (("text", 9, 4), ("visual", 7, VISUAL_DIM)):
        vectors = torch.randn(WORDS, dim, generator=of_all_seeds, dtype=torch.float64)
        lengths = torch.randint(3, length + 1, (batch,), generator=generator)
        lengths[0] = 2
        sentences[name] = Words(vectors, torch.randint(1, WORDS, (batch, length), generator=generator))
        sentences[f"{name}_lengths"] = lengths
    if patches:
        vectors, numbers = sentences["visual"]
        padding = torch.arange(numbers.shape[1]) >= sentences["visual_lengths"][:, None]
        sentences["visual"] = vectors[numbers].masked_fill(padding[:, :, None], 0)
    return Share(runs, sentences, torch.randint(0, 2, (batch,), generator=generator))


def draw_regularised(share: Share, variant: str, num_filters: int, seed: int) -> Share:
    """Add weights of articles and masks of dropout to a share of networks with D = 3 and two widths."""
    generator = torch.Generator().manual_seed(seed + 100)
    encoders = 1 if variant in ("text_only", "visual_only") else 2

    def mask(width: int) -> torch.Tensor:
        return (torch.rand(len(share.label), width, generator=generator) < 0.7).double() / 0.7

    pooled = tuple(mask(2 * num_filters) for _ in range(encoders))
    features = None if variant == "similarity_only" else mask(3 * encoders)
    weight = 2 * torch.rand(len(share.label), generator=generator, dtype=torch.float64)
    return share._replace(weight=weight, masks=DropoutMasks(pooled, features))


def join_shares(shares: list[Share]) -> Share:
    """Join the articles of seeds with two runs each."""

    def join(parts: tuple) -> Any:
        if parts[0] is None:
            return None
        if isinstance(parts[0], Words):
            return Words(parts[0].vectors, torch.cat([words.tokens for words in parts]))
        return torch.cat(parts)

    names = shares[0].sentences
    sentences = {name: join(tuple(share.sentences[name] for share in shares)) for name in names}
    masks = None
    if shares[0].masks is not None:
        pooled = zip(*(share.masks.pooled for share in shares), strict=True)
        masks = DropoutMasks(tuple(map(join, pooled)), join(tuple(share.masks.features for share in shares)))
    label, weight = (join(tuple(getattr(share, name) for share in shares)) for name in ("label", "weight"))
    return Share(slice(0, 2 * len(shares)), sentences, label, weight, masks, len(shares))


def draw_networks(variant: str, num_filters: int) -> list[SafeNetwork]:
    torch.manual_seed(1)
    return [SafeNetwork(4, VISUAL_DIM, [3, 4], num_filters, 3, variant).double() for _ in range(RUNS)]


def stack_weights(networks: list[SafeNetwork]) -> SafeWeights:
    return map_tensors(lambda *values: torch.stack(values), *(network.weights() for network in networks))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("similarity_loss", ["real_only", "both_classes"])
@pytest.mark.parametrize("num_filters", [1, 3])
@pytest.mark.parametrize("regularised", [False, True], ids=["plain", "regularised"])
@pytest.mark.parametrize("patches", [False, True], ids=["words", "patches"])
def test_every_run_of_a_stack_has_the_outputs_losses_and_gradients_of_its_own(
    variant, similarity_loss, num_filters, regularised, patches
):
    """Plain, and with weights of articles, smoothed labels and dropout."""
    networks = draw_networks(variant, num_filters)
    weights = stack_weights(networks)
    drawn = [draw_share(slice(0, 2), seed, patches=patches) for seed in range(3)]
    loss = {"similarity_loss": similarity_loss}
    if regularised:
        drawn = [draw_regularised(share, variant, num_filters, seed) for seed, share in enumerate(drawn)]
        loss["label_smoothing"] = 0.2
    shares = [join_shares(drawn[:2]), drawn[2]._replace(runs=slice(4, 5))]
    output, losses, gradients = stacked_step(weights, shares, alpha=ALPHA, beta=BETA, **loss)
    gradients = name_gradients(gradients)
    for run, network in enumerate(networks):
        share = drawn[run // 2]
        settings = {"alpha": ALPHA[run].item(), "beta": BETA[run].item(), "weight": share.weight, **loss}
        alone, alone_losses, alone_gradients = closed_form_step(
            network, label=share.label, **share.sentences, **settings, masks=share.masks
        )
        for ours, theirs in zip((*output, *losses), (*alone, *alone_losses), strict=True):
            if theirs is None:
                assert ours is None
            else:
                torch.testing.assert_close(ours[run], theirs, rtol=1e-12, atol=1e-14)
        assert gradients.keys() == alone_gradients.keys()
        safe_loss(network(**share.sentences, masks=share.masks), share.label, **settings).total.backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(gradients[name][run], alone_gradients[name], rtol=1e-10, atol=1e-14)
            by_autograd = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradients[name][run], by_autograd, rtol=1e-10, atol=1e-13)


def test_a_run_of_nothing_but_nan_leaves_its_neighbours_bit_equal():
    networks = draw_networks("safe", 2)
    shares = [draw_share(slice(0, RUNS), seed=3)]

    def gradients() -> dict[str, torch.Tensor]:
        weights = stack_weights(networks)
        return name_gradients(stacked_step(weights, shares, alpha=ALPHA, beta=BETA)[2])

    before = gradients()
    with torch.no_grad():
        for parameter in networks[2].parameters():
            parameter.fill_(torch.nan)
    others = [0, 1, 3, 4]
    for name, gradient in gradients().items():
        assert torch.equal(gradient[others], before[name][others]), name
