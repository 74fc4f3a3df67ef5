"""python -m safe_exp.predict run=DIR …: ask a stored run about articles; JSON lines on standard output."""

import sys
from dataclasses import replace

import hydra
from omegaconf import DictConfig

from safe_exp.cli.mistakes import user_errors_as_messages
from safe_exp.cli.run_command import run_command
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.config.hydra_versions import VERSION_BASE
from safe_exp.config.predict import ARTICLE_KEYS

register_schemas()

article: dict[str, str] = {}  # keys of the one article that the command line describes, if it describes one


@hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="predict")
@user_errors_as_messages
def main(composed: DictConfig) -> None:
    """Answer all articles.

    Raises:
        SystemExit: with code 1, when an article could not be answered.
    """
    config = replace(typed_config(composed), **article)
    from safe_exp.inference.answers import (
        answer_to_standard_output,  # torch takes seconds to import; --help does without
    )

    failed = answer_to_standard_output(config)
    if failed:
        raise SystemExit(1)


def take_article(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split the arguments into the keys of one article, as typed, and the rest, which is Hydra's."""
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
