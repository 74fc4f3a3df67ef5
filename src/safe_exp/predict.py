"""python -m safe_exp.predict run=DIR …: ask a stored run about articles; JSON lines on standard output."""

import sys
from dataclasses import replace

import hydra
from omegaconf import DictConfig

from safe_exp.cli.mistakes import plainly
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.predict import ARTICLE_KEYS

register_schemas()

article: dict[str, str] = {}  # what the command line says of one article


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="predict")
@plainly
def main(composed: DictConfig) -> None:
    config = replace(typed_config(composed), **article)
    from safe_exp.inference.oracle import answers_to_standard_output  # torch takes seconds to import; --help should not

    failed = answers_to_standard_output(config)
    if failed:
        raise SystemExit(1)


def take_article(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """What describes one article, as typed, and the other arguments, which are Hydra's."""
    taken, others = {}, []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in ARTICLE_KEYS:
            taken[key] = value
        else:
            others.append(argument)
    return taken, others


if __name__ == "__main__":
    article, sys.argv[1:] = take_article(sys.argv[1:])
    run_command(main, "predict", "Ask a stored run about articles; one JSON object for each.", ["data"])
