"""The start of every command: its --help, or checks of the command line and then Hydra.

Hydra's own --help copies all configs 120 times to list its groups, which takes a second.
"""

import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from safe_exp.cli.mistakes import explain_error, explain_unknown_key, list_keys, mistakes_explained
from safe_exp.config import CONF
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.system.errors import UnwritableFile
from safe_exp.system.files import short_path

COMMANDS_WITH_FOLDERS = ("train", "evaluate", "prepare", "baseline")  # commands whose jobs have a folder of their own
FOLDER_KEYS = ("hydra.run.dir=", "hydra.sweep.dir=", "resume=")
FLAGS = {  # those that `--hydra-help` lists
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info",
}  # fmt: skip
MIN_FREE_BYTES = 1 << 16  # for Hydra's notes and status.json

HELP = """{summary}

  python -m safe_exp.{command} [key=value …] [-m]

-m, --multirun   run every combination of comma-separated values: model.alpha=0.2,0.4,0.6
--cfg job        print the config and run nothing
--hydra-help     the flags that every Hydra application has

Groups (group=option)
{groups}

Keys and what they are set to now (key=value); conf/ says what each one means
{config}"""


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
    if _help_asked():
        _print_help(command, summary, groups)
        return
    _require_known_flags(command, sys.argv[1:])
    if command in COMMANDS_WITH_FOLDERS:
        _require_writable(sys.argv[1:])
    sys.argv[1:] = multirun_first(sys.argv[1:], sweeps_by_name="sweep" in groups)
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


def _require_writable(arguments: list[str]) -> None:
    """Refuse a job whose folder cannot be made: Hydra, which makes it, would end with a traceback."""
    if any(argument.startswith("--") and argument != "--multirun" for argument in arguments):
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


def multirun_first(arguments: list[str], sweeps_by_name: bool = False) -> list[str]:
    """Move -m to the front: argparse takes no overrides after a flag that stands behind overrides.

    Args:
        arguments: of the command line.
        sweeps_by_name: add -m where sweep=NAME stands without it, a mode or another flag. A file in conf/sweep/ sets
            hydra.mode, but Hydra 1.4 follows it on the command line and in the command's own file alone.
    """
    flags = ("-m", "--multirun")
    asked = any(argument in flags for argument in arguments)
    if sweeps_by_name and not any(argument.startswith(("-", "hydra.mode=")) for argument in arguments):
        asked = any(argument.startswith("sweep=") and argument != "sweep=null" for argument in arguments)
    return ["-m"] * asked + [argument for argument in arguments if argument not in flags]


def _help_asked() -> bool:
    return any(argument in ("--help", "-h") for argument in sys.argv[1:])


def _print_help(command: str, summary: str, groups: list[str]) -> None:
    """Print the command's use, groups and keys, with the values that the rest of the command line gives."""
    overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    try:
        with initialize_config_dir(str(CONF), **VERSION_BASE):
            config = OmegaConf.to_yaml(compose(command, overrides=overrides))
    except CompactHydraException as error:
        print(explain_error(error, command), file=sys.stderr)
        raise SystemExit(1) from None
    options = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in groups}
    listed = "\n".join(f"  {group}: {', '.join(options[group])}" for group in groups)
    # Places for settings of extensions (model.extra, logger.more) are left out while they are empty.
    indented = "".join(f"  {line}\n" for line in config.splitlines() if not line.endswith(": {}"))
    print(HELP.format(summary=summary, command=command, groups=listed, config=indented), end="")
