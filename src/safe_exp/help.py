"""--help of every command. Hydra's own copies all configs 120 times to list its groups, which takes a second."""

import sys

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
