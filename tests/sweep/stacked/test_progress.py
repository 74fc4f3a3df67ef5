"""Progress of stacks that are trained at the same time, sent from their processes."""

import io
from types import SimpleNamespace

from rich.console import Console

from safe_exp.sweep.stacked import progress as module
from safe_exp.sweep.stacked.progress import SentProgress, StackProgress, show_sent


def job(number: int, state: str, reason: str | None = None):
    callbacks = SimpleNamespace(monitor="val/loss")
    record = SimpleNamespace(state=state, reason=reason)
    config = SimpleNamespace(callbacks=callbacks)
    return SimpleNamespace(number=number, name=f"seed={number}", record=record, config=config)


def follow(progress_of) -> str:
    """Show two stacks, of 3 and of 2 runs, and return what is printed."""
    shown = io.StringIO()
    main = StackProgress(5, console=Console(file=shown, force_terminal=True, width=100))
    first, second = progress_of(main, 0), progress_of(main, 1)
    first.begin(3, 10)
    second.begin(2, 20)
    first.step()
    second.step()
    main._show()
    assert main._display.bar.tasks[0].total == 30
    assert main._display.bar.tasks[0].completed == 2
    assert main._display.bar.tasks[0].description == "5 runs at once in 2 stacks"
    first.ended(job(4, "finished"), {"epochs": 7, "stopped_by": "converged"}, 0.25)
    first.closed([job(4, "finished"), job(5, "failed", "the loss\nis NaN")])
    main._show()
    assert main._display.bar.tasks[0].description == "4 runs at once in 2 stacks"
    first.end()
    assert main._display.bar is not None
    second.end()
    assert main._display.bar is None
    assert main.written == 2
    return shown.getvalue()


def test_one_bar_shows_the_stacks_of_all_processes(monkeypatch):
    monkeypatch.setattr(module, "BAR_SECONDS", 0)
    printed = follow(lambda main, stack: SentProgress(lambda message: show_sent(main, stack, message)))
    assert "#4 seed=4: 7 epochs (converged), val/loss 0.2500" in printed
    assert "#5 seed=5: failed: the loss is NaN" in printed


def test_an_interruption_is_announced_once(caplog):
    main = StackProgress(2)
    for stack in range(2):
        SentProgress(lambda message, stack=stack: show_sent(main, stack, message)).stopping()
    assert len(caplog.messages) == 1
