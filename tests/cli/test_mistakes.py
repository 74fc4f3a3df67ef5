"""Messages about command lines that cannot be used."""

import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import CompactHydraException

from safe_exp.cli.mistakes import explain_error, list_options, require_options
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.data.captioners import build_image_captioner
from safe_exp.data.reading.readers import build_reader
from safe_exp.system.errors import UserError
from tests.commands import run
from tests.made import compose_config


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


PACKAGE = "# @package _global_\n"


@pytest.mark.parametrize(
    ("override", "content", "said"),
    [
        ("data=mine", "defaults: [table, _self_]\ncolumns: {txt: body}",
         "data.columns.txt: there is no such key. Did you mean data.columns.text? --help lists them all."),
        ("experiment=mine", f"{PACKAGE}model:\n  num_filtres: 4",
         "model.num_filtres: there is no such key. Did you mean model.num_filters? --help lists them all."),
        ("experiment=mine", f"{PACKAGE}model:\n  num_filters: four", "model.num_filters=four: expected a whole numb"),
        ("experiment=mine", f"{PACKAGE}data:\n  split: half", "data.split=half: expected one of random, source, date,"),
        ("experiment=mine", "trainer:\n  max_epochs: 2", "its first line must be '# @package _global_', since it sets"),
        ("sweep=mine", "hydra: {mode: MULTIRUN}", "its first line must be '# @package _global_', since it sets"),
        ("captioner=mine", "name: patches\nbatch_size: 3",
         "captioner.batch_size is a key of some options of captioner alone, and the file does not say of which. Begin"),
        ("data=mine", "defaults: [tabel]",
         "there is no data/tabel.yaml, which its defaults name. Did you mean table?"),
        ("experiment=mine", f"{PACKAGE}defaults: [override /modl: safe]", "Could not override 'modl'. No match in the"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_of_one_s_own_is_told_with_the_file(override, content, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", override])
    group = override.partition("=")[0]
    (tmp_path / "conf" / group).mkdir(parents=True)
    (tmp_path / "conf" / group / "mine.yaml").write_text(content, encoding="utf-8")
    assert explain(override).startswith(f"conf/{group}/mine.yaml: {said}")


def test_options_of_one_s_own_are_listed_with_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "--config-dir", str(tmp_path)])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_text("defaults: [safe]", encoding="utf-8")
    assert "tiny, visual_only." in explain("model=tny")
    assert list_options("model") == sorted(["tiny", *(path.stem for path in (CONF / "model").glob("*.yaml"))])


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(f"{PACKAGE}model: {{num_filters: 4\ndata:\n")
    done = run("train", "experiment=mine", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("conf/experiment/mine.yaml, line 3: this is not valid YAML (expected ',' or '}'")


@pytest.mark.parametrize("override", ["data=mine", "captioner=mine"])
def test_settings_without_their_type_are_refused(override, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    group = override.partition("=")[0]
    (tmp_path / "conf" / group).mkdir(parents=True)
    path = tmp_path / "conf" / group / "mine.yaml"
    path.write_text("name: table\nroot: t.csv" if group == "data" else "name: visual_words", encoding="utf-8")
    if group == "data":
        with pytest.raises(
            UserError, match=r"^\d+ keys of data have no value, such as data\.batch_size\. In a YAML file"
        ):
            compose_config(override)
        path.write_text("defaults: [/base/data@_here_, _self_]\nname: table\nroot: t.csv", encoding="utf-8")
    config = compose_config(override)
    build = {"data": lambda: build_reader(config.data, config.captioner),
             "captioner": lambda: build_image_captioner(config.captioner)}  # fmt: skip
    with pytest.raises(UserError, match=rf"'- /schema/{group}/\w+_schema@_here_'"):
        build[group]()


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


def test_a_group_wants_the_name_of_an_option_and_a_key_of_the_same_name_takes_anything():
    with pytest.raises(UserError, match=r"sweep=null: expected one of ablation, .*To have none, leave it out\."):
        require_options(["seed=1", "sweep=null"], ["model", "sweep"])
    with pytest.raises(UserError, match=r"model=3: expected one of .*visual_only\.$"):
        require_options(["model=3"], ["model", "sweep"])
    require_options(["sweep=2024", "model=3d", "model.alpha=0.3"], ["model"])
