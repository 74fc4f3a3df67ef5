"""SIGTERM unwinds a job, and only within the block."""

import signal
import threading

import pytest

from safe_exp.runs.sigterm import sigterm_as_exit


def test_sigterm_unwinds_the_block_with_the_exit_code_of_a_shell():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, sigterm_as_exit():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_no_handler_is_set():
    handlers = []

    def work():
        with sigterm_as_exit():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
