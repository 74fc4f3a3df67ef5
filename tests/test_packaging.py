"""Versions, packages, the container and the jobs that run a sweep elsewhere."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.commands import environment, read_json
from tests.sweep.test_sweep import LONG, wait_for

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def pins(name: str) -> list[Requirement]:
    lines = (TOP / "constraints" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned(name: str, python: str) -> dict[str, str]:
    """Read the versions of a constraints file that hold for a Python; each has to be one exact, public version."""
    held = [pin for pin in pins(name) if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    versions = {canonicalize_name(pin.name): re.fullmatch(r"==([\w.]+)", str(pin.specifier)) for pin in held}
    assert len(versions) == len(held)
    assert all(versions.values())
    return {key: found[1] for key, found in versions.items()}


def declared() -> list[Requirement]:
    """List what pyproject.toml asks for, without the extra for the coming versions."""
    extras = PROJECT["optional-dependencies"]
    assert "hydra-optuna-sweeper" in extras["optuna5"][0]
    texts = [*PROJECT["dependencies"], *(text for name in extras if name != "optuna5" for text in extras[name])]
    return [each for each in map(Requirement, texts) if each.name != "safe-exp"]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tested_versions_are_within_the_ranges(python):
    tested = pinned("tested.txt", python)
    in_dev = [each for each in declared() if canonicalize_name(each.name) in tested]
    assert {"torch", "pytorch-lightning", "hydra-core", "omegaconf", "numpy", "wandb"} < {each.name for each in in_dev}
    for each in in_dev:
        version = tested[canonicalize_name(each.name)]
        assert each.specifier.contains(version, prereleases=True), f"{each} and {version}"


def test_the_coming_versions_are_within_the_ranges_and_are_others_than_those_of_today():
    coming, today = pinned("next.txt", "3.11"), pinned("tested.txt", "3.11")
    ranges = {canonicalize_name(each.name): each.specifier for each in map(Requirement, PROJECT["dependencies"])}
    for name, version in coming.items():
        assert today[name] != version
        assert name not in ranges or ranges[name].contains(version, prereleases=True), name
    assert set(ranges) & set(coming) == {"hydra-core", "omegaconf"}


def test_compromised_releases_are_not_taken():
    (lightning,) = [each for each in map(Requirement, PROJECT["dependencies"]) if each.name == "pytorch-lightning"]
    allowed = lightning.specifier.filter(["2.6.1", "2.6.2", "2.6.3", "2.6.4"])
    assert list(allowed) == ["2.6.1", "2.6.4"]


def test_the_same_pythons_are_named_everywhere():
    named = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert named == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    workflow = yaml.safe_load((TOP / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["ci"]["strategy"]["matrix"]["python"] == PYTHONS
    assert workflow["jobs"]["ci"]["steps"][-1]["run"] == ".ci/run"


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((TOP / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_container_copies_what_the_installation_needs():
    recipe = (TOP / "Containerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.*)$", recipe, re.MULTILINE) for name in line.split()[:-1]]
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints", "src", "conf", "deploy"} == set(copied)
    let_through = re.findall(r"^!(.*)$", (TOP / ".containerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(let_through) == set(copied)
    extras = re.search(r'"\.\[(.*)\]"', recipe)[1].split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()


def test_the_jobs_call_the_command_that_starts_or_resumes_a_sweep():
    script = TOP / "deploy" / "sweep.sh"
    assert os.access(script, os.X_OK)
    _, job = yaml.safe_load_all((TOP / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    recipe = (TOP / "Containerfile").read_text(encoding="utf-8")
    assert container["command"] == [f"{re.search(r'WORKDIR (/opt/.*)', recipe)[1]}/deploy/sweep.sh"]
    mounted = container["volumeMounts"][0]["mountPath"]
    folder, sweep = container["args"]
    assert folder.startswith(f"{mounted}/")
    task = yaml.safe_load((TOP / "deploy" / "skypilot.yaml").read_text(encoding="utf-8"))
    assert f"deploy/sweep.sh {folder} {sweep}" in task["run"]
    assert mounted in task["file_mounts"]
    assert (TOP / "conf" / "sweep" / f"{sweep.removeprefix('sweep=')}.yaml").exists()


@pytest.mark.slow
def test_the_command_starts_a_sweep_and_after_a_kill_goes_on_with_it(tmp_path):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    folder = tmp_path / "a folder"
    command = [TOP / "deploy" / "sweep.sh", folder, *LONG, "trainer.max_epochs=30", "seed=0,1"]
    found = environment(PATH=f"{python.parent}:{os.environ['PATH']}")
    silent = dict(cwd=tmp_path, env=found, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, start_new_session=True, **silent)
    wait_for(lambda: list(folder.glob("1/checkpoints/last.ckpt")) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)  # as a preempted pod ends at the latest
    process.communicate()
    before = (folder / "0" / "metrics.json").read_bytes()
    assert not (folder / "1" / "metrics.json").exists()
    done = subprocess.run(command, timeout=180, check=False, **silent)
    assert done.returncode == 0, done.stderr
    assert "1 have finished, 1 are run now" in done.stderr
    assert [read_json(folder / number / "status.json")["state"] for number in "01"] == ["finished", "finished"]
    assert (folder / "0" / "metrics.json").read_bytes() == before
