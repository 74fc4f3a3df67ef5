"""Images from a server that misbehaves: what is kept, what is refused and why, and what a second run asks again."""

import asyncio
import gzip
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from safe_exp.config.download import DownloadConfig
from safe_exp.data.articles import count_reasons
from safe_exp.data.download import Downloaded, Failed, ImageRequest, download, download_images, fetch
from safe_exp.data.download import progress as download_progress
from safe_exp.data.download.fetch import retry_after_seconds
from safe_exp.data.download.kinds import image_kind
from safe_exp.errors import UserError
from tests.data.download.image_server import ImageServer, Internet, answer, picture, redirect

GOOD = answer(picture(), Content_Type="image/png")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "FIRST_WAIT", 0.01)
    server = ImageServer()
    yield server
    server.close()


@pytest.fixture
def internet(monkeypatch, server):
    internet = Internet(monkeypatch)
    internet.names["public.example"] = [["93.184.216.34"]]
    return internet


def config(**values) -> DownloadConfig:
    given = dict(concurrency=8, per_host=8, timeout_seconds=0.3, max_bytes=50_000, retries=0, allow_private=True)
    return DownloadConfig(**given | values)


def fetch_one(server, folder, path="/a", url=None, **values):
    return download_images([ImageRequest("a", server.url(path) if url is None else url)], folder, config(**values))["a"]


