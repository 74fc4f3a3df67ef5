"""Canaries of safe_exp.cli.compat."""

import sys

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from safe_exp.config import CONF
from tests.canary import relies_on
from tests.made import compose_config


@pytest.fixture
def end(monkeypatch):
    """A function that runs a command with a key that does not exist, and returns its exit code."""
    compose_config()  # the schemas and resolvers
    monkeypatch.setattr(sys, "argv", ["train", "no_such_key=1"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(lambda config: None)

    def run():
        try:
            main()
        except SystemExit as ended:
            return ended.code
        finally:
            GlobalHydra.instance().clear()
        return 0

    return run


def test_hydra_ends_in_our_words_where_it_cannot_compose(end, capsys):
    with relies_on("hydra-core", "hydra.main no longer reports errors by hydra._internal.utils.run_and_report."):
        from safe_exp.cli.compat import composition_errors_told

        with composition_errors_told(lambda error: f"told: {type(error).__name__}"):
            assert end() == 1
        assert capsys.readouterr().err == "told: ConfigCompositionException\n"


def test_after_the_block_hydra_ends_in_its_own_words(end, capsys):
    with relies_on("hydra-core", "hydra._internal.utils.run_and_report no longer prints an error and exits with 1."):
        from safe_exp.cli.compat import composition_errors_told

        with composition_errors_told(str):
            pass
        assert end() == 1
        assert capsys.readouterr().err.startswith("Could not override 'no_such_key'.")
