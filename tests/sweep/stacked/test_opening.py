"""The folder of a stacked job, against the one that Hydra makes."""

import copy
from pathlib import Path

from hydra.core.utils import JobRuntime, setup_globals
from omegaconf import open_dict

from safe_exp.sweep.launching import run_composed
from safe_exp.sweep.stacked.opening import open_job
from tests.sweep.stacked.test_processes import NoCallbacks, make_stacks

NOTES = ["'1e3'", "yes", "1_000", 'α β: it\'s "so"', "a long line " * 20, "two\nlines", "", " ", "#", "null"]


def read_settings(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / ".hydra").iterdir()}


def test_a_job_s_settings_are_written_as_hydra_writes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stacks, _ = make_stacks(tmp_path / "sweep", 2)
    setup_globals()
    JobRuntime.instance().set("name", "train")
    for number, composed, _ in stacks[0]:
        with open_dict(composed):
            composed.logger.tags = NOTES if number else []
        ours = open_job(copy.deepcopy(composed))
        written = read_settings(tmp_path / "sweep" / str(number))
        theirs = run_composed(composed, lambda config: None, NoCallbacks(), configure_logging=False)
        assert written == read_settings(tmp_path / "sweep" / str(number))
        assert written.keys() == {"config.yaml", "hydra.yaml", "overrides.yaml"}
        for name in ("overrides", "task_name", "working_dir"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert ours.hydra_cfg.hydra.runtime.output_dir == theirs.hydra_cfg.hydra.runtime.output_dir
