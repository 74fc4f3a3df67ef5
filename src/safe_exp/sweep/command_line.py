"""resume_sweep=DIR: the command line that a sweep was started with, once more, into its own folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from safe_exp.system.errors import UserError
from safe_exp.system.yaml_files import read_yaml

KEY = "resume_sweep"
OWN = ("hydra/launcher=", "hydra.launcher.", "hydra.sweep.dir=", "hydra.mode=")  # chosen anew, or set here


def with_resumed_sweep(arguments: list[str]) -> list[str]:
    """`arguments`, or where they hold resume_sweep=DIR, those of the sweep in DIR, to be run in DIR.

    The launcher is chosen anew, and defaults to one job after the other; the grid is that of the start.
    """
    given = [argument for argument in arguments if argument.startswith(f"{KEY}=")]
    if not given:
        return arguments
    try:
        return _arguments(Path(given[0].removeprefix(f"{KEY}=")), [a for a in arguments if a not in given])
    except UserError as error:
        print(error, file=sys.stderr)  # Hydra, which prints these, is not there yet
        raise SystemExit(1) from error


def _arguments(given: Path, others: list[str]) -> list[str]:
    folder = given.expanduser().resolve()
    hydra = read_yaml(folder / "multirun.yaml").get("hydra")
    if not isinstance(hydra, dict):
        raise UserError(
            f"{KEY}={given}: there is no sweep in this folder (multirun.yaml is missing or cannot be read). Give the "
            "folder above the jobs of `python -m safe_exp.train -m …`, such as multirun/<date>/<time>."
        )
    overrides = hydra.get("overrides") or {}
    task = [str(item) for item in overrides.get("task") or []]
    of_hydra = [str(item) for item in overrides.get("hydra") or [] if not str(item).startswith(OWN)]
    flags = ("-m", "--multirun")
    new = [o for o in others if o not in flags and not o.startswith(("hydra.", "hydra/")) and o not in task]
    if new:
        raise UserError(
            f"{KEY}={given} goes on with the grid that the sweep was started with "
            f"({' '.join(task) or 'no overrides'}), so {' '.join(new)} cannot be given with it. Start another sweep "
            "for another grid; only the launcher (hydra/launcher=…) may change."
        )
    started_in = Path(str((hydra.get("runtime") or {}).get("cwd") or "."))
    if started_in.is_dir():
        os.chdir(started_in)  # relative paths begin where the sweep was started
    launcher = [o for o in others if o.startswith(("hydra.", "hydra/"))]
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return ["-m", *task, *of_hydra, *launcher, f"hydra.sweep.dir='{quoted}'"]
