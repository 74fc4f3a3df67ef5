"""Many images: bounds, stopped runs and those that go on from there, and the progress shown."""

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from safe_exp.data.download import Downloaded, Failed, ImageRequest, download, download_images
from safe_exp.data.download import progress as download_progress
from safe_exp.data.reading.articles import count_reasons
from safe_exp.system.errors import UserError
from tests.data.download.image_server import GOOD, answer, config, fetch_one, images_in, picture


def test_a_dead_host_is_given_up_after_a_few_attempts(server, internet, tmp_path):
    requests = [ImageRequest(str(number), f"http://gone.example/{number}") for number in range(100)]
    found = download_images(requests, tmp_path, config(per_host=2))
    reasons = count_reasons(list(found.values()))
    assert set(reasons) == {"host name is unknown", "host does not answer"}
    assert reasons["host does not answer"] >= 85
    assert len(internet.looked_up) <= 15
    assert not any(failed.final for failed in found.values())


def test_a_slow_host_with_many_places_is_not_taken_for_a_dead_one(server, tmp_path):
    async def slow(path, writer):
        await asyncio.sleep(0.05)
        writer.write(GOOD)

    requests = [ImageRequest(str(number), server.url(f"/{number}")) for number in range(60)]
    server.answers = {f"/{number}": slow for number in range(60)}
    found = download_images(requests, tmp_path, config(concurrency=30, per_host=30, timeout_seconds=2))
    assert all(isinstance(outcome, Downloaded) for outcome in found.values())


def test_no_more_requests_are_open_than_allowed_in_all_and_for_a_host(server, internet, tmp_path):
    async def slow(path, writer):
        open_now[path[1]] += 1
        most[path[1]] = max(most[path[1]], open_now[path[1]])
        await asyncio.sleep(0.01)
        open_now[path[1]] -= 1
        writer.write(GOOD)

    open_now, most = dict.fromkeys("abcd", 0), dict.fromkeys("abcd", 0)
    requests = []
    for host in "abcd":  # all of the first host come first; the others must not wait for it
        internet.names[f"{host}.example"] = [["93.184.216.34"]]
        for number in range(20):
            server.answers[f"/{host}{number}"] = slow
            requests.append(ImageRequest(f"{host}{number}", server.url(f"/{host}{number}", f"{host}.example")))
    found = download_images(requests, tmp_path, config(concurrency=5, per_host=2, timeout_seconds=5))
    assert all(isinstance(outcome, Downloaded) for outcome in found.values())
    assert server.most_open == 5
    assert most == dict.fromkeys("abcd", 2)


def test_requests_are_read_as_places_become_free(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "READ_AHEAD", 10)
    server.answers = {f"/{number}": answer(picture(number)) for number in range(300)}
    ahead = []

    def requests():
        for number in range(300):
            ahead.append(number - len(images_in(tmp_path)))
            yield ImageRequest(str(number), server.url(f"/{number}"))

    found = download_images(requests(), tmp_path, config(timeout_seconds=5))
    assert [found[str(number)].path.read_bytes() == picture(number) for number in range(300)] == [True] * 300
    assert max(ahead) <= 10 + 8 + 1  # waiting, in flight, and the one that is read


def test_an_address_of_several_articles_is_fetched_once(server, tmp_path):
    server.answers["/a"] = GOOD
    requests = [ImageRequest(key, server.url("/a")) for key in ("x", "y", "z")]
    found = download_images(requests, tmp_path, config())
    assert list(found) == ["x", "y", "z"]
    assert len(set(found.values())) == 1
    assert server.asked == {"/a": 1}


def test_two_requests_with_one_key_are_refused(server, tmp_path):
    with pytest.raises(ValueError, match="two requests have the key x"):
        download_images([ImageRequest("x", server.url("/a")), ImageRequest("x", server.url("/b"))], tmp_path, config())


def test_no_request_is_no_work(tmp_path):
    assert download_images([], tmp_path / "new", config()) == {}


def test_a_second_run_fetches_nothing_and_says_what_was_there(server, tmp_path):
    server.answers["/a"] = GOOD
    first = fetch_one(server, tmp_path)
    second = fetch_one(server, tmp_path)
    assert (first.fresh, second.fresh, first.path) == (True, False, second.path)
    assert server.asked == {"/a": 1}


def test_an_image_that_was_too_large_is_asked_for_again_when_more_is_allowed(server, tmp_path):
    server.answers["/a"] = answer(picture() + bytes(2000))
    assert fetch_one(server, tmp_path, max_bytes=1500).reason == "image is too large"
    assert fetch_one(server, tmp_path, max_bytes=1200).reason == "image is too large"
    assert server.asked["/a"] == 1
    assert isinstance(fetch_one(server, tmp_path, max_bytes=5000), Downloaded)


