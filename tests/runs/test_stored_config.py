"""The config of a stored run: references are followed, and a stranger's folder has no function called."""

import pytest

from safe_exp.runs.open_run import open_run
from safe_exp.runs.stored_config import read_stored_config
from safe_exp.system.errors import UserError
from tests.made_run import write_run


def write(run, text):
    (run / ".hydra").mkdir(exist_ok=True)
    (run / ".hydra" / "config.yaml").write_text(text, encoding="utf-8")
    return run


def test_references_are_followed_and_one_minus_is_computed(tmp_path):
    run = write(
        tmp_path, "model: {alpha: 0.4, beta: '${one_minus:${model.alpha}}'}\nlr: ['${model.alpha}', 'a: ${lr[0]}']"
    )
    assert read_stored_config(run) == {"model": {"alpha": 0.4, "beta": 0.6}, "lr": [0.4, "a: 0.4"]}
    assert read_stored_config(run, "model") == {"alpha": 0.4, "beta": 0.6}


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:HOME}",
        "${${name}:HOME}",
        "${oc.${part}:HOME}",
        "${one_minus:${oc.env:HOME}}",
        "${oc.env:\n  HOME}",
        "\\\\${oc.env:HOME}",
        "before ${alpha} ${oc.env:HOME}",
    ],
)
def test_no_function_is_called(value, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "7")
    escaped = (
        value.replace("\\", "\\\\").replace(":", "\\x3a").replace("\n", "\\n")
    )  # a colon that the file does not show
    run = write(tmp_path, f'name: oc.env\npart: env\nalpha: 1\nvalue: "{escaped}"\nuser: "<${{value}}>"')
    found = read_stored_config(run)
    assert found["value"] == value
    assert found["user"] == f"<{value}>"


@pytest.mark.parametrize(
    "text", ["", "- 1", "model: 3", "model: {a: '${model.b}', b: '${model.a}'}", "model: {a: '${nowhere}'}", "model: ["]
)
def test_what_cannot_be_read_is_refused(text, tmp_path):
    with pytest.raises(UserError, match=r"\.hydra/config\.yaml cannot be read \(.*Was the copy complete"):
        read_stored_config(write(tmp_path, text), "model")


def test_a_job_of_the_alpha_sweep_is_opened(tmp_path):
    run = write_run(tmp_path / "run", "captioner=file")
    path = run / ".hydra" / "config.yaml"
    text = path.read_text()
    assert "  beta: 0.4\n" in text
    path.write_text(text.replace("  beta: 0.4\n", "  beta: ${one_minus:${model.alpha}}\n") + "later: ${of.no.use}\n")
    assert open_run(run).model.beta == 0.4