def images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if len(path.stem) == 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_an_image_of_each_kind_that_pillow_writes_is_stored_as_it_was_sent(server, tmp_path, kind):
    server.answers["/a"] = answer(picture(3, kind), Content_Type="text/plain")
    outcome = fetch_one(server, tmp_path)
    assert outcome.path.read_bytes() == picture(3, kind)
    assert outcome.path.suffix == {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
    # The name is `printf '%s' URL | sha256sum`, so that others can find it.
    digest = subprocess.run(["sha256sum"], input=server.url("/a").encode(), capture_output=True, check=True).stdout
    assert outcome.path.stem == digest.decode().split()[0]


def test_the_request_says_who_asks_and_wants_no_compression(server, tmp_path):
    server.answers["/a"] = GOOD
    fetch_one(server, tmp_path)
    assert "User-Agent: safe_exp" in server.headers[0]
    assert "Accept-Encoding: identity" in server.headers[0]


def test_a_chain_of_redirects_is_followed(server, tmp_path):
    for hop in range(5):
        server.answers[f"/{hop}"] = redirect(f"/{hop + 1}")
    server.answers["/5"] = GOOD
    assert isinstance(fetch_one(server, tmp_path, "/0"), Downloaded)


async def endless(path, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + picture())
    while True:
        writer.write(b"x" * 10_000)
        await writer.drain()


async def drip(path, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for byte in picture():
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(path, writer):
    await asyncio.sleep(60)


async def reset(path, writer):
    writer.write(answer(picture(), length=1000))
    await writer.drain()
    writer.transport.abort()


async def hang_up(path, writer):
    writer.write(answer(picture(), length=1000))
    await writer.drain()
    writer.close()


async def endless_header(path, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
    await writer.drain()


PAGE = b"<!DOCTYPE html><title>Not here any more</title>"
FAILURES = [  # answer, reason, detail, whether it is final
    (answer(PAGE, "404 Not Found"), "not found", "status 404", True),
    (answer(PAGE, "403 Forbidden"), "request was refused", "status 403", True),
    (answer(b"", "304 Not Modified"), "request was refused", "status 304", True),
    (answer(PAGE, "503 Service Unavailable"), "server error", "status 503", False),
    (answer(PAGE, Content_Type="image/jpeg"), "not an image of an allowed kind", "a page.*image/jpeg", True),
    (answer(b"BMW presents a car"), "not an image of an allowed kind", "begins with b'BMW pres'", True),
    (answer(b"\xff\xd8"), "not an image of an allowed kind", "begins with", True),
    (answer(b""), "answer is empty", "status 200", True),
    (answer(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip"), "answer is compressed", "gzip", True),
    (answer(b"", length=60_000), "image is too large", "60,000 bytes, data.download.max_bytes=50000", True),
    (endless, "image is too large", "at least", True),
    (answer(picture(), length=1000), "time-out", "data.download.timeout_seconds=0.3", False),  # the rest never comes
    (drip, "time-out", "0.3", False),
    (silence, "time-out", "0.3", False),
    (reset, "connection broke off|no connection", "", False),
    (hang_up, "connection broke off", "", False),
    (endless_header, "answer is not valid HTTP", "", False),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "answer is not valid HTTP", "", False),
    (redirect("/a"), "too many redirects", "10", True),
    (redirect("file:///etc/passwd"), "redirect to an address that is not http or https", "passwd", True),
    (redirect("http://[::1"), "address is not a valid URL", "", True),
]


@pytest.mark.parametrize(("sent", "reason", "detail", "final"), FAILURES)
def test_what_is_no_whole_image_is_refused_with_a_reason(server, tmp_path, sent, reason, detail, final):
    server.answers["/a"] = sent
    started = time.monotonic()
    failed = fetch_one(server, tmp_path)
    assert isinstance(failed, Failed)
    assert re.fullmatch(reason, failed.reason)
    assert re.search(detail, failed.detail)
    assert failed.final == final
    assert time.monotonic() - started < 2
    assert images_in(tmp_path) == []

    asked = server.asked["/a"]
    server.answers["/a"] = GOOD
    again = fetch_one(server, tmp_path)
    if final:
        assert again == failed
        assert server.asked["/a"] == asked
    else:
        assert isinstance(again, Downloaded)


async def rest_comes_late(path, writer):
    writer.write(answer(picture()[:30]))
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.write(picture()[30:])


@pytest.mark.parametrize("sent", [answer(picture(), length=30), rest_comes_late])
def test_a_content_length_that_is_too_short_never_spoils_the_next_image(server, tmp_path, sent):
    server.answers = {"/a": sent, "/b": answer(picture(7)), "/c": answer(picture(8))}
    requests = [ImageRequest(path, server.url(f"/{path}")) for path in "abc"]
    found = download_images(requests, tmp_path, config(per_host=1, retries=1))
    if isinstance(sent, bytes):  # the bytes too many came along, and are no HTTP
        assert found["a"].reason == "answer is not valid HTTP"
    else:  # a whole image as far as HTTP can tell; decoding finds it
        assert found["a"].path.read_bytes() == picture()[:30]
    assert found["b"].path.read_bytes() == picture(7)
    assert found["c"].path.read_bytes() == picture(8)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "address is not http or https"),
        ("ftp://127.0.0.1/a.png", "address is not http or https"),
        ("data:image/png;base64,iVBORw0KGgo=", "address is not http or https"),
        ("//cdn.example/a.png", "address is not http or https"),
        ("a.png", "address is not http or https"),
        ("", "address is not http or https"),
        ("http://", "address is not a valid URL"),
        ("http:///a.png", "address is not a valid URL"),
        ("http://[::1/a.png", "address is not a valid URL"),
        ("http://host:99999/a.png", "address is not a valid URL"),
        ("http://\udcff.example/", "address is not a valid URL"),
        (f"http://{'a' * 70}.example/", "address is not a valid URL"),
        (f"http://{'a.' * 200}example/", "address is not a valid URL"),
        ("http://a..example/", "address is not a valid URL"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(server, internet, tmp_path, url, reason):
    internet.names = {}
    failed = fetch_one(server, tmp_path, url=url)
    assert failed.reason == reason
    assert internet.tried == []


def test_a_host_that_is_not_ascii_is_looked_up_in_its_ascii_form(server, internet, tmp_path):
    internet.names["xn--bcher-kva.example"] = [["93.184.216.34"]]
    server.answers["/%C3%BC.png"] = GOOD
    url = server.url("/ü.png", "Bücher.example")
    assert isinstance(fetch_one(server, tmp_path, url=url, allow_private=False), Downloaded)
    assert internet.tried == ["93.184.216.34"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]",
     "127。0。0。1", "local.example", "mixed.example", "six.example", "0x7f.1"],
)  # fmt: skip
def test_no_connection_is_made_to_an_address_that_is_not_public(server, internet, tmp_path, host):
    internet.names["local.example"] = internet.names["0x7f.1"] = [["127.0.0.1"]]
    internet.names["mixed.example"] = [["10.0.0.1", "::1", "192.168.0.1"]]
    internet.names["six.example"] = [["::ffff:127.0.0.1"]]
    server.answers["/a"] = GOOD
    failed = fetch_one(server, tmp_path, url=server.url("/a", host), allow_private=False, retries=3)
    assert failed.reason == "address is not public"
    assert "data.download.allow_private=true" in failed.detail
    assert not failed.final  # the name may lead elsewhere tomorrow
    assert internet.tried == []
    assert not server.asked


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "127.1"])
def test_an_address_in_a_form_of_old_is_not_connected_to(server, internet, tmp_path, host):
    failed = fetch_one(server, tmp_path, url=server.url("/a", host), allow_private=False)
    assert failed.reason in ("address is not public", "address is not a valid URL")
    assert internet.tried == []


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/secret", "//[::ffff:127.0.0.1]:{port}/secret",
                                    "http://inside.example:{port}/secret"])  # fmt: skip
def test_a_redirect_to_an_address_that_is_not_public_is_refused(server, internet, tmp_path, target):
    internet.names["inside.example"] = [["192.168.0.1"]]
    server.answers["/a"] = redirect("/b")
    server.answers["/b"] = redirect(target.format(port=server.port))
    server.answers["/secret"] = GOOD
    failed = fetch_one(server, tmp_path, url=server.url("/a", "public.example"), allow_private=False)
    assert failed.reason == "address is not public"
    assert set(internet.tried) == {"93.184.216.34"}
    assert server.asked == {"/a": 1, "/b": 1}


