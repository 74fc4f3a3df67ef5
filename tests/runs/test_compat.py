"""Canaries of safe_exp.runs.compat."""

import importlib
import sys

from tests.canary import relies_on


def test_wandb_looks_for_staged_inputs_only_where_launch_is_loaded(monkeypatch):
    with relies_on("wandb", "A run looks for staged inputs by Run._detect_and_apply_job_inputs, in another module."):
        from wandb.sdk.wandb_run import Run

        from safe_exp.runs.compat import STAGED_INPUTS, skip_staged_inputs

        staged = importlib.import_module(STAGED_INPUTS)
        monkeypatch.setattr(Run, "_detect_and_apply_job_inputs", Run._detect_and_apply_job_inputs)
        applied = []
        monkeypatch.setattr(staged.StagedLaunchInputs, "apply", lambda inputs, run: applied.append(run))
        skip_staged_inputs()
        skip_staged_inputs()  # once is enough
        run = object.__new__(Run)
        Run._detect_and_apply_job_inputs(run)
        monkeypatch.delitem(sys.modules, STAGED_INPUTS)
        Run._detect_and_apply_job_inputs(run)
        assert applied == [run]
