"""The pages of the checkout: their links work, no text is on two pages, and the files and functions they name exist."""

import importlib
import re
from itertools import combinations
from pathlib import Path

import pytest

from tests.docs.pages import FENCE, PAGES, TOP

LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
MADE = "reference/"  # pages that are made while the site is built
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|yaml|md))?|[\w/-]+\.py)`")
NAMED_OBJECT = re.compile(r"`(safe_exp(?:\.\w+)+)`")
FOLDERS_OF_RUNS = {  # written by commands, so not in the checkout
    "artifacts/", "checkpoints/", "figures/", "logs/", "wandb/", ".hydra/", "fake/", "real/", "politifact/",
    "gossipcop/", ".hydra/overrides.yaml", ".hydra/config.yaml", "mlruns/", "tensorboard/", "checkpoints/top/",
}  # fmt: skip
PLACES = (TOP, TOP / "docs", TOP / "src" / "safe_exp")  # folders that a page's paths start from


def prose(page: Path) -> str:
    """Read a page without its code blocks."""
    return FENCE.sub("\n\n", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """List the anchor of each heading, as code hosts make it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sentences(page: Path) -> set[str]:
    """List the sentences and table rows that are too long to be a common phrase."""
    pieces = re.split(r"(?<=[.:;])\s|\n\n|\n(?=[|>-])", prose(page))
    return {joined for piece in pieces if len(joined := " ".join(piece.split())) >= 50}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_of_the_checkout(page):
    for target, anchor in LINK.findall(prose(page)):
        file = (page.parent / target).resolve() if target else page
        assert target.startswith(MADE) or file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md" and file.exists():
            assert anchor in anchors(file), f"{page.name}: {target}#{anchor}"


def test_no_text_is_on_two_pages():
    for one, other in combinations(PAGES, 2):
        assert not sentences(one) & sentences(other), f"{one.name}, {other.name}"


def test_figures_in_the_readme_equal_those_of_the_measurements():
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Measured\n(.*?)(?=^## )", readme, re.MULTILINE | re.DOTALL).group(1)
    figures = re.findall(r"\d+\.\d+(?: ± \d\.\d+)?|\d+ s\b", section)
    assert len(figures) > 12
    pages = [(TOP / "docs" / name).read_text(encoding="utf-8") for name in ("measured.md", "performance.md")]
    measured = "".join(pages).replace("**", "")
    assert not [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d])", measured)]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "extending.md"], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    named = set(NAMED_FILE.findall(prose(page))) - FOLDERS_OF_RUNS
    assert not [name for name in named if not any((place / name).exists() for place in PLACES)]


@pytest.mark.parametrize("name", sorted({name for page in PAGES for name in NAMED_OBJECT.findall(prose(page))}))
def test_modules_and_functions_that_a_page_names_exist(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)
