"""kill -9 at any moment: no file is half-written, and the resumed run ends with the same weights, bit for bit."""

import random
import re
import time
from pathlib import Path

import pytest

from tests.commands import read_json, read_metrics
from tests.faults import forked
from tests.faults.forked import Ended, Kill
from tests.faults.whole import broken_files, have_same_weights, read_weights

RUN = ("data.articles=120", "trainer.max_epochs=4", "model.num_filters=4", "model.feature_dim=4", "data.batch_size=16",
       "model.gamma=0.5", "data.workers=1", "hydra.run.dir=run")  # fmt: skip
STEPS = 4 * 5  # 4 epochs; of the 120 articles 72 are for training

# The number of moments in each phase; each is drawn from the changes of files that the undisturbed run made in it.
PHASES = {
    "making the built-in articles": (2, r"^data/synthetic"),
    "preparing parts": (2, r"^data/prepared.*parts-of"),
    "joining them": (2, r"^data/prepared/(?!.*parts-of)|^\d+\.parquet"),
    "starting the run": (1, r"^run/\.hydra|^run/logs/run"),
    "writing artifacts": (1, r"^run/artifacts"),
    "writing a checkpoint": (4, r"^run/checkpoints"),
    "logging": (1, r"^run/logs/version"),
    "writing results": (3, r"^run/(figures|\.?predictions|\.?metrics|\.?status)"),
}
IN_STEPS, BY_TIME = 2, 2
DRAWN_BY = 20  # the seed of the moments


def find_phase(path: str) -> str | None:
    return next((name for name, (_, pattern) in PHASES.items() if re.search(pattern, path)), None)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, Ended]:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = forked.run("train", *RUN, cwd=folder)
    assert done.code == 0, done.printed
    return folder, done


def moments(events: list[tuple[str, str]]) -> list[tuple[str, dict]]:
    """Draw the 20 kills: the name of each, and its arguments."""
    random_numbers = random.Random(DRAWN_BY)
    drawn: list[tuple[str, dict]] = []
    for phase, (count, _) in PHASES.items():
        numbers = [number for number, (_, path) in enumerate(events) if find_phase(path) == phase]
        for number in sorted(random_numbers.sample(numbers, count)):
            operation, path = events[number]
            drawn.append((f"{phase}: before change {number}, {operation} {path}", {"kill": Kill(event=number)}))
    for step in sorted(random_numbers.sample(range(1, STEPS), IN_STEPS)):
        drawn.append((f"training: in step {step + 1} of {STEPS}", {"kill": Kill(step=step)}))
    for share in sorted(random_numbers.uniform(0.2, 0.9) for _ in range(BY_TIME)):
        drawn.append((f"after {share:.0%} of the time", {"share": share}))
    return drawn


def resume(folder: Path) -> Ended:
    """Resume the run; start it again if it was killed before there was anything to resume."""
    done = forked.run("train", "resume=run", cwd=folder, watch=False)
    nothing_there = ("there is no such folder", "there is no run in this folder", "nothing has been trained yet")
    if any(said in done.printed for said in nothing_there):
        done = forked.run("train", *RUN, cwd=folder, watch=False)
    return done


def differences(folder: Path, reference: Path) -> list[str]:
    """List the differences between the resumed run and the undisturbed one."""
    found = []
    for name in ("best.ckpt", "last.ckpt"):
        paths = (where / "run" / "checkpoints" / name for where in (folder, reference))
        if not have_same_weights(*map(read_weights, paths)):
            found.append(f"weights of {name}")
    one, other = (read_metrics(where / "run") for where in (folder, reference))
    found += [f"metrics: {key}" for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    one, other = ((where / "run" / "predictions.csv").read_bytes() for where in (folder, reference))
    return found + ["predictions"] * (one != other)


@pytest.mark.slow
def test_a_run_killed_at_20_random_moments_leaves_only_whole_files_and_resumes_to_the_same_weights(
    undisturbed, tmp_path
):
    reference, done = undisturbed
    drawn = moments(done.events)
    assert len(drawn) == 20
    faults = []
    for number, (name, how) in enumerate(drawn):
        folder = tmp_path / f"{number:02d}"
        folder.mkdir()
        if "share" in how:
            killed = forked.run("train", *RUN, cwd=folder, kill_after=how["share"] * done.seconds, watch=False)
        else:
            killed = forked.run("train", *RUN, cwd=folder, **how)
        print(f"{number + 1:2d}. {name}: exit code {killed.code}")
        if killed.code != -9 and "share" not in how:
            faults.append(f"{name}: was not killed, but ended with {killed.code}: {killed.printed[-500:]}")
            continue
        faults += [f"{name}: {path} is not whole: {error}" for path, error in broken_files(folder).items()]
        if killed.code == 0:
            continue  # the machine was faster than before, and the run at its end
        resumed = resume(folder)
        if resumed.code != 0:
            finished = "this run has finished" in resumed.printed and (folder / "run" / "metrics.json").exists()
            if not finished:
                faults.append(f"{name}: resuming ended with {resumed.code}: {resumed.printed[-500:]}")
                continue
        faults += [f"{name}: {path} is not whole in the end: {error}" for path, error in broken_files(folder).items()]
        faults += [f"{name}: {difference} differ" for difference in differences(folder, reference)]
    assert not faults, "\n".join(faults)


@pytest.mark.slow
def test_a_run_killed_again_and_again_in_the_same_folder_still_ends_with_the_same_weights(undisturbed, tmp_path):
    reference, _ = undisturbed
    for number, kill in enumerate((Kill(step=3), Kill(event=20), Kill(step=4), Kill(step=2), Kill(event=30))):
        command = RUN if number == 0 else ("resume=run",)
        killed = forked.run("train", *command, cwd=tmp_path, kill=kill)
        assert killed.code == -9, killed.printed
        assert broken_files(tmp_path) == {}
    assert resume(tmp_path).code == 0
    assert differences(tmp_path, reference) == []
    assert read_json(tmp_path / "run" / "status.json")["resumed"] == 5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to look for processes in")
def test_the_processes_of_a_preparation_end_with_the_one_that_was_killed(tmp_path):
    prepare = ("prepare", "data=synthetic", "data.articles=400", "captioner=visual_words", "data.workers=2",
               "hydra.run.dir=job")  # fmt: skip
    process = forked.start(*prepare, cwd=tmp_path, watch=False)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("data/prepared/.*parts-of*/0*.parquet")):  # its processes are at work
        assert process.is_alive(), forked.ended(process).printed
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.join()
    assert len(children) >= 2
    while left := [child for child in children if Path(f"/proc/{child}").exists() and not _is_zombie(child)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert broken_files(tmp_path) == {}
    done = forked.run(*prepare, cwd=tmp_path, watch=False)
    assert done.code == 0, done.printed
    assert "Going on with a preparation that was interrupted" in done.printed


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
