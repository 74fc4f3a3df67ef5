"""A process that has imported what commands need, and forks itself into one command after the other.

A command spends most of its few seconds on imports; forked it starts in a tenth of a second. tests/commands.py starts
this as `python -m tests.warm_server` and writes one request a line to its standard input, as JSON.
"""

import gc
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any


def import_all() -> None:
    """Import what most commands use; each command still runs its own module anew."""
    from safe_exp.cli.lean_imports import import_lightning

    import_lightning()
    import matplotlib.figure  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.model_selection  # noqa: F401
    from hydra.core.plugins import Plugins

    import safe_exp.data.prepare_command
    import safe_exp.figures.run_figures
    import safe_exp.inference.answers
    import safe_exp.inference.evaluation
    import safe_exp.reporting.build
    import safe_exp.training.baselines
    import safe_exp.training.run  # noqa: F401

    Plugins.instance()  # takes a second to look through the installed sweepers and launchers


def serve() -> dict[str, Any] | None:
    """Fork for each request, and reply with the child's process number and its exit status.

    Returns:
        The request, in the child; None in the server, when there are no more requests.
    """
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(json.dumps(child), flush=True)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    """Take the command's folder, environment and files in the place of the server's."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    folder = Path(request["files"])
    streams = []
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        with open(folder / name, mode) as opened:
            os.dup2(opened.fileno(), number)
        errors = "backslashreplace" if name == "stderr" else "strict"
        streams.append(os.fdopen(number, mode, errors=errors, buffering=1, closefd=False))
    sys.stdin, sys.stdout, sys.stderr = streams
    sys.path[0] = request["cwd"]
    sys.argv = [request["module"], *request["arguments"]]


if __name__ == "__main__":
    import_all()
    request = serve()
    if request is not None:
        become(request)
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
