"""An ONNX file of a stored run: its network with the tables of word vectors, for a server without PyTorch."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from safe_exp.config import plain_config
from safe_exp.inference.served_network import ServedNetwork, ServedOutput, word_rows
from safe_exp.runs.ensemble import StoredModel
from safe_exp.system.digest import json_digest
from safe_exp.system.errors import UserError
from safe_exp.system.files import whole_file, write_json

FORMAT = "safe_exp onnx 1"
PACKAGES = 'ONNX files need further packages: pip install "safe-exp[onnx]".'
MAX_BYTES = 2**31 - 2**20  # of a protocol buffer, in which the weights lie


def write_onnx(stored: StoredModel, path: Path) -> dict[str, Any]:
    """Write the network as an ONNX file, and its description as `<file>.json`; each appears whole or not at all.

    Returns:
        The description: inputs, outputs, limits, vocabulary, threshold, digests.
    Raises:
        UserError: packages are missing, the jobs of a sweep read different words, or the tables are too large.
        OSError: a file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # by the exporter
    except ImportError as error:
        raise UserError(f"to={path}: {PACKAGES}") from error
    network = ServedNetwork(stored).eval()
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise UserError(f"to={path}: tables and weights have {size / 1e9:.1f} GB; an ONNX file holds 2 GB.")
    program = _export(network)
    described = _describe(network, stored)
    model = program.model_proto
    _name_free_sizes(model, described["inputs"])
    for key in ("format", "digest"):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, described[key]
    onnx.checker.check_model(model)
    with whole_file(path) as draft:
        draft.write_bytes(model.SerializeToString())
    write_json(path.with_name(f"{path.name}.json"), described)
    return described


def _export(network: ServedNetwork) -> Any:
    """Export the network for batches and sentences of any length."""
    example, articles = network.example(), Dim("articles")
    shapes = [
        {0: articles, 1: Dim(f"{name}_words")} if name in ("text", "visual") else {0: articles} for name in example
    ]
    outputs = [name for name, value in network(*example.values())._asdict().items() if value is not None]
    # The exporter prints its steps, and warns of its own parts.
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        _quiet("torch.onnx", "onnxscript", "onnx_ir"),
    ):
        warnings.simplefilter("ignore")
        # By itself torch.onnx.export would fall back to sizes of the example where a size cannot be left free.
        followed = torch.export.export(network, tuple(example.values()), dynamic_shapes=(tuple(shapes),))
        return torch.onnx.export(followed, dynamo=True, input_names=list(example), output_names=outputs, verbose=False)


def _name_free_sizes(model: Any, inputs: Mapping[str, Mapping[str, Any]]) -> None:
    """Name the free sizes of inputs and outputs as the description does; the exporter numbers them."""
    graph, names = model.graph, {}
    for value in graph.input:
        for size, name in zip(value.type.tensor_type.shape.dim, inputs[value.name]["shape"], strict=True):
            if size.dim_param:
                names[size.dim_param] = name
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep these loggers from telling less than errors within the block."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _describe(network: ServedNetwork, stored: StoredModel) -> dict[str, Any]:
    """Describe the file for a program that feeds it."""
    first = stored.members[0]
    manifest, settings = first.artifacts.manifest, first.artifacts.manifest["settings"]
    outputs = [name for name in ServedOutput._fields if name != "calibrated" or network.temperature is not None]
    if not network.variant.compares:
        outputs.remove("similarity")
    calibration = stored.calibration
    described: dict[str, Any] = {
        "format": FORMAT,
        "inputs": {
            name: {"type": str(value.dtype).removeprefix("torch."), "shape": _shape(name, value)}
            for name, value in network.example().items()
        },
        "outputs": outputs,
        "limits": {side: network.limits[side] for side in network.variant.reads},
        "vocabulary": word_rows(first.artifacts) if "text" not in network.vectors else None,
        "tokenizer": json.loads(first.artifacts.tokenizer.to_str()),
        "words": settings.get("words"),
        "captioner": settings["captioner"],
        "thresholds": {"prediction": 0.5} if calibration is None else {"best": calibration.thresholds["prediction"]},
        "temperature": network.temperature,
        "model": plain_config(first.model),
        "run": {"fingerprint": manifest["fingerprint"], "members": len(stored.members)},
    }
    return described | {"digest": json_digest(described)}


def _shape(name: str, value: torch.Tensor) -> list[Any]:
    """Write the shape of an input, with names for sizes that are free."""
    return ["articles", *([f"{name}_words"] if value.dim() > 1 else []), *value.shape[2:]]