def test_a_file_of_failures_that_ends_in_mid_line_loses_that_line_only(server, tmp_path):
    fetch_one(server, tmp_path)
    path = tmp_path / "failures.jsonl"
    whole = path.read_text()
    assert json.loads(whole)["reason"] == "not found"
    path.write_text(whole + whole[:20] + "\n[1]\n" + '{"url": "half')
    fetch_one(server, tmp_path, "/b")
    assert [json.loads(line)["url"] for line in path.read_text().splitlines()] == [server.url("/a"), server.url("/b")]


SCRIPT = """
import sys
from pathlib import Path
from safe_exp.config.download import DownloadConfig
from safe_exp.data.download import ImageRequest, download_images
config = DownloadConfig(
    concurrency=4, per_host=4, timeout_seconds=20, max_bytes=2_000_000, retries=0, allow_private=True
)
print("ready", flush=True)
download_images([ImageRequest(url, url) for url in sys.argv[2:]], Path(sys.argv[1]), config)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_leaves_whole_images_and_the_next_fetches_the_rest(server, tmp_path, how):
    bodies = {f"/{number}": picture(number) + os.urandom(200_000) for number in range(12)}
    released = []

    async def half(path, writer):
        writer.write(answer(bodies[path])[:100_000])
        await writer.drain()
        released.append(path)
        await asyncio.sleep(60)

    server.answers = {path: answer(body) for path, body in bodies.items()}
    for path in ("/6", "/7", "/8", "/9"):  # all four places end up with these
        server.answers[path] = half
    urls = [server.url(path) for path in bodies]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), *urls], stderr=subprocess.PIPE)
    _wait_for(lambda: len(released) == 4 and len(images_in(tmp_path)) == 6)
    digest = images_in(tmp_path)[0].stem
    process.send_signal(how)
    process.communicate(timeout=10)
    assert process.returncode != 0
    draft = tmp_path / f".{digest}.{process.pid}.png"  # as if it had been killed while it wrote
    draft.write_bytes(b"half")
    assert len(images_in(tmp_path)) == 6

    server.asked.clear()
    server.answers = {path: answer(body) for path, body in bodies.items()}
    found = download_images(
        [ImageRequest(path, server.url(path)) for path in bodies],
        tmp_path,
        config(max_bytes=2_000_000, timeout_seconds=5),
    )
    assert {path: outcome.path.read_bytes() for path, outcome in found.items()} == bodies
    assert server.asked == dict.fromkeys(["/6", "/7", "/8", "/9", "/10", "/11"], 1)
    assert not draft.exists()


def test_a_second_process_waits_for_the_folder(server, tmp_path, caplog):
    server.answers["/a"] = GOOD
    caplog.set_level(logging.INFO)
    with FileLock(tmp_path / ".lock"):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path), server.url("/a")], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(0.3)
        assert not server.asked
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert server.asked == {"/a": 1}


def test_a_folder_that_cannot_be_written_to_is_a_message(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/images: images cannot be stored here"):
        fetch_one(server, tmp_path / "file" / "images")


def test_a_disk_that_fills_up_ends_the_run_with_a_message(server, tmp_path, monkeypatch):
    server.answers["/a"] = GOOD
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"No space left on device\). Make room"):
        fetch_one(server, tmp_path)
    assert images_in(tmp_path) == []


def test_the_log_tells_how_far_it_is_and_what_failed_for_which_reason(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("safe_exp.system.terminal.LINE_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    server.answers["/a"] = GOOD
    download_images([ImageRequest(path, server.url(f"/{path}")) for path in "abc"], tmp_path, config())
    assert "Images: 0/3" in caplog.text
    assert "Images: 3/3" in caplog.text
    assert "1 fetched" in caplog.text
    assert "2 × not found" in caplog.text


def test_a_terminal_shows_a_bar_instead_of_log_lines(caplog):
    caplog.set_level(logging.INFO)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with download_progress.DownloadProgress(2, console) as progress:
        progress.count(Downloaded(Path("x.png"), fresh=True), 1_500_000)
        progress.count(Failed("http://a.example/", "not found", "status 404", final=True))
        progress.show_if_due()
    assert "2/2" in screen.getvalue()
    assert "1 fetched (1.5 MB), 0 stored before, 1 failed" in screen.getvalue()
    assert caplog.text.count("Images:") == 1  # the sum at the end


@pytest.mark.parametrize(
    ("key", "value"),
    [("concurrency", 0), ("concurrency", 513), ("per_host", 0), ("timeout_seconds", 0),
     ("timeout_seconds", float("nan")), ("max_bytes", 999), ("retries", -1), ("retries", 11)],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_key_and_what_is_allowed(key, value):
    with pytest.raises(UserError, match=rf"data.download.{key}={value}: expected a number from .* to "):
        config(**{key: value})


def _wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
