"""The running average of the weights, against PyTorch's own class, a sum by hand, and a training."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from safe_exp.training.averaging import POWER, AveragedWeights
from tests.made import draw_batch, draw_module, loader


def parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in module.named_parameters()}


def test_the_average_is_that_of_pytorch_s_averaged_model_with_the_same_shares():
    torch.manual_seed(0)
    model, ours = nn.Linear(5, 3), AveragedWeights()
    reference = AveragedModel(
        model, avg_fn=lambda mean, value, n: mean + (value - mean) * (POWER + 1) / (float(n) + 1 + POWER)
    )
    for _ in range(9):
        nn.init.normal_(model.weight)
        nn.init.normal_(model.bias)
        reference.update_parameters(model)
        ours.update(parameters(model))
    for name, value in reference.module.named_parameters():
        torch.testing.assert_close(ours.weights[name], value)


def test_each_epoch_counts_as_the_product_of_shares_says():
    """After 3 epochs: the third 5/7, the second 5/6 of the rest, the first what is left."""
    average = AveragedWeights()
    for value in (1.0, 10.0, 100.0):
        average.update({"w": torch.tensor([value], dtype=torch.float64)})
    expected = 100 * 5 / 7 + 10 * 2 / 7 * 5 / 6 + 1 * 2 / 7 * 1 / 6
    torch.testing.assert_close(average.weights["w"], torch.tensor([expected], dtype=torch.float64))


def test_the_mean_age_is_that_of_the_last_third_of_the_epochs():
    average, epochs = AveragedWeights(), 300
    for epoch in range(epochs):
        average.update({"epoch": torch.tensor(float(epoch), dtype=torch.float64)})
    assert abs(average.weights["epoch"].item() - (epochs - 1 - epochs / 6)) < 0.01 * epochs


def test_a_restored_average_goes_on_bit_for_bit_and_never_changes_what_was_stored():
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(4, 3, generator=generator) for _ in range(6)]
    whole, half, resumed = AveragedWeights(), AveragedWeights(), AveragedWeights()
    for value in values:
        whole.update({"w": value})
    for value in values[:3]:
        half.update({"w": value})
    stored = half.state_dict()
    before = stored["weights"]["w"].clone()
    resumed.load_state_dict(stored)
    for value in values[3:]:
        resumed.update({"w": value})
    assert torch.equal(resumed.weights["w"], whole.weights["w"])
    assert torch.equal(stored["weights"]["w"], before)


def test_weights_of_bfloat16_are_averaged_in_float32_and_returned_as_they_were():
    average = AveragedWeights()
    for value in (1.0, 1.0078125):
        average.update({"w": torch.tensor([value], dtype=torch.bfloat16)})
    assert average.weights["w"].dtype == torch.float32
    filled = average.fill({"network.w": torch.zeros(1, dtype=torch.bfloat16), "other": torch.ones(2)})
    assert filled["network.w"].dtype == torch.bfloat16
    assert torch.equal(filled["other"], torch.ones(2))


def test_a_training_is_averaged_over_its_epochs():
    class Keep(pl.Callback):
        def __init__(self):
            self.states = []

        def on_train_epoch_end(self, trainer, pl_module):
            self.states.append({name: value.clone() for name, value in parameters(pl_module.network).items()})

    average, keep = AveragedWeights(), Keep()
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, callbacks=[average, keep], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(draw_module(), loader(draw_batch()), loader(draw_batch()))
    assert average.epochs == 3
    for name, value in average.weights.items():
        a, b, c = (state[name] for state in keep.states)
        torch.testing.assert_close(value, 5 / 7 * c + 10 / 42 * b + 2 / 42 * a)
