"""Loggers by `_target_`: a class in a module of the user's folder, and the refusals of what is none."""

import csv
import re
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from safe_exp.config import CONF, LoggerConfig, typed_config
from safe_exp.runs.loggers import check_loggers, close_loggers, log_results, open_loggers, require_known_loggers
from safe_exp.system.errors import UserError
from tests.commands import SMALL, run
from tests.made import compose_config

MODULE = '''
from pytorch_lightning.loggers import Logger

class Lines(Logger):
    """Writes each call as a line."""
    name, version = "lines", None

    def __init__(self, path, title="", tags=(), group="unset"):
        super().__init__()
        self.path = path
        self.line("open", title, tags, group)

    def line(self, *words):
        with open(self.path, "a") as file:
            print(*words, sep="|", file=file)

    def log_metrics(self, metrics, step=None):
        self.line("metrics", *metrics)

    def log_hyperparams(self, params):
        self.line("hyper-parameters")

    def finalize(self, status):
        self.line(status)

    def log_results(self, figures, predictions):
        self.line("results", *figures, len(predictions))

class Broken(Lines):
    def log_metrics(self, metrics, step=None):
        raise ConnectionResetError("no route to host")

class Plain:
    """Has of Lightning's interface what a logger must have, without inheriting from it."""
    def log_metrics(self, metrics, step=None): ...
    def log_hyperparams(self, params): ...
    def finalize(self, status): ...

Plain.Inner = Plain

an_object = Plain()
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the working folder, which `python -m` puts on the path."""
    name = f"my_loggers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def with_mine(target, **settings):
    return LoggerConfig(csv=False, wandb=False, project="lab", more={"mine": {"_target_": target, **settings}})


def test_a_class_is_built_with_its_arguments_and_gets_all_calls(module, tmp_path):
    path = tmp_path / "lines.txt"
    config = with_mine(f"{module}.Lines", path=str(path), title="t", tags=["a", "b"])
    require_known_loggers(config)
    check_loggers(config)
    (opened,) = open_loggers(config, tmp_path, "seed=1", None, {})
    opened.log_hyperparams({})
    opened.log_metrics({"train/loss": 0.5}, 0)
    log_results([opened], {"roc": tmp_path / "roc.png"}, [{"id": "a"}])
    close_loggers([opened], 1)
    assert path.read_text().splitlines() == [
        "open|t|['a', 'b']|unset", "hyper-parameters", "metrics|train/loss", "results|roc|1", "failed",
    ]  # fmt: skip


@pytest.mark.parametrize(("group", "expected"), [("sweep-7", "sweep-7"), (None, None)])
def test_the_run_s_own_folder_name_and_sweep_can_be_arguments(module, tmp_path, group, expected):
    job = tmp_path / "sweep" / "0"
    job.mkdir(parents=True)
    (job.parent / "multirun.yaml").write_text("")
    settings = {"path": "{folder}/x", "title": "{project} {name} {group} {sweep_folder}", "group": "{group}"}
    name = "seed={folder} data.root=${oc.env:HOME}"  # as it was given
    open_loggers(with_mine(f"{module}.Lines", **settings), job, name, group, {})
    sweep_folder = job.parent if group else job
    first = (job / "x").read_text().splitlines()[0]
    assert first == f"open|lab {name} {group or ''} {sweep_folder}|()|{expected}"


def test_a_class_need_not_inherit_from_lightning_s(module, tmp_path):
    (opened,) = open_loggers(with_mine(f"{module}.Plain"), tmp_path, "name", None, {})
    opened.log_metrics({"train/loss": 0.5}, 0)
    opened.log_graph(None)
    opened.after_save_checkpoint(None)
    opened.save()
    assert opened.save_dir is None
    close_loggers([opened], 0)
    assert not opened.broken


def test_lightning_s_own_loggers_can_be_named(tmp_path):
    config = with_mine("pytorch_lightning.loggers.CSVLogger", save_dir="{folder}", name="again")
    (opened,) = open_loggers(config, tmp_path, "name", None, {})
    opened.log_metrics({"train/loss": 0.5}, 0)
    close_loggers([opened], 0)
    rows = list(csv.DictReader((tmp_path / "again" / "version_0" / "metrics.csv").open()))
    assert rows[0]["train/loss"] == "0.5"


def test_a_class_within_a_class_can_be_named(module):
    check_loggers(with_mine(f"{module}.Plain.Inner"))


@pytest.mark.parametrize("target", [3, None, ""])
def test_a_target_that_names_nothing_is_refused(target):
    with pytest.raises(UserError, match=r"^logger\.more\.mine\._target_ must be given: the module and the name"):
        check_loggers(with_mine(target))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module.Lines", "this class cannot be imported"),
        ("MODULE.NoSuchClass", "this class cannot be imported"),
        ("MODULE.an_object", "expected a logger for Lightning, and it is no class"),
        ("Lines", "this class cannot be imported"),
        ("os.system", "expected a logger for Lightning, and it has no log_metrics, log_hyperparams, finalize"),
        ("pathlib.Path", "expected a logger for Lightning, and it has no log_metrics, log_hyperparams, finalize"),
    ],
)
def test_what_is_no_logger_is_refused(target, said, module):
    target = target.replace("MODULE", module) if isinstance(target, str) else target
    with pytest.raises(UserError, match=re.escape(f"logger.more.mine._target_={target}: {said}")):
        check_loggers(with_mine(target))


def test_a_module_that_cannot_be_read_is_refused_with_its_fault(tmp_path, monkeypatch):
    (tmp_path / "half_a_module.py").write_text("class Mine(")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"cannot be imported .*'\(' was never closed"):
        check_loggers(with_mine("half_a_module.Mine"))


def test_nothing_but_the_logger_is_built(module, tmp_path):
    inner = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "touched")}
    config = with_mine(f"{module}.Lines", path=str(tmp_path / "x"), title=inner)
    open_loggers(config, tmp_path, "name", None, {})
    assert "_target_" in (tmp_path / "x").read_text()
    assert not (tmp_path / "touched").exists()


def test_wrong_arguments_cost_one_warning_and_not_the_run(module, tmp_path, caplog):
    assert open_loggers(with_mine(f"{module}.Lines", colour="red"), tmp_path, "name", None, {}) == []
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("mine could not be started (")


def test_a_yaml_of_the_user_s_own_is_an_option(tmp_path):
    (tmp_path / "logger").mkdir()
    (tmp_path / "logger" / "lines.yaml").write_text(
        'more:\n  lines:\n    _target_: my_module.Lines\n    path: "{folder}/lines.txt"\n'
    )
    compose_config()  # registers the schemas
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", overrides=[f"hydra.searchpath=[{tmp_path}]", "logger=[csv,lines]"])
    assert typed_config(composed).logger.chosen == {
        "csv": {},
        "lines": {"_target_": "my_module.Lines", "path": "{folder}/lines.txt"},
    }


@pytest.mark.slow
def test_two_jobs_have_a_run_each_in_every_logger_and_one_that_breaks_costs_one_warning(tmp_path):
    for package in ("tensorboard", "mlflow"):
        pytest.importorskip(package)
    page = (Path(__file__).parents[3] / "docs" / "loggers.md").read_text(encoding="utf-8")
    for name, text in re.findall(r'```\w+ title="(my_\S+)"\n(.*?)```', page, re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "broken.py").write_text(MODULE)
    broken = ["+logger.more.broken._target_=broken.Broken", "+logger.more.broken.path='{folder}/broken.txt'"]
    done = run("train", "--config-dir", "my_conf", "-m", "seed=0,1", *SMALL, "logger=[csv,tensorboard,mlflow,lines]",
               *broken, "hydra.sweep.dir=s", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("broken could not log metrics (no route to host)") == 2  # one for each job
    assert "logger=[csv,tensorboard,mlflow,lines]" in "".join(done.stderr.split())
    for job in "01":
        folder = tmp_path / "s" / job
        first, *_, last = (folder / "lines.txt").read_text().splitlines()
        assert (first.split()[0], last) == (f"seed={job}", "success")
        assert len(list(folder.glob("tensorboard/*/events.out.tfevents.*.state"))) == 1
        assert (folder / "logs" / "version_0" / "metrics.csv").is_file()
    runs = list((tmp_path / "s" / "mlruns").glob("*/*/tags/mlflow.runName"))
    assert sorted(path.read_text().split()[0] for path in runs) == ["seed=0", "seed=1"]
