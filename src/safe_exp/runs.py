"""A finished run as a Lightning module again: for scoring labelled articles as validation does."""

from __future__ import annotations

from pathlib import Path

from safe_exp.config import OptimizerConfig
from safe_exp.module import SafeModule
from safe_exp.stored import StoredRun, open_run


def load_run(run: Path, checkpoint: str = "best") -> SafeModule:
    """The trained module of a run, on the CPU, ready to score; see `open_run`."""
    return module_of(open_run(run, checkpoint))


def module_of(stored: StoredRun) -> SafeModule:
    optimizer = OptimizerConfig(_target_="torch.optim.SGD", lr=1.0, weight_decay=0.0)  # scoring takes no step
    artifacts = stored.artifacts
    module = SafeModule(stored.model, optimizer, artifacts.text_vectors, artifacts.visual_vectors)
    module.network = stored.network()
    return module.eval()
