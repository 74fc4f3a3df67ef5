"""An ONNX file gives the numbers of its network for any batch and any lengths, in onnxruntime."""

import builtins
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from safe_exp.config import ExportConfig
from safe_exp.inference.onnx_file import write_onnx
from safe_exp.inference.served_network import ServedNetwork
from safe_exp.runs.open_run import open_run
from safe_exp.scoring.calibration import Calibration
from safe_exp.system.errors import UserError
from tests.made_run import write_run
from tests.test_export import made_run, transformer_run

SIZES = [(1, 1, 1), (2, 3, 9), (5, 40, 1), (64, 130, 20), (1, 700, 2)]  # articles, words of the text, of the image


def inputs(network, articles, text, visual, generator):
    """Draw inputs; a length may be 0."""
    found, longest = {}, {"text": text, "visual": visual}
    for name, example in network.example().items():
        side, _, is_length = name.partition("_")
        if is_length:
            found[name] = generator.integers(0, longest.get(side, 4) + 1, articles)
        elif example.is_floating_point():
            found[name] = generator.normal(size=(articles, longest[name], example.shape[2])).astype(np.float32)
        else:
            found[name] = generator.integers(0, 6, (articles, longest[name]))
    return found


def check(stored, folder):
    """Write the file and compare it with the network; return the description."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: onnx)")
    described = write_onnx(stored, folder / "model.onnx")
    assert json.loads((folder / "model.onnx.json").read_text()) == described
    session = runtime.InferenceSession(str(folder / "model.onnx"))
    assert {each.name: each.shape for each in session.get_inputs()} == {
        name: entry["shape"] for name, entry in described["inputs"].items()
    }
    assert [each.name for each in session.get_outputs()] == described["outputs"]
    assert session.get_modelmeta().custom_metadata_map["digest"] == described["digest"]
    network, generator = ServedNetwork(stored).eval(), np.random.default_rng(0)
    seen = set()
    for articles, text, visual in SIZES:
        given = inputs(network, articles, text, visual, generator)
        with torch.no_grad():
            output = network(*map(torch.from_numpy, given.values()))._asdict()
        found = session.run(None, given)
        for name, values in zip(described["outputs"], found, strict=True):
            np.testing.assert_allclose(values, output[name].numpy(), rtol=0, atol=1e-5)
        seen |= set(np.round(found[1], 5).tolist())
    assert len(seen) > 10
    assert sorted(path.name for path in folder.glob("*model*")) == ["model.onnx", "model.onnx.json"]
    return described


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["safe", "released", "text_only", "visual_only", "similarity_only"])
def test_the_file_of_each_variant_gives_the_numbers_of_its_network(variant, tmp_path, caplog):
    caplog.set_level("INFO")
    widths = [] if variant == "safe" else ["model.filter_sizes=[3]"]  # each width takes a second to export
    stored = open_run(write_run(tmp_path / "run", f"model={variant}", "captioner=file", *widths))
    if variant == "safe":  # no_similarity is the same network
        stored = replace(stored, calibration=Calibration(1.7, {"prediction": 0.4, "similarity": 0.4}, None, 9))
    described = check(stored, tmp_path)
    assert not [record for record in caplog.records if record.name.startswith(("onnx", "torch.onnx"))]
    assert ("calibrated" in described["outputs"]) == (variant == "safe")
    assert described["vocabulary"]["senator"] == 4


@pytest.mark.slow
def test_a_run_on_hidden_states_takes_vectors(tmp_path):
    described = check(transformer_run(-1, "model=text_only", "model.filter_sizes=[3]"), tmp_path)
    assert described["inputs"]["text"] == {"type": "float32", "shape": ["articles", "text_words", 6]}
    assert described["vocabulary"] is None


@pytest.mark.parametrize(("to", "form", "is_onnx"), [
    ("m.onnx", None, True), ("M.ONNX", None, True), ("m.safetensors", None, False), ("m", "onnx", True),
    ("m.onnx", "bundle", False),
])  # fmt: skip
def test_the_format_is_told_by_the_suffix_unless_it_is_given(to, form, is_onnx):
    assert ExportConfig("run", to, "best", form).is_onnx == is_onnx
    with pytest.raises(UserError, match="format=pickle: expected bundle or onnx"):
        ExportConfig("run", to, "best", "pickle")


def test_missing_packages_are_named(tmp_path, monkeypatch):
    found = builtins.__import__

    def refuse(name, *arguments, **named):
        if name == "onnx":
            raise ImportError(name)
        return found(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r'pip install "safe-exp\[onnx\]"'):
        write_onnx(made_run(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
