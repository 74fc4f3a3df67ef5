"""The benchmark of predict runs, on few articles; no test depends on a time."""

import pytest

from benchmarks.predict import main


@pytest.mark.slow
def test_every_way_of_asking_is_measured(capsys):
    main(["--articles", "40", "--train", "60"])
    out = capsys.readouterr().out
    for row in ("captions |", "captions, from one file |", "captions, explain=true |", "visual words from images |"):
        assert f"| {row}" in out
