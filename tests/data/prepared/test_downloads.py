"""Images that a crawl stored as addresses, fetched by prepare from a server on this machine."""

import http.server
import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, typed_config
from safe_exp.data.prepared import prepare
from safe_exp.data.prepared.prepare import Preparation
from safe_exp.inference.answers import Answerer, read_questions
from safe_exp.runs.open_run import open_run
from tests.data.damage import encoded, picture
from tests.data.folders import folder_config, write_article
from tests.made import compose_config
from tests.made_run import write_run

CAPTIONER = compose_config("captioner=visual_words", "captioner.words=8").captioner


@pytest.fixture
def server():
    """Server that knows /good.jpg and counts its requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        asked: list[str] = []  # noqa: RUF012 - one class for each test

        def do_GET(self):
            self.asked.append(self.path)
            content = encoded(picture(), "JPEG") if self.path == "/good.jpg" else b"<html>gone</html>"
            self.send_response(200 if self.path == "/good.jpg" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}", Handler.asked
    found.shutdown()


@pytest.fixture
def config(tmp_path, server):
    address, _ = server
    for name, url in (("a", "good.jpg"), ("b", "gone.jpg"), ("c", "good.jpg"), ("d", None)):
        write_article(
            tmp_path / "articles", f"fake/{name}", caption=None, **({"top_img": f"{address}/{url}"} if url else {})
        )
    folder = write_article(tmp_path / "articles", "real/own", caption=None, top_img=f"{address}/good.jpg")
    (folder / "image.png").write_bytes(encoded(picture(seed=7), "PNG"))
    data = folder_config(tmp_path / "articles", "data.download_images=true", "data.download.allow_private=true",
                         "data.download.retries=0", "data.workers=1")  # fmt: skip
    return replace(data, prepared=str(tmp_path / "prepared"))


def test_each_address_is_asked_once_and_failures_are_reasons(config, server):
    _, asked = server
    prepared = prepare(config, CAPTIONER, fetch=True)
    assert sorted(asked) == ["/gone.jpg", "/good.jpg"]  # not for the article that has an image of its own
    assert dict(zip(prepared.ids, prepared.no_visual, strict=True)) == {
        "fake/a": None, "fake/b": "not found", "fake/c": None, "fake/d": "no image file", "real/own": None
    }  # fmt: skip
    assert prepared.descriptors.shape[0] == 3
    prepare(config, CAPTIONER, fetch=True)  # a permanent failure is not asked again
    assert len(asked) == 2


def test_training_uses_what_lies_there_and_asks_nobody(config, server, monkeypatch):
    _, asked = server
    first = prepare(config, CAPTIONER, fetch=True)
    before = len(asked)
    monkeypatch.setattr(Preparation, "make", lambda *_: pytest.fail("prepared again"))
    assert prepare(config, CAPTIONER).folder == first.folder
    assert len(asked) == before


def test_private_addresses_are_not_asked_unless_allowed(config, server):
    _, asked = server
    closed = replace(config, download=replace(config.download, allow_private=False))
    prepared = prepare(closed, CAPTIONER, fetch=True)
    assert asked == []
    assert prepared.no_visual[0] == "address is not public"


@pytest.fixture
def table(tmp_path, server):
    """Config of a table whose rows name images by address, one of them twice, and one beside a file."""
    address, _ = server
    (tmp_path / "own.png").write_bytes(encoded(picture(seed=7), "PNG"))
    rows = [f"{address}/good.jpg", f"{address}/gone.jpg", f"own|{address}/good.jpg", "own", f"{address}/good.jpg"]
    lines = [f"a{n},{'fake' if n % 2 else 'real'},body {n},{cell}" for n, cell in enumerate(rows)]
    lines.append(f"alone,fake,,{address}/good.jpg")  # no text: its image is all that it has
    (tmp_path / "t.csv").write_text("\n".join(["id,label,text,image", *lines]), encoding="utf-8")
    data = compose_config(
        "data=table", f"data.root={tmp_path / 't.csv'}", "data.image_separator='|'", "data.max_visual_tokens=100",
        "data.download_images=true", "data.download.allow_private=true", "data.download.retries=0", "data.workers=1",
    ).data  # fmt: skip
    return replace(data, prepared=str(tmp_path / "prepared"))


def test_addresses_in_a_table_are_asked_once_and_their_images_used(table, server, monkeypatch):
    _, asked = server
    prepared = prepare(table, CAPTIONER, fetch=True)
    assert sorted(asked) == ["/gone.jpg", "/good.jpg"]
    assert dict(zip(prepared.ids, prepared.no_visual, strict=True)) == {
        "a0": None, "a1": "not found", "a2": None, "a3": None, "a4": None, "alone": None
    }  # fmt: skip
    assert prepared.descriptor_count.tolist() == [1, 0, 2, 1, 1, 1]
    assert prepared.manifest["images"] == {
        "named": 7, "used": 6, "beyond_max_visual_tokens": 0, "unusable": {"not found": 1}
    }  # fmt: skip
    first, both, own = (prepared.descriptors[prepared.image_rows(np.array([row]))] for row in (0, 2, 3))
    np.testing.assert_array_equal(both, np.concatenate([own, first]))  # in the order of the cell
    monkeypatch.setattr(Preparation, "make", lambda *_: pytest.fail("prepared again"))
    assert prepare(table, CAPTIONER).folder == prepared.folder
    assert len(asked) == 2


def test_without_downloads_an_address_is_a_reason_that_says_how(table, server):
    _, asked = server
    prepared = prepare(replace(table, download_images=False), CAPTIONER, fetch=True)
    assert asked == []
    assert prepared.no_visual == ["image is an address", "image is an address", None, None, "image is an address"]
    assert prepared.no_visual_detail[0].endswith("/good.jpg; data.download_images=true fetches it")
    assert [(item.path, item.reason) for item in prepared.left_out] == [
        ("t.csv row 6", "no title, no text and no image")
    ]


def test_a_training_that_comes_first_fetches_the_images_of_every_given_side(tmp_path, server):
    address, asked = server
    for side in ("train", "val", "test"):
        rows = [f"{side}{n},{label},body {n},{address}/good.jpg?{side}{n}" for n, label in enumerate(("fake", "real"))]
        (tmp_path / f"{side}.csv").write_text("\n".join(["id,label,text,image", *rows]), encoding="utf-8")
    data = compose_config(
        "data=table", "data.split=given", f"data.root={tmp_path}/train.csv", f"data.val_root={tmp_path}/val.csv",
        f"data.test_root={tmp_path}/test.csv", "data.download_images=true", "data.download.allow_private=true",
        "data.download.retries=0", "data.workers=1",
    ).data  # fmt: skip
    prepare(replace(data, prepared=str(tmp_path / "prepared")), CAPTIONER)
    assert len(asked) == 6


def test_downloads_in_a_folder_behind_a_link_are_read(table, server, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    for place in ("link/prepared", "link/../other"):
        prepared = prepare(replace(table, prepared=str(tmp_path / place)), CAPTIONER, fetch=True)
        assert prepared.descriptor_count.tolist() == [1, 0, 2, 1, 1, 1], place


def test_predict_looks_at_the_images_that_were_fetched_and_at_no_others(table, server, tmp_path):
    _, asked = server
    prepare(table, CAPTIONER, fetch=True)
    before = len(asked)
    stored = open_run(write_run(tmp_path / "run"))
    stored.artifacts.manifest["settings"]["require"] = ["visual"]
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = typed_config(compose("predict", overrides=["run=unused"]))
    for fetched in (True, False):
        data = replace(table, download_images=fetched)
        ((articles, root),) = read_questions(replace(config, data=data), stored, io.BufferedReader(io.BytesIO()))
        answers = Answerer(stored).answer(articles, root)
        errors = [answer.get("error") for answer in answers]
        assert [error is None for error in errors] == [fetched, False, True, True, fetched, fetched], errors
    assert len(asked) == before
