"""One image from a server that misbehaves: it is stored, refused with a reason, or tried again."""

import asyncio
import gzip
import re
import subprocess
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from safe_exp.data.download import Downloaded, Failed, ImageRequest, download_images
from safe_exp.data.download.fetch import retry_after_seconds
from safe_exp.data.download.kinds import image_kind
from safe_exp.data.reading.articles import count_reasons
from tests.data.download.image_server import GOOD, answer, config, fetch_one, images_in, picture, redirect


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


def test_words_of_the_server_cannot_steer_the_terminal(server, tmp_path):
    server.answers["/a"] = answer(b"x" * 40, Content_Type="image/\x1b[31mred" + "x" * 500)
    detail = fetch_one(server, tmp_path).detail
    assert "\x1b" not in detail
    assert len(detail) <= 201


def test_nothing_else_is_taken_for_an_image():
    assert image_kind(b"") is None
    assert image_kind(b"RIFF\0\0\0\0WAVE") is None
    assert image_kind(b"<svg xmlns='http://www.w3.org/2000/svg'>") is None
