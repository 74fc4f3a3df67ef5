"""The examples of docs/your-own-yaml.md work as printed, in a folder that holds nothing else."""

import re
import shlex
import sys

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from safe_exp.cli.help import print_help
from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.data.captioners import build_image_captioner
from safe_exp.data.reading.readers import build_reader
from safe_exp.training.checks import check_config
from tests.commands import read_json, run
from tests.docs.pages import TOP, commands

PAGE = (TOP / "docs" / "your-own-yaml.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [c.text for c in commands() if c.page == "your-own-yaml.md" and c.mark == "run by"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the files of the page, which is the working folder."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train"])
    register_schemas()
    register_resolvers()
    return tmp_path


def compose_command(text: str, **options):
    _, _, module, *arguments = shlex.split(text)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(module.removeprefix("safe_exp."), [a for a in arguments if "=" in a], **options)


def command(word: str) -> str:
    (found,) = (text for text in COMMANDS if word in text and "--help" not in text)
    return found


def test_the_page_has_an_example_of_each_kind():
    groups = {name.split("/")[1] for name in FILES if name.startswith("conf/")}
    assert groups == {"experiment", "sweep", "data", "captioner", "logger", "callbacks", "optimizer"}
    for name in FILES:  # each is in a command
        group, _, option = name.removeprefix("conf/").removesuffix(".yaml").partition("/")
        assert not option or any(f"{group}={option}" in text for text in COMMANDS)


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_has_a_valid_config(text, project):
    config = typed_config(compose_command(text))
    if "safe_exp.train" in text:
        check_config(config)


def test_the_experiment_s_values_are_those_of_its_file(project, capsys):
    config = typed_config(compose_command(command("train experiment=short")))
    assert (config.model.variant, config.data.articles, config.trainer.max_epochs) == ("text_only", 60, 2)
    print_help("train", "", ["model"], ["experiment=short", "--help", "data.articles"])
    assert capsys.readouterr().out.startswith("  data.articles=60  ")


def test_the_sweep_s_grid_is_that_of_its_file(project):
    hydra = compose_command(command("sweep=widths"), return_hydra_config=True).hydra
    assert dict(hydra.sweeper.params) == {"model.filter_sizes": "[3],[3,4]", "seed": "0,1"}
    assert hydra.sweeper._target_.endswith("ResumableSweeper")


def test_the_table_is_read_by_the_columns_and_labels_of_its_preset(project):
    config = typed_config(compose_command(command("train data=posts")))
    reader = build_reader(config.data, config.captioner)
    articles = [reader.read(item) for item in reader.items()]
    assert [(a.id, a.title, a.caption, a.label) for a in articles] == [
        ("a1", "Boat found", "a boat", 1), ("a2", "Rain", "rain on a road", 0),
        ("a3", "Cure", "a root", 1), ("a4", "Vote", "a hall", 0),
    ]  # fmt: skip


def test_the_captioner_s_function_gives_vectors_of_patches(project):
    config = typed_config(compose_command(command("captioner=edges")))
    left = np.zeros((96, 96, 3), dtype=np.uint8)
    left[:, 8:] = 255  # one edge, in the first column of parts
    (grid,) = build_image_captioner(config.captioner).describe([Image.fromarray(left)])
    assert grid.vectors.shape == (6, 6, 6)
    np.testing.assert_allclose(grid.vectors[:, 0, :3], 1 / 16, atol=1e-6)  # one of 16 columns of a part differs
    assert not grid.vectors[:, 1:].any()


def test_classes_by_target_have_a_valid_config(project):
    config = typed_config(compose_command(command("logger=")))
    check_config(config)
    assert config.optimizer._target_ == "torch.optim.RMSprop"
    assert config.optimizer.lr == config.model.gamma == 0.002
    assert config.callbacks.extra["top3"]["save_top_k"] == 3
    assert config.logger.more["mine"]["_target_"] == "pytorch_lightning.loggers.CSVLogger"


@pytest.mark.slow
def test_the_sweep_of_the_page_runs(project):
    _, _, module, *arguments = shlex.split(command("sweep=widths"))
    done = run(module.removeprefix("safe_exp."), *arguments, cwd=project)
    assert done.returncode == 0, done.stderr
    widths = [read_json(path)["state"] for path in project.glob("multirun/*/*/*/status.json")]
    assert widths == ["finished"] * 4
