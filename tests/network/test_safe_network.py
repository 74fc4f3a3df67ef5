"""The names and shapes that saved runs and outside checks rely on."""

import pytest
import torch

from safe_exp.network import SafeNetwork
from safe_exp.network.safe_network import VARIANTS


def shapes(variant):
    """Shapes in the state dict of a small network."""
    net = SafeNetwork(5, 6, [3, 4], num_filters=2, feature_dim=7, variant=variant)
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


def encoder(name, dim):
    """Shapes in the state dict of one of its encoders, for words of `dim` numbers."""
    return {
        f"{name}.filters.0.weight": (2, 3, dim),
        f"{name}.filters.0.bias": (2,),
        f"{name}.filters.1.weight": (2, 4, dim),
        f"{name}.filters.1.bias": (2,),
        f"{name}.project.weight": (7, 4),
        f"{name}.project.bias": (7,),
    }


def test_state_dict_has_the_promised_keys_and_shapes():
    text, visual = encoder("text_encoder", 5), encoder("visual_encoder", 6)
    assert shapes("safe") == text | visual | {"predictor.weight": (2, 14), "predictor.bias": (2,)}
    assert shapes("no_similarity") == shapes("safe")
    assert shapes("similarity_only") == text | visual
    assert shapes("text_only") == text | {"predictor.weight": (2, 7), "predictor.bias": (2,)}
    assert shapes("visual_only") == visual | {"predictor.weight": (2, 7), "predictor.bias": (2,)}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_output_has_the_promised_shapes(variant, dtype):
    net = SafeNetwork(5, 6, [3, 4], num_filters=2, feature_dim=7, variant=variant).to(dtype)
    out = net(torch.randn(3, 9, 5, dtype=dtype), torch.randn(3, 4, 6, dtype=dtype))
    assert out.logits.shape == (3, 2)
    assert out.probability.shape == (3,)
    assert torch.allclose(out.probability, out.logits.to(out.probability.dtype).softmax(dim=1)[:, 0])
    for features, missing in ((out.text_features, "visual_only"), (out.visual_features, "text_only")):
        assert (features is None) == (variant == missing)
        assert features is None or features.shape == (3, 7)
    assert (out.similarity is None) == (variant in ("text_only", "visual_only"))


def test_similarity_only_takes_unlikeness_for_the_probability_of_fake():
    net = SafeNetwork(5, 6, [3], num_filters=2, feature_dim=7, variant="similarity_only").double()
    out = net(torch.randn(4, 9, 5).double(), torch.randn(4, 4, 6).double())
    torch.testing.assert_close(out.probability, 1 - out.similarity, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filter_sizes": []}, "filter_sizes is empty"),
        ({"filter_sizes": [3, 0]}, "filter_sizes=0: expected at least 1"),
        ({"num_filters": 0}, "num_filters=0: expected at least 1"),
        ({"text_dim": 0}, "text_dim=0"),
        ({"variant": "both"}, "variant='both': expected one of safe, text_only"),
    ],
)
def test_a_wrong_size_is_refused(change, message):
    arguments = {"text_dim": 5, "visual_dim": 6, "filter_sizes": [3], "num_filters": 2, "feature_dim": 7}
    with pytest.raises(ValueError, match=message):
        SafeNetwork(**arguments | change)
