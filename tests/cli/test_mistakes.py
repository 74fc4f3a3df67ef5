"""Messages about command lines that cannot be used."""

import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException

from safe_exp.cli.mistakes import explain_error
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.system.errors import UserError
from tests.commands import run


def explain(*overrides):
    register_schemas()
    with pytest.raises(CompactHydraException) as refused, initialize_config_dir(str(CONF), version_base="1.3"):
        compose("train", overrides=list(overrides))
    return explain_error(refused.value, "train")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.alpa=0.4", "model.alpa: there is no such key. Did you mean model.alpha? --help lists them all."),
        ("alpha=0.4", "alpha: there is no such key. Did you mean model.alpha? --help lists them all."),
        ("modl=safe", "modl: there is no such key. Did you mean model? --help lists them all."),
        ("xyzzy=1", "xyzzy: there is no such key. --help lists them all."),
        ("model.alpha=abc", "model.alpha=abc: expected a number."),
        ("trainer.max_epochs=1.5", "trainer.max_epochs=1.5: expected a whole number."),
        ("data.strict=perhaps", "data.strict=perhaps: expected true or false."),
        ("model.similarity_loss=both", "model.similarity_loss=both: expected one of real_only, both_classes."),
        ("model.filter_sizes=3", "model.filter_sizes=3: expected a list, as in 'model.filter_sizes=[3]'."),
        ("model.alpha", "model.alpha: expected key=value. A value with blanks"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(override, said):
    assert explain(override).startswith(said)


@pytest.mark.parametrize(
    ("override", "said", "shipped"),
    [
        (
            "model=sfe",
            "model=sfe: there is no such option. Did you mean model=safe? Options: ",
            {"no_similarity", "released", "safe", "similarity_only", "text_only", "visual_only"},
        ),
        ("data=xyz", "data=xyz: there is no such option. Options: ", {"fakenewsnet", "synthetic", "table"}),
    ],
)
def test_an_unknown_option_is_told_with_those_that_there_are(override, said, shipped):
    message = explain(override)
    assert message.startswith(said)
    assert message.endswith(".")
    assert shipped <= set(message.removeprefix(said).removesuffix(".").split(", "))


def test_a_key_of_the_chosen_option_is_known(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "data=table", "data.columns.txt=body"])
    assert explain("data=table", "data.columns.txt=body").startswith(
        "data.columns.txt: there is no such key. Did you mean data.columns.text?"
    )


def test_a_key_that_was_added_by_force_is_refused(tmp_path):
    """`+model.alpa=0.4` would silently train with the old alpha."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", overrides=["+model.alpa=0.4"])
    with pytest.raises(UserError, match=r"model\.alpa: there is no such key"):
        typed_config(composed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "model.alpa=1"), "model.alpa: there is no such key. Did you mean model.alpha?"),
        (("train", "model.alpha=-1"), "model.alpha=-1.0: expected a number >= 0."),
        (("train", "model.alpha=0.2,0.4"), "model.alpha=0.2,0.4: several values. Add -m to run each of them;"),
        (("train", "resume=nix"), "resume=nix: there is no such folder. Give that of a run,"),
        (("evaluate", "run=nix"), "run=nix: there is no such folder or file. Give the folder of a finished run"),
    ],
)
def test_the_message_stands_alone(tmp_path, arguments, said):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
