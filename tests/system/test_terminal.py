"""Progress of long work, on a terminal and in a log file."""

import io
import logging
import re
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console

from safe_exp.system import terminal
from safe_exp.system.terminal import Display, counting, tracked

log = logging.getLogger("work")


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name == "work"]


@pytest.fixture
def screen(monkeypatch):
    """Make standard error a terminal; return a function that gives its text, without the codes that move the cursor."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(Display, "console", console)
    return lambda: re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_a_long_count_logs_a_line_every_few_seconds(clock, lines):
    with counting(log, "Preparing articles", 4000) as advance:
        for _ in range(40):
            clock.now += 0.5
            advance(100)
    expected = [f"Preparing articles: {done:,} of 4,000, {seconds} s" for done, seconds in ((1000, 5), (2000, 10))]
    assert lines()[:2] == expected
    assert len(lines()) == 4


def test_a_count_without_a_total_shows_the_amount_done(clock, lines):
    with counting(log, "Looking through the articles", None) as advance:
        for _ in range(2):
            clock.now += 6
            advance(1500)
    assert lines() == [f"Looking through the articles: {n}, {s} s" for n, s in (("1,500", 6), ("3,000", 12))]


def test_short_work_shows_nothing(clock, lines, screen):
    with counting(log, "Joining parts", 2) as advance:
        for _ in range(2):
            clock.now += 0.4
            advance(1)
    assert screen() == ""
    assert lines() == []


def test_a_terminal_shows_a_bar_which_vanishes_and_no_lines(clock, lines, screen):
    with counting(log, "Joining parts", 20, "There are 20 parts.") as advance:
        for _ in range(20):
            clock.now += 1
            advance(1)
    assert re.search("Joining parts .* 20/20 ", screen())
    assert lines() == []


def test_tracking_logs_the_number_of_items_first(clock, lines):
    assert list(tracked(log, iter("abc"), "Reading jobs")) == ["a", "b", "c"]
    assert lines() == ["Reading jobs: 3"]


def test_an_error_ends_the_bar(clock, screen):
    before = set(threading.enumerate())

    def fail():
        with counting(log, "Joining parts", 20) as advance:
            clock.now += 2
            advance(1)
            assert set(threading.enumerate()) - before  # the bar is drawn by one
            raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        fail()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_say_prints_above_the_bar_or_logs(lines, screen):
    display = Display(log)
    display.say("#1 seed=0: finished")
    display.start("3 runs at once", 10)
    display.say("#2 seed=1: [finished]")
    display.stop()
    assert lines() == ["#1 seed=0: finished"]
    assert "#2 seed=1: [finished]" in screen()
