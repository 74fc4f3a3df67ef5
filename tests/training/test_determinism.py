"""PyTorch's determinism within a job, beside what torch.use_deterministic_algorithms sets."""

import pytest
import torch

from safe_exp.training.determinism import deterministic_algorithms


def state():
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("wanted", [True, "warn", False, None])
def test_it_is_set_as_lightning_sets_it_and_set_back(wanted, compiled, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(bool(wanted), warn_only=wanted == "warn")
    expected = state()
    torch.use_deterministic_algorithms(False)
    with deterministic_algorithms(wanted, compiled):
        assert state() == expected
    assert state() == (False, False)
