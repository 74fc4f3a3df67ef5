"""Canaries of safe_exp.training.compat."""

from types import SimpleNamespace

import torch
from pytorch_lightning.trainer.states import TrainerFn

from tests.canary import relies_on


class Uncopied(dict):
    def __deepcopy__(self, memo):
        raise AssertionError("the logged figures are copied")


def test_a_checkpoint_looks_at_logged_figures_without_a_copy_of_them(tmp_path):
    saved = []
    trainer = SimpleNamespace(
        callback_metrics=Uncopied({"val/loss": torch.tensor(0.5)}), current_epoch=3, global_step=8,
        state=SimpleNamespace(fn=TrainerFn.FITTING), fast_dev_run=False, sanity_checking=False, is_global_zero=True,
        should_stop=False, loggers=(), strategy=SimpleNamespace(reduce_boolean_decision=lambda found, all=True: found),
        save_checkpoint=lambda path, weights_only=False: saved.append(path),
    )  # fmt: skip
    with relies_on("pytorch-lightning", "ModelCheckpoint no longer reads what it monitors by _monitor_candidates."):
        from safe_exp.training.compat import LightCheckpoint

        checkpoint = LightCheckpoint(
            dirpath=tmp_path, filename="{epoch}-{step}", monitor="val/loss", save_on_train_epoch_end=True
        )
        checkpoint.on_train_epoch_end(trainer, None)
        assert saved == [str(tmp_path / "epoch=3-step=8.ckpt")]
        assert checkpoint.best_model_score == 0.5


def test_the_norms_of_all_tensors_at_once_are_those_of_each():
    tensors = [torch.randn(shape) for shape in ((4, 3, 5), (4,), (2, 8))] + [torch.zeros(3)]
    with relies_on("torch", "torch._forcompute_norms no longer gives the Euclidean norm of each tensor."):
        from safe_exp.training.compat import compute_norms

        for found, tensor in zip(compute_norms(tensors), tensors, strict=True):
            torch.testing.assert_close(found, torch.linalg.vector_norm(tensor))
