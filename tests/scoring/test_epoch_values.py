import json
import math

import numpy as np
import pytest

from safe_exp.scoring.epoch_values import read_curves, write_curves


def test_what_is_drawn_is_read_back_to_the_digits_of_a_float32(tmp_path):
    numbers = np.random.default_rng(0).random((5, 2), dtype=np.float32)
    history = [{"epoch": i, "train/loss": float(a), "val/auroc": float(b)} for i, (a, b) in enumerate(numbers)]
    history[1]["val/auroc"] = math.nan
    del history[2]["train/loss"]
    write_curves(tmp_path, [row | {"train/gamma": 0.1} for row in history])
    found = read_curves(tmp_path)
    assert np.float32(found[4]["train/loss"]) == numbers[4, 0]
    del history[1]["val/auroc"]  # no value is like one that is not finite
    assert [row.keys() for row in found] == [row.keys() - {"epoch"} for row in history]


def test_a_run_without_epochs_or_without_the_file_is_no_fault(tmp_path):
    assert read_curves(tmp_path) is None
    write_curves(tmp_path, [])
    assert read_curves(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", {"epochs": 2, "values": {"a": [1.0]}}, {"epochs": 1, "values": [1]}, {"epochs": "x", "values": {}},
     {"epochs": 1, "values": {}, "digest": "0"}],
)  # fmt: skip
def test_a_damaged_file_is_one_value_error(tmp_path, content):
    (tmp_path / "curves.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=r"."):
        read_curves(tmp_path)
