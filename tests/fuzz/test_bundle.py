"""Files that claim to be bundles, with any content: refused with one message, or answering as a run does."""

import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from safe_exp.data.reading.articles import Article
from safe_exp.inference.answers import Answerer
from safe_exp.runs.open_run import open_run
from safe_exp.system.errors import UserError
from tests.fuzz.cases import JSON_VALUES, broken, fuzz
from tests.made_jobs import write_sweep
from tests.made_run import write_run

bundle = pytest.importorskip("safe_exp.runs.bundle", reason="no bundles in this version")


@cache
def whole(kind: str) -> bytes:
    import tempfile

    overrides = {"words": ["captioner=file"], "text": ["captioner=file", "model=text_only"]}.get(kind, [])
    with tempfile.TemporaryDirectory() as folder:
        write = write_sweep if kind == "sweep" else write_run
        bundle.write_bundle(open_run(write(Path(folder) / "run", *overrides)), Path(folder) / "b.safetensors")
        return (Path(folder) / "b.safetensors").read_bytes()


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """List the paths to all values inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inner for place in places(below, (*path, key)))]


def changed(kind: str, share: float, within: bool, new: Any) -> bytes:
    """Change one value in a bundle's content or in its header, or remove it for new = ()."""
    raw = whole(kind)
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    inside = json.loads(header["__metadata__"]["content"])
    where = inside if within else header
    found = places(where)[1:]
    *way, last = found[min(int(share * len(found)), len(found) - 1)]
    parent = where
    for key in way:
        parent = parent[key]
    if new == ():
        del parent[last]
    else:
        parent[last] = new
    if within:
        header["__metadata__"]["content"] = json.dumps(inside)
    if "__metadata__" in header and isinstance(header["__metadata__"], dict):
        header["__metadata__"].pop("digest", None)  # a stranger's digest fits; only what it covers is tried here
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + raw[8 + length :]


SIZES = st.sampled_from(
    [0, -1, 1, 2, 10**6, 10**9, 2**31, 2**63, 10**30, "${oc.env:HOME}", "visual_words", "F16", [], {}]
)
KINDS = st.sampled_from(["words", "patches", "text", "sweep"])
FILES = st.one_of(
    st.builds(changed, KINDS, st.floats(0, 1), st.booleans(), st.one_of(SIZES, st.just(()), JSON_VALUES)),
    st.builds(changed, KINDS, st.floats(0, 1), st.booleans(), st.one_of(SIZES, st.just(()), JSON_VALUES)),
    broken(KINDS.map(whole), 2000),
    broken(KINDS.map(whole)),
    st.binary(max_size=60),
)


@fuzz(FILES)
def test_any_file_is_refused_or_answers(cases, folder):
    path = folder / "b.safetensors"
    for content in cases:
        path.write_bytes(content)
        try:
            answerer = Answerer(open_run(path))
        except UserError as error:
            assert f"run={path}" in str(error)  # noqa: PT017  (what else is raised fails the test)
        else:
            (answer,) = answerer.answer([Article("x", None, "a senator", "the boat", "a boat")])
            json.dumps(answer, allow_nan=False)


def test_the_undamaged_bundles_answer(tmp_path):
    for kind in ("words", "patches", "text", "sweep"):
        (tmp_path / "b.safetensors").write_bytes(whole(kind))
        (answer,) = Answerer(open_run(tmp_path / "b.safetensors")).answer([Article("x", None, "a senator", "the boat")])
        assert "probability" in answer
