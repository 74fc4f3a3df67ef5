"""The trials of an optuna study that several sweeps may share, each on a machine of its own.

Optuna numbers trials when they begin, in one order for all machines. A machine that has begun a trial compares its
place among the trials that count with `n_trials`, and withdraws it where others were faster. So no lock is needed that
all machines would have to reach.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

# User attributes of a trial. Fixed overrides are user attributes too, named by their keys; none of them is called so.
WORKER = "worker"  # host and folder of the sweep that runs it
SEEN = "worker_seen"  # when that sweep last said so, in seconds since 1970
WITHDRAWN = "worker_withdrawn"  # true: it began one too many, and was not run
BEAT_SECONDS = 60
GONE_SECONDS = 600  # without a sign of its sweep a trial has been killed; clocks of machines may differ by some minutes


class Withdrawn(Exception):
    """A batch of trials was not run, since together with those of other machines it exceeds `n_trials`."""


class StudyTrials:
    """Counts the trials of a study, and keeps this sweep from running more than are left.

    Args:
        study: with a storage that outlives this process.
        folder: of this sweep, locked by this process.
        n_trials: of all machines together.
        shared: whether other sweeps may use the study too.
    """

    def __init__(self, study: optuna.Study, folder: Path, n_trials: int, shared: bool) -> None:
        self.study, self.n_trials, self.shared = study, n_trials, shared
        self.worker = f"{socket.gethostname()}:{folder.resolve()}"
        self._batch: list[optuna.Trial] = []

    def ended(self) -> int:
        """Count the trials that finished or failed, on all machines."""
        return sum(_has_ended(trial) for trial in self._read())

    def left(self) -> int:
        """Count the trials that neither have ended nor are under way in another sweep.

        A trial of this sweep that is not ended was interrupted, since this process holds the sweep's lock.
        """
        return max(0, self.n_trials - sum(_has_ended(t) or self._runs_elsewhere(t) for t in self._read()))

    def any(self) -> bool:
        """Tell whether a trial was ever begun."""
        return bool(self._read())

    def has_best(self) -> bool:
        """Tell whether a trial has a score."""
        from optuna.trial import TrialState

        return any(trial.state is TrialState.COMPLETE for trial in self._read())

    def note(self, trial: optuna.Trial) -> None:
        """Mark a trial that begins as one of this sweep, and add it to the batch that is launched next."""
        trial.set_user_attr(WORKER, self.worker)
        trial.set_user_attr(SEEN, time.time())
        self._batch.append(trial)

    def guard(self, launch: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        """Wrap Hydra's `launch`, which is called with the jobs of a batch once its trials are noted.

        Raises:
            Withdrawn: from the wrapped function, when other machines have taken trials of the batch.
        """

        def guarded(*arguments: Any, **named: Any) -> Sequence[Any]:
            batch, self._batch = self._batch, []
            if self.shared and self._exceeds(batch):
                self._withdraw(batch)
                raise Withdrawn
            with _signs_of_life(batch if self.shared else []):
                return launch(*arguments, **named)

        return guarded

    def _exceeds(self, batch: Sequence[optuna.Trial]) -> bool:
        """Tell whether the last trial of the batch is one too many."""
        own = {trial.number for trial in batch}
        before = [t for t in self._read() if t.number < max(own)]
        counted = sum(t.number in own or _has_ended(t) or self._runs_elsewhere(t) for t in before)
        return counted >= self.n_trials

    def _withdraw(self, batch: Sequence[optuna.Trial]) -> None:
        from optuna.trial import TrialState

        for trial in batch:
            trial.set_user_attr(WITHDRAWN, True)
            self.study.tell(trial, state=TrialState.FAIL)
        if len(batch) > 1:  # two machines whose batches are both too large try again, one before the other
            time.sleep(random.uniform(0, 1))

    def _runs_elsewhere(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Tell whether another sweep runs a trial, or has begun it this moment and not marked it yet."""
        attributes = trial.user_attrs
        if not self.shared or trial.state.is_finished() or attributes.get(WORKER) == self.worker:
            return False
        begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return time.time() - attributes.get(SEEN, begun) < GONE_SECONDS

    def _read(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def _has_ended(trial: optuna.trial.FrozenTrial) -> bool:
    return trial.state.is_finished() and not trial.user_attrs.get(WITHDRAWN)


@contextmanager
def _signs_of_life(batch: Sequence[optuna.Trial]) -> Iterator[None]:
    """Note the time in the trials again and again while their jobs run: other machines tell by it who is gone."""
    if not batch:
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            for trial in batch:
                with suppress(Exception):  # a storage that is away for a moment; the next sign may reach it
                    trial.set_user_attr(SEEN, time.time())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
