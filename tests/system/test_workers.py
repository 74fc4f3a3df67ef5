"""Workers end when their parent is killed outright, and one that is killed costs its own task alone."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from safe_exp.system import workers
from safe_exp.system.workers import LostWorker, run_in_workers

PARENT = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from safe_exp.system.workers import end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(3, mp_context=context, initializer=end_with_parent) as pool:
        for _ in range(3):
            pool.submit(time.sleep, 600)
        while not all(process.is_alive() for process in pool._processes.values()) or len(pool._processes) < 3:
            time.sleep(0.01)
        time.sleep(1)  # the workers have begun
        print(*pool._processes, flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_busy_workers_end_when_their_parent_is_killed(tmp_path, method):
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script), method], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 3
        assert all(is_running(pid) for pid in workers)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if is_running(pid)] == []


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def work(task, send):
    """Do what the task says, in a worker."""
    kind, *rest = task
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "raise":
        raise ValueError(*rest)
    if kind == "lambda":
        return lambda: None
    if kind == "strange":
        raise StrangeError("one", "two")
    if kind == "sleep":
        try:
            send("sleeping")
            time.sleep(600)
        except KeyboardInterrupt:
            send("cleaned up")
            raise
    send(f"hello from {task[1]}")
    return os.getpid()


class StrangeError(Exception):
    """One that pickle takes apart and cannot put together again."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def run_all(tasks, processes):
    results, messages, started = {}, [], []
    run_in_workers(tasks, processes, work, results.__setitem__, lambda *found: messages.append(found), started.append)
    return [results[number] for number in range(len(tasks))], messages, started


def test_a_worker_that_is_killed_costs_its_own_task_alone():
    tasks = [("pid", 0), ("kill",), ("raise", "wrong"), ("pid", 3), ("lambda",), ("strange",), ("pid", 6)]
    results, messages, started = run_all(tasks, 2)
    assert started == list(range(7))
    assert sorted(messages) == [(number, f"hello from {number}") for number in (0, 3, 6)]
    assert isinstance(results[1], LostWorker)
    assert str(results[1]) == "The process of this job was killed (SIGKILL)."
    assert repr(results[2]) == "ValueError('wrong')"
    assert "could not be sent" in str(results[4])
    assert "The result could not be read" in str(results[5])
    pids = {results[number] for number in (0, 3, 6)}
    assert os.getpid() not in pids
    assert len(pids) <= 3
    assert not any(is_running(pid) for pid in pids)


def test_workers_are_used_again_and_no_more_are_started_than_there_are_tasks():
    results, *_ = run_all([("pid", number) for number in range(6)], 1)
    assert len(set(results)) == 1


@pytest.mark.parametrize(("error", "cleaned"), [(KeyboardInterrupt, 2), (SystemExit, 0)])
def test_an_interruption_reaches_the_workers_before_it_goes_on(error, cleaned):
    messages = []

    def received(_, message):
        messages.append(message)
        if messages == ["sleeping"] * 2:
            raise error  # as the handler of a signal would

    with pytest.raises(error):
        run_in_workers([("sleep",)] * 5, 2, work, lambda *_: pytest.fail("a task ended"), received)
    assert messages == ["sleeping"] * 2 + ["cleaned up"] * cleaned
    assert multiprocessing.active_children() == []


def test_a_worker_that_does_not_stop_is_killed(monkeypatch):
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.5)

    def received(_, message):
        raise SystemExit

    with pytest.raises(SystemExit):
        run_in_workers([("deaf",)], 1, deaf, lambda *_: None, received)
    assert multiprocessing.active_children() == []


def deaf(task, send):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    send("deaf")
    time.sleep(600)
