"""The start of every command: its --help, or checks of the command line and then Hydra."""

import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from safe_exp.cli.completion import answer_shell, arguments_of_the_line, completion_asked
from safe_exp.cli.help import help_asked, print_help
from safe_exp.cli.mistakes import explain_unknown_key, list_keys, mistakes_explained, require_options
from safe_exp.runs.own_yaml import own_folders, require_new_names, split_config_dir
from safe_exp.system.errors import UnwritableFile, UserError
from safe_exp.system.files import short_path

COMMANDS_WITH_FOLDERS = ("train", "evaluate", "prepare", "baseline")  # commands whose jobs have a folder of their own
FOLDER_KEYS = ("hydra.run.dir=", "hydra.sweep.dir=", "resume=")
FLAGS = {  # those that `--hydra-help` lists
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info",
}  # fmt: skip
MIN_FREE_BYTES = 1 << 16  # for Hydra's notes and status.json


def run_command(main: Callable[[], None], command: str, summary: str, groups: list[str]) -> None:
    """Print the command's help if it is asked for; otherwise check the command line and run `main`.

    Args:
        main: the command's function as hydra.main has wrapped it.
        command: its name, such as train.
        summary: first line of its help.
        groups: config groups that its help lists.
    Raises:
        SystemExit: the command line cannot be used, and the message is printed; or Ctrl-C before there was a job.
    """
    _tolerate_any_terminal()
    if completion_asked(sys.argv[1:]):
        _answer_shell(command, groups)
        return
    _require_usable_arguments(sys.argv[1:], groups)
    if help_asked(sys.argv[1:]):
        print_help(command, summary, groups, sys.argv[1:])
        return
    _require_known_flags(command, sys.argv[1:])
    if command in COMMANDS_WITH_FOLDERS:
        _require_writable(sys.argv[1:])
    sys.argv[1:] = flags_first(sys.argv[1:], sweeps_by_name="sweep" in groups)
    try:
        with mistakes_explained(command):
            main()
    except KeyboardInterrupt:  # before there was a job, which prints more
        print("Stopped.", file=sys.stderr)
        raise SystemExit(130) from None


def _tolerate_any_terminal() -> None:
    """Keep the result of a command free of how it is shown, here and in the processes that it starts."""
    # Redirected output is cp1252 on Windows and ASCII under LANG=C: a γ in a log line would end the training.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    os.environ["PYTHONIOENCODING"] = f"{getattr(sys.stdout, 'encoding', None) or 'utf-8'}:replace"
    # Figures are drawn into files. A notebook's kernel names a backend here that other environments may lack.
    os.environ.pop("MPLBACKEND", None)


def _require_known_flags(command: str, arguments: list[str]) -> None:
    """Refuse an unknown flag and explain how settings are given: argparse would only call `--alpha` unknown."""
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in FLAGS:
            key = flag.lstrip("-").replace("-", "_")
            print(f"{flag}: there is no such flag. Settings are given as key=value.", end=" ", file=sys.stderr)
            print(explain_unknown_key(key, list_keys(command)), file=sys.stderr)
            raise SystemExit(2)


def _answer_shell(command: str, groups: list[str]) -> None:
    """Print what --shell-completion asks for."""
    sys.argv += arguments_of_the_line()
    try:
        if answer := answer_shell(command, groups, sys.argv[1:]):
            print(answer)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _require_usable_arguments(arguments: list[str], groups: list[str]) -> None:
    """Refuse own YAML that is missing or would not be read, and a value of a group that is no name of an option."""
    try:
        require_new_names(own_folders(arguments))
        require_options(arguments, groups)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _require_writable(arguments: list[str]) -> None:
    """Refuse a job whose folder cannot be made: Hydra, which makes it, would end with a traceback."""
    others = split_config_dir(arguments)[1]
    if any(argument.startswith("--") and argument != "--multirun" for argument in others):
        return  # --cfg and its kin write nothing
    named = [a.partition("=")[2].strip("'\"") for a in arguments if a.startswith(FOLDER_KEYS)]
    folder = Path(named[-1] if named and "${" not in named[-1] else "outputs").absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    fault = None
    if not os.access(there, os.W_OK):
        fault = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
    elif shutil.disk_usage(there).free < MIN_FREE_BYTES:
        fault = errno.ENOSPC
    if fault is not None:
        print(UnwritableFile(fault, os.strerror(fault), short_path(folder)), file=sys.stderr)
        raise SystemExit(1)


def flags_first(arguments: list[str], sweeps_by_name: bool = False) -> list[str]:
    """Move -m and --config-dir to the front: argparse takes no overrides after a flag that stands behind overrides.

    Args:
        arguments: of the command line.
        sweeps_by_name: add -m where sweep=NAME stands without it, a mode or another flag. A file in conf/sweep/ sets
            hydra.mode, but Hydra 1.4 follows it on the command line and in the command's own file alone.
    """
    flags = ("-m", "--multirun")
    asked = any(argument in flags for argument in arguments)
    own_yaml, others = split_config_dir([argument for argument in arguments if argument not in flags])
    if sweeps_by_name and not asked and not any(argument.startswith(("-", "hydra.mode=")) for argument in others):
        asked = any(argument.startswith("sweep=") and argument != "sweep=null" for argument in others)
    return ["-m"] * asked + own_yaml + others
