"""The argument resume_sweep=DIR: it stands for the command line that the sweep in DIR was started with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from safe_exp.runs.own_yaml import config_dir, recorded_config_dir, split_config_dir
from safe_exp.system.errors import UserError
from safe_exp.system.yaml_files import read_yaml

KEY = "resume_sweep"
# Prefixes of overrides that a resume does not take over: the launcher is chosen again, and the rest is set here.
RESET_OVERRIDES = ("hydra/launcher=", "hydra.launcher.", "hydra.sweep.dir=", "hydra.mode=")


def expand_resume_sweep(arguments: list[str]) -> list[str]:
    """Replace resume_sweep=DIR in a command line by the arguments that run the grid of the sweep in DIR again, in DIR.

    The launcher is not taken over from the start: without one in `arguments` the jobs run one after the other.

    Args:
        arguments: of the command line; they are returned unchanged without resume_sweep=.
    Raises:
        SystemExit: DIR holds no sweep, its folder of --config-dir is gone, or another grid is given beside it; the
            message is on standard error.
    """
    given = [argument for argument in arguments if argument.startswith(f"{KEY}=")]
    if not given:
        return arguments
    try:
        return _resumed_arguments(Path(given[0].removeprefix(f"{KEY}=")), [a for a in arguments if a not in given])
    except UserError as error:
        print(error, file=sys.stderr)  # before Hydra starts, which would print it
        raise SystemExit(1) from error


def _resumed_arguments(given: Path, others: list[str]) -> list[str]:
    """Read the arguments from `given`/multirun.yaml, and change to the folder where the sweep was started."""
    folder = given.expanduser().resolve()
    hydra = read_yaml(folder / "multirun.yaml").get("hydra")
    if not isinstance(hydra, dict):
        raise UserError(
            f"{KEY}={given}: there is no sweep in this folder (multirun.yaml is missing or cannot be read). Give the "
            "folder above the jobs of `python -m safe_exp.train -m …`, such as multirun/<date>/<time>."
        )
    overrides = hydra.get("overrides") or {}
    task = [str(item) for item in overrides.get("task") or []]
    hydra_overrides = [str(item) for item in overrides.get("hydra") or [] if not str(item).startswith(RESET_OVERRIDES)]
    flags = ("-m", "--multirun")
    named = config_dir(others)
    own_yaml = recorded_config_dir(hydra, f"{KEY}={given}: the sweep") if named is None else str(Path(named).absolute())
    others = split_config_dir(others)[1]
    new = [o for o in others if o not in flags and not o.startswith(("hydra.", "hydra/")) and o not in task]
    if new:
        raise UserError(
            f"{KEY}={given} goes on with the grid that the sweep was started with "
            f"({' '.join(task) or 'no overrides'}), so {' '.join(new)} cannot be given with it. Start another sweep "
            "for another grid; only the launcher (hydra/launcher=…) may change."
        )
    started_in = Path(str((hydra.get("runtime") or {}).get("cwd") or "."))
    if started_in.is_dir():
        os.chdir(started_in)  # relative paths in the overrides start from there
    launcher = [o for o in others if o.startswith(("hydra.", "hydra/"))]
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    flag = [] if own_yaml is None else ["--config-dir", own_yaml]
    return ["-m", *flag, *task, *hydra_overrides, *launcher, f"hydra.sweep.dir='{quoted}'"]
