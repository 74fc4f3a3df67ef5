"""The examples of docs/extending.md work as printed: they are applied to a copy of the project and run there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import SMALL, environment, only_run, read_json, read_rows

TOP = Path(__file__).resolve().parents[2]
PAGE = (TOP / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = re.compile(r'^```(?:python|yaml) title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
CHANGES = re.compile(r"^```diff\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def extended_project(tmp_path: Path, title: str) -> Path:
    """Copy the package, with the files and the changes of one example."""
    project = tmp_path / "project"
    for folder in ("src", "conf"):
        shutil.copytree(TOP / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    body = EXAMPLES[title]
    for name, content in FILES.findall(body):
        assert not (project / name).exists(), f"{name} exists already"
        (project / name).write_text(content, encoding="utf-8")
    for change in CHANGES.findall(body):
        apply(change, project)
    return project


def apply(change: str, project: Path) -> None:
    """Apply each hunk to its old lines, which must be found once in the file."""
    for part in re.split(r"^--- a/.+\n", change, flags=re.MULTILINE)[1:]:
        name, *hunks = re.split(r"^@@\n", part, flags=re.MULTILINE)
        path = project / name.removeprefix("+++ b/").strip()
        content = path.read_text(encoding="utf-8")
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            assert content.count(before) == 1, f"{path.name} does not hold this once:\n{before}"
            content = content.replace(before, after)
        path.write_text(content, encoding="utf-8")


def command(project: Path, cwd: Path, name: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", f"safe_exp.{name}", *arguments],
        cwd=cwd, env=environment(PYTHONPATH=str(project / "src")), capture_output=True, text=True, timeout=180,
    )  # fmt: skip


def train(project: Path, cwd: Path, *overrides: str, logger: str = "none") -> Path:
    done = command(project, cwd, "train", *overrides, *SMALL, f"logger={logger}")
    assert done.returncode == 0, done.stderr
    return only_run(cwd)


def predict(project: Path, run: Path, *overrides: str) -> subprocess.CompletedProcess:
    article = "text=a senator in a boat", "caption=a boat"
    return subprocess.run(
        [sys.executable, "-m", "safe_exp.predict", f"run={run}", *article, *overrides],
        cwd=run, env=environment(PYTHONPATH=str(project / "src")), capture_output=True, text=True, timeout=180,
    )  # fmt: skip


def test_every_example_of_the_page_has_a_test():
    assert list(EXAMPLES) == [
        "A captioner: naming colours",
        "A reader: one text file an article",
        "A variant: settings alone",
        "A variant: new arithmetic",
        "A logger: JSON lines",
    ]


@pytest.mark.parametrize("title", ["A captioner: naming colours", "A reader: one text file an article"])
def test_a_captioner_and_a_reader_are_one_file_of_code_and_one_of_values(title):
    assert not CHANGES.findall(EXAMPLES[title])
    code, values = (Path(name) for name, _ in FILES.findall(EXAMPLES[title]))
    assert (code.suffix, values.suffix) == (".py", ".yaml")
    assert code.stem == values.stem


@pytest.mark.parametrize(
    ("title", "group", "option"),
    [("A captioner: naming colours", "captioner", "colours"),
     ("A reader: one text file an article", "data", "text_files")],
)  # fmt: skip
def test_help_lists_a_new_option_and_its_keys_are_checked(title, group, option, tmp_path):
    project = extended_project(tmp_path, title)
    shown = command(project, tmp_path, "train", f"{group}={option}", "--help")
    assert shown.returncode == 0, shown.stderr
    assert re.search(rf"^  {group}: .*(?:\n {{4}}.*)*\b{option}\b", shown.stdout, re.MULTILINE)
    refused = command(project, tmp_path, "train", f"{group}={option}", f"{group}.root_of_all=1", "--cfg", "job")
    assert f"{group}.root_of_all: there is no such key." in refused.stderr


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_changes_of_an_example_fit_the_code(title, tmp_path):
    extended_project(tmp_path, title)


@pytest.mark.parametrize("title", ["A variant: settings alone", "A variant: new arithmetic"])
def test_a_variant_is_files_of_its_own_and_edits_nothing(title):
    assert not CHANGES.findall(EXAMPLES[title])


@pytest.mark.slow
def test_the_captioner_describes_pictures_in_words_of_the_vocabulary(tmp_path):
    project = extended_project(tmp_path, "A captioner: naming colours")
    run = train(project, tmp_path, "captioner=colours")
    words = read_json(run / "artifacts" / "tokenizer.json")["model"]["vocab"]
    assert {"blue", "grey", "green", "black"} <= words.keys()
    assert read_json(run / "artifacts" / "data_manifest.json")["settings"]["captioner"]["name"] == "colours"
    assert read_json(run / "metrics.json")["data"]["test"] == 12
    (tmp_path / "elsewhere").mkdir()
    scored = command(project, tmp_path / "elsewhere", "evaluate", f"run={run}", "data.articles=60")
    assert scored.returncode == 0, scored.stderr
    assert read_json(only_run(tmp_path / "elsewhere") / "metrics.json")["data"]["test"] == 60


@pytest.mark.slow
def test_the_reader_reads_text_files_and_leaves_out_what_has_no_label(tmp_path):
    project = extended_project(tmp_path, "A reader: one text file an article")
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(40):
        label = ("fake", "real")[number % 2]
        body = " ".join(f"word{(number * step) % 17}" for step in range(1, 12))
        (texts / f"{label}-{number:03d}.txt").write_text(f"Title {number}\n{body} {label}", encoding="utf-8")
    (texts / "notes.txt").write_text("not an article", encoding="utf-8")
    overrides = [item for item in SMALL if not item.startswith("data.articles")]
    done = command(project, tmp_path, "train", "data=text_files", "data.root=texts", "model=text_only", *overrides)
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    manifest = read_json(run / "artifacts" / "data_manifest.json")
    assert manifest["counts"]["all"] == {"articles": 40, "fake": 20, "real": 20}
    assert manifest["left_out"]["by_reason"] == {"name begins with no label": 1}
    asked = command(project, tmp_path, "predict", f"run={run}", "data=text_files", "data.root=texts")
    assert asked.returncode == 0, asked.stderr
    answers = [json.loads(line) for line in asked.stdout.splitlines()]
    assert len(answers) == 41  # the notes too, since predict needs no label
    assert not [answer for answer in answers if "error" in answer]


@pytest.mark.slow
def test_the_variant_of_settings_alone_trains_both_halves_of_the_similarity_loss(tmp_path):
    project = extended_project(tmp_path, "A variant: settings alone")
    metrics = read_json(train(project, tmp_path, "model=apart") / "metrics.json")["test"]
    weighed = 0.4 * metrics["loss_prediction"] + 0.6 * metrics["loss_similarity"]
    assert metrics["loss"] == pytest.approx(weighed, rel=1e-5)


@pytest.mark.slow
def test_the_variant_of_new_arithmetic_trains_and_its_gradient_is_autograd_s(tmp_path):
    project = extended_project(tmp_path, "A variant: new arithmetic")
    check = PYTHON.findall(EXAMPLES["A variant: new arithmetic"])[-1]
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=tmp_path, env=environment(PYTHONPATH=str(project / "src")), capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr
    run = train(project, tmp_path, "model=product")
    assert read_json(run / "metrics.json")["epochs"] == 2
    answered = predict(project, run)
    assert json.loads(answered.stdout).keys() >= {"verdict", "similarity"}, answered.stderr
    refused = predict(project, run, "explain=true")
    assert refused.returncode == 1
    assert "the logit of model=product is not a sum over the article's phrases" in refused.stderr


@pytest.mark.slow
def test_the_logger_writes_each_epoch_s_figures_as_the_csv_files_have_them(tmp_path):
    project = extended_project(tmp_path, "A logger: JSON lines")
    run = train(project, tmp_path, logger="json_lines")
    lines = [json.loads(line) for line in (run / "epochs.jsonl").read_text(encoding="utf-8").splitlines()]
    for name in ("train/loss", "val/auroc"):
        logged = [(line["epoch"], line[name]) for line in lines if name in line]
        rows = [row for row in read_rows(run / "logs" / "version_0" / "metrics.csv") if row[name]]
        assert logged == [(int(row["epoch"]), pytest.approx(float(row[name]))) for row in rows]
        assert {epoch for epoch, _ in logged} >= {0, 1}


def test_the_examples_pass_the_linter(tmp_path):
    for title in EXAMPLES:
        project = extended_project(tmp_path / title.replace(" ", "_").replace(":", ""), title)
        shutil.copy(TOP / "pyproject.toml", project)
        for check in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *check, "--no-cache", "src"]
            done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
