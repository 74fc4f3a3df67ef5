"""The folders of the user's own YAML, and files there that would not be read."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import SearchPathElement

from hydra_plugins.safe_exp_own_yaml import OwnYaml
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.runs.own_yaml import FLAG_PROVIDER, config_dir, own_folders, require_new_names, split_config_dir
from safe_exp.system.errors import UserError
from tests.commands import read_json, run
from tests.made import compose_config


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, with an empty conf/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train"])
    (tmp_path / "conf").mkdir()
    return tmp_path


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def paths(*arguments: str) -> list[Path]:
    return [folder.path for folder in own_folders(arguments)]


def note_start(run: Path, *sources: tuple[str, Path]) -> None:
    """Write what Hydra notes about the start of a run."""
    found = [{"provider": provider, "schema": "file", "path": str(path)} for provider, path in sources]
    notes = {"hydra": {"runtime": {"cwd": str(run.parent), "config_sources": found}}}
    write(run / ".hydra" / "hydra.yaml", yaml.safe_dump(notes))


@pytest.mark.parametrize("flag", [["--config-dir", "own"], ["--config-dir=own"], ["-cd", "own"]])
def test_the_flag_s_folder_and_that_of_the_working_folder_are_read(flag, here):
    (here / "own").mkdir()
    assert paths("model=safe", *flag, "seed=1") == [here / "own", here / "conf"]
    assert split_config_dir(["model=safe", *flag, "seed=1"]) == (flag, ["model=safe", "seed=1"])


def test_of_two_flags_the_later_one_counts_as_for_hydra():
    assert config_dir(["--config-dir", "one", "--config-dir=two"]) == "two"
    assert config_dir(["model=safe"]) is None


def test_a_folder_is_listed_once_and_the_project_s_own_never(here, monkeypatch):
    assert paths("--config-dir", "conf") == [here / "conf"]
    monkeypatch.chdir(CONF.parent)
    assert paths() == []


def test_without_the_folder_there_is_nothing_and_a_missing_one_is_refused(here):
    (here / "conf").rmdir()
    assert paths() == []
    with pytest.raises(UserError, match="--config-dir nix: there is no such folder"):
        paths("--config-dir", "nix")


def test_a_resumed_run_reads_the_folders_that_it_was_started_with(here):
    start = here / "start"
    for name in ("conf", "own"):
        (start / name).mkdir(parents=True)
    note_start(
        start / "run", ("main", CONF), ("safe_exp.working_folder", start / "conf"), ("command-line", start / "own")
    )
    assert paths("resume=start/run") == [start / "own", start / "conf"]
    (start / "conf").rmdir()
    assert paths("resume=start/run") == [start / "own", here / "conf"]  # it may have been moved here
    (start / "own").rmdir()
    with pytest.raises(
        UserError, match=r"resume=start/run: the run was started with --config-dir .*/start/own, and th"
    ):
        paths("resume=start/run")
    assert paths("resume=start/run", "--config-dir", "conf") == [here / "conf"]


@pytest.mark.parametrize("notes", ["", "hydra: 3", "hydra: {runtime: [1]}", "hydra: {runtime: {config_sources: [a]}}"])
def test_damaged_notes_of_a_run_name_no_folder(notes, here):
    write(here / "run" / ".hydra" / "hydra.yaml", notes)
    assert paths("resume=run") == [here / "conf"]


def test_an_option_of_one_s_own_is_composed_with_ours(here):
    write(here / "conf" / "model" / "tiny.yaml", "defaults:\n  - text_only\n  - _self_\nnum_filters: 3\n")
    assert compose_config("model=tiny").model.num_filters == 3


def test_a_file_with_the_name_of_one_of_ours_is_refused_unless_it_is_a_copy(here):
    own = here / "conf" / "model" / "safe.yaml"
    own.parent.mkdir()
    shutil.copy(CONF / "model" / "safe.yaml", own)
    require_new_names(own_folders([]))
    write(own, "alpha: 1\n")
    with pytest.raises(
        UserError, match=r"^conf/model/safe\.yaml: .*conf/model/safe\.yaml has the same name, and only one"
    ):
        require_new_names(own_folders([]))
    write(here / "conf" / "train.yaml", "seed: 3\n")
    with pytest.raises(UserError, match=r"\(2 such files\)\. Give yours another name, such as my_"):
        require_new_names(own_folders([]))


def test_a_file_in_the_place_of_a_type_is_refused(here):
    register_schemas()
    write(here / "conf" / "schema" / "data" / "table_schema.yaml")
    with pytest.raises(UserError, match=r"table_schema\.yaml: a type of safe_exp has the same name"):
        require_new_names(own_folders([]))


def test_a_name_in_both_folders_of_one_s_own_is_refused(here):
    write(here / "own" / "experiment" / "a.yaml", "seed: 1")
    write(here / "conf" / "experiment" / "a.yaml", "seed: 2")
    with pytest.raises(UserError, match=r"^conf/experiment/a\.yaml: own/experiment/a\.yaml has the same name"):
        require_new_names(own_folders(["--config-dir", "own"]))


class OtherProgram:
    """The search path of another Hydra program in the same environment."""

    def __init__(self, main: str) -> None:
        self.elements = [SearchPathElement("main", main)]

    def get_path(self):
        return self.elements

    def append(self, provider, path, anchor=None):
        self.elements.append(SearchPathElement(provider, path))


def test_other_programs_keep_their_own_search_path(here):
    other, ours = OtherProgram("/elsewhere/conf"), OtherProgram(f"file://{CONF}")
    for search_path in (other, ours):
        OwnYaml().manipulate_search_path(search_path)
    assert [element.path for element in other.elements] == ["/elsewhere/conf"]
    assert [element.path for element in ours.elements] == [f"file://{CONF}", f"file://{here / 'conf'}"]


TABLE_KEYS = ("images", "image_pattern", "image_separator", "records", "dialect")


@pytest.mark.parametrize("defaults", [["/schema/data/table_schema@_here_", "/base/data@_here_"], ["table"]])
def test_a_data_preset_takes_its_type_from_a_schema_or_from_a_preset_of_ours(defaults, here):
    columns = dict(id="key", title="headline", text="body", label="verdict") | dict.fromkeys(
        ("image", "caption", "source", "date", "split")
    )
    content = {"defaults": [*defaults, "_self_"], "name": "table", "root": "mine.csv", "columns": columns}
    content |= {} if defaults == ["table"] else dict.fromkeys(TABLE_KEYS)
    write(here / "conf" / "data" / "mine.yaml", yaml.safe_dump(content))
    data = compose_config("data=mine").data
    assert (type(data).__name__, data.root, data.columns.title) == ("TableDataConfig", "mine.csv", "headline")
    assert data.test_fraction == compose_config("data=table", "data.root=t").data.test_fraction


def test_hydra_notes_which_folders_were_read(here, monkeypatch):
    (here / "own").mkdir()
    monkeypatch.setattr(sys, "argv", ["train", "--config-dir", "own"])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sources = compose("train", return_hydra_config=True).hydra.runtime.config_sources
    assert {(s.provider, s.path) for s in sources} >= {(f.provider, str(f.path)) for f in own_folders(sys.argv)}
    assert FLAG_PROVIDER in {source.provider for source in sources}


@pytest.mark.slow
def test_a_sweep_with_yaml_of_one_s_own_runs_in_other_processes_and_is_resumed_from_another_folder(tmp_path):
    """The jobs run in joblib's processes; one of them asks for two processes and so gets a command of its own."""
    start, elsewhere = tmp_path / "start", tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(start / "conf" / "sweep" / "mine.yaml",
          "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {trainer: 'tiny,two'}}}\n")  # fmt: skip
    write(start / "conf" / "trainer" / "tiny.yaml", "defaults: [cpu]\nmax_epochs: 1\n")
    write(start / "conf" / "trainer" / "two.yaml", "defaults: [ddp]\naccelerator: cpu\ndevices: 2\nmax_epochs: 1\n")
    write(start / "own" / "experiment" / "mine.yaml",
          "# @package _global_\ndefaults: [override /logger: none]\nmodel: {num_filters: 4, feature_dim: 4}\n"
          "data: {articles: 60, batch_size: 16}\n")  # fmt: skip
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = run("train", "sweep=mine", "experiment=mine", "--config-dir", "own", *joblib, "hydra.sweep.dir=s", cwd=start)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(start / "s" / "0")
    done = run("train", "resume_sweep=../start/s", "-m", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert [read_json(start / "s" / job / "status.json")["state"] for job in "01"] == ["finished", "finished"]
    (start / "conf").rename(start / "gone")  # a run is asked without the files that it was made with
    done = run("predict", "run=../start/s/0", "text=a senator", "caption=a boat", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
