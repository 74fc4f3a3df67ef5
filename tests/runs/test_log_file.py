"""logs/run.log holds what is logged within the block."""

import logging

from safe_exp.runs.log_file import log_file

log = logging.getLogger("safe_exp.tests")


def test_what_is_logged_within_the_block_is_copied_with_its_level(tmp_path):
    with log_file(tmp_path):
        log.warning("half of %s", "it")
    log.warning("too late")
    (line,) = (tmp_path / "logs" / "run.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith(" WARNING safe_exp.tests: half of it")


def test_a_second_part_is_added_to_the_first(tmp_path):
    for part in ("first", "second"):
        with log_file(tmp_path):
            log.warning(part)
    assert (tmp_path / "logs" / "run.log").read_text(encoding="utf-8").count("\n") == 2


def test_a_full_disk_costs_the_file_its_lines_and_prints_no_traceback(tmp_path, capsys, monkeypatch):
    def no_space(handler, record):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            handler.handleError(record)

    monkeypatch.setattr(logging.FileHandler, "emit", no_space)
    with log_file(tmp_path):
        log.warning("lost")
    assert capsys.readouterr().err == ""
