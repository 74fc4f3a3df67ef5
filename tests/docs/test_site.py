"""The documentation site is built without a warning, and its reference pages list all keys and commands."""

import importlib.util
import re
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF
from safe_exp.system.versions import PACKAGE
from tests.commands import environment
from tests.docs.pages import TOP


@pytest.fixture(scope="module")
def keys_page():
    place = importlib.util.spec_from_file_location("generate_keys", TOP / "docs" / "generate_keys.py")
    module = importlib.util.module_from_spec(place)
    sys.modules["generate_keys"] = module  # dataclasses look up their module
    place.loader.exec_module(module)
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return module.keys_page() + "\n".join(module.table(module.schema_rows("train")))


def leaves(node, prefix=""):
    """List the keys of a config in another way than the page: from OmegaConf's containers."""
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize(
    "overrides", [[], ["data=table", "captioner=blip", "optimizer=adam", "scheduler=step"], ["captioner=visual_words"]]
)
def test_every_key_of_a_run_is_on_the_page(keys_page, overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", overrides=overrides)
    sections = {name: value for name, value in composed.items() if isinstance(value, DictConfig)}
    shown = set(re.findall(r"^\| `([\w.]+)`", keys_page, re.MULTILINE))
    for name, node in sections.items():
        missing = set(leaves(OmegaConf.to_container(node, resolve=False), f"{name}.")) - shown
        assert not missing


def test_the_page_has_the_defaults_and_the_meanings(keys_page):
    assert "| `model.feature_dim`<br>integer | `32` | D, length of the feature vectors t and v, >= 1" in keys_page
    assert "| `model.gamma`<br>number | `0.002`<br>any: `???`<br>sgd: `0.15` |" in keys_page
    assert "| `data.fold`<br>integer | `0` | number of the fold that is the test split, from 0 |" in keys_page


def test_every_key_has_a_meaning(keys_page):
    assert not re.findall(r"^\| `([\w.]+)`.*\|  \|$", keys_page, re.MULTILINE)


def test_every_key_is_on_one_line_with_its_comment_since_the_page_reads_no_other():
    for path in (PACKAGE / "config").glob("*.py"):
        broken = re.findall(r"^    (\w+): .* = \($", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not broken, f"{path.name}: the comments on {broken} are too long for a line"


def test_every_option_of_every_group_is_on_the_page(keys_page):
    groups = [path for path in CONF.iterdir() if path.is_dir() and f"\n## {path.name}\n" in keys_page]
    assert {"model", "data", "captioner", "trainer", "baseline"} <= {group.name for group in groups}
    for group in groups:
        listed = re.search(rf"^## {group.name}\n\n(.+)$", keys_page, re.MULTILINE).group(1)
        assert {path.stem for path in group.glob("*.yaml")} <= set(re.findall(r"`([^`]+)`", listed))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_names_every_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=TOP, env=environment(PYTHONPATH=str(TOP / "src")), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "site" / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    for path in CONF.glob("*.yaml"):
        if (PACKAGE / f"{path.stem}.py").exists():
            assert f'id="{path.stem}"' in commands
    assert (tmp_path / "site" / "notebooks" / "02-one-gradient-by-hand" / "index.html").exists()