def test_a_name_that_changes_its_address_after_the_first_lookup_gains_nothing(server, internet, tmp_path):
    """DNS rebinding. The other port makes aiohttp look the name up again, as time would."""
    internet.names["rebind.example"] = [["93.184.216.34"], ["127.0.0.1"]]
    other = ImageServer()
    other.answers["/b"] = GOOD
    server.answers["/a"] = redirect(other.url("/b", "rebind.example"))
    failed = fetch_one(server, tmp_path, url=server.url("/a", "rebind.example"), allow_private=False)
    other.close()
    assert internet.looked_up == ["rebind.example", "rebind.example"]
    assert failed.reason == "address is not public"
    assert internet.tried == ["93.184.216.34"]
    assert not other.asked


def test_a_public_address_beside_a_private_one_is_used(server, internet, tmp_path):
    internet.names["both.example"] = [["10.0.0.1", "93.184.216.34"]]
    server.answers["/a"] = GOOD
    assert isinstance(
        fetch_one(server, tmp_path, url=server.url("/a", "both.example"), allow_private=False), Downloaded
    )
    assert internet.tried == ["93.184.216.34"]


def test_a_proxy_of_the_environment_is_not_used_and_the_log_says_so(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.answers["/a"] = GOOD
    assert isinstance(fetch_one(server, tmp_path), Downloaded)
    assert "names a proxy for http. It is not used" in caplog.text


def test_a_server_error_and_a_request_to_wait_are_retried(server, tmp_path):
    server.answers["/a"] = [answer(b"", "500 Oops"), answer(b"", "502 Bad Gateway"), GOOD]
    server.answers["/b"] = [answer(b"", "429 Too Many", Retry_After="1"), GOOD]
    started = time.monotonic()
    found = download_images([ImageRequest(path, server.url(f"/{path}")) for path in "ab"], tmp_path, config(retries=2))
    assert all(isinstance(outcome, Downloaded) for outcome in found.values())
    assert server.asked == {"/a": 3, "/b": 2}
    assert time.monotonic() - started >= 1


def test_a_refusal_is_not_retried_and_retries_have_an_end(server, tmp_path):
    server.answers["/b"] = answer(b"", "500 Oops")
    download_images([ImageRequest(path, server.url(f"/{path}")) for path in "ab"], tmp_path, config(retries=2))
    assert server.asked == {"/a": 1, "/b": 3}


def test_a_host_that_asks_for_a_long_pause_is_left_alone_for_the_run(server, tmp_path):
    server.answers["/0"] = answer(b"", "429 Too Many", Retry_After="3600")
    requests = [ImageRequest(str(number), server.url(f"/{number}")) for number in range(20)]
    found = download_images(requests, tmp_path, config(per_host=1, retries=3))
    assert count_reasons(list(found.values())) == {"host asks for a long pause": 20}
    assert not any(failed.final for failed in found.values())
    assert server.asked == {"/0": 1}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("7", 7), (" 7 ", 7), ("-1", 0), ("soon", 0), ("", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
     ("9" * 5000, 999_999_999)],
)  # fmt: skip
def test_retry_after_is_a_number_of_seconds(header, seconds):
    assert retry_after_seconds(header) == seconds


def test_retry_after_may_be_a_date():
    date = datetime.now(timezone.utc) + timedelta(seconds=90)
    assert retry_after_seconds(format_datetime(date, usegmt=True)) == pytest.approx(90, abs=2)


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
    monkeypatch.setattr(download_progress, "LINE_SECONDS", 0.0)
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


def test_words_of_the_server_cannot_steer_the_terminal(server, tmp_path):
    server.answers["/a"] = answer(b"x" * 40, Content_Type="image/\x1b[31mred" + "x" * 500)
    detail = fetch_one(server, tmp_path).detail
    assert "\x1b" not in detail
    assert len(detail) <= 201


@pytest.mark.parametrize(
    ("key", "value"),
    [("concurrency", 0), ("concurrency", 513), ("per_host", 0), ("timeout_seconds", 0),
     ("timeout_seconds", float("nan")), ("max_bytes", 999), ("retries", -1), ("retries", 11)],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_key_and_what_is_allowed(key, value):
    with pytest.raises(UserError, match=rf"data.download.{key}={value}: expected a number from .* to "):
        config(**{key: value})


def test_nothing_else_is_taken_for_an_image():
    assert image_kind(b"") is None
    assert image_kind(b"RIFF\0\0\0\0WAVE") is None
    assert image_kind(b"<svg xmlns='http://www.w3.org/2000/svg'>") is None


def _wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
