"""How every command begins: its --help, or Hydra.

Hydra's own --help copies all configs 120 times to list its groups, which takes a second.
"""

import sys
from collections.abc import Callable

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from safe_exp.config import CONF

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
    """Print the command's help if it is asked for, else run `main`, which Hydra has wrapped."""
    if help_asked():
        print_help(command, summary, groups)
        return
    sys.argv[1:] = multirun_first(sys.argv[1:])
    main()


def multirun_first(arguments: list[str]) -> list[str]:
    """The arguments with -m in front: argparse takes no overrides after a flag that stands behind overrides."""
    flags = ("-m", "--multirun")
    asked = any(argument in flags for argument in arguments)
    return ["-m"] * asked + [argument for argument in arguments if argument not in flags]


def help_asked() -> bool:
    return any(argument in ("--help", "-h") for argument in sys.argv[1:])


def print_help(command: str, summary: str, groups: list[str]) -> None:
    """Print how a command is used, with the values that the rest of the command line gives."""
    overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_yaml(compose(command, overrides=overrides))
    options = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in groups}
    listed = "\n".join(f"  {group}: {', '.join(options[group])}" for group in groups)
    indented = "".join(f"  {line}\n" for line in config.splitlines())
    print(HELP.format(summary=summary, command=command, groups=listed, config=indented), end="")
