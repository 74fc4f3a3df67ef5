"""Any bytes on standard input: predict gives one answer for each line, and each is JSON."""

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from PIL import Image

from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, PredictConfig, typed_config
from safe_exp.inference.answers import Answerer, read_questions
from safe_exp.runs.open_run import open_run
from safe_exp.runs.stored_run import StoredRun
from tests.fuzz.cases import JSON_VALUES, TEXT, as_bytes, fuzz, objects
from tests.made_run import write_run

KEYS = ["id", "title", "text", "caption", "image"]
IMAGES = st.sampled_from(
    ["good.png", "bad.png", "none.png", "../out.png", "/etc/passwd", "a\0b", ".", "", "x" * 300, 7]
)
USUAL = st.fixed_dictionaries({"text": TEXT}, optional={"id": TEXT, "title": TEXT, "image": IMAGES})
LINES = as_bytes(st.one_of(USUAL, USUAL, objects(KEYS), JSON_VALUES))
TOGETHER = 5


@pytest.fixture(scope="module", autouse=True)
def _made(tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("images")
    Image.new("RGB", (32, 32), "red").save(folder / "good.png")
    (folder / "bad.png").write_bytes(b"\x89PNG and no more")
    made.update(run=write_run(tmp_path_factory.mktemp("run")), images=folder)


made: dict[str, Path] = {}


@cache
def asked() -> tuple[PredictConfig, StoredRun, Answerer]:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = typed_config(compose("predict", overrides=["run=unused", f"images={made['images']}"]))
    stored = open_run(made["run"])
    return replace(config, run=str(made["run"])), stored, Answerer(stored)


@fuzz(LINES, together=TOGETHER)
def test_every_line_gets_one_answer(cases, folder):
    config, stored, answerer = asked()
    content = b"\n".join(cases)
    answers = []
    for articles, root in read_questions(config, stored, io.BufferedReader(io.BytesIO(content))):
        answers += answerer.answer(articles, root)
    assert len(answers) == content.count(b"\n") + (content[-1:] not in (b"\n", b""))
    for answer in answers:
        plain = json.loads(json.dumps(answer, ensure_ascii=False, allow_nan=False).encode())
        assert isinstance(plain["id"], str)
        assert ("error" in plain) != (0 <= plain.get("probability", -1) <= 1)
