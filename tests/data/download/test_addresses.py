"""Public addresses by the registries of IANA (RFC 6890, RFC 4291), and downloads from others, which are refused."""

import pytest

from safe_exp.data.download import Downloaded
from safe_exp.data.download.addresses import is_public
from tests.data.download.image_server import GOOD, ImageServer, fetch_one, redirect


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses_may_be_asked(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::",
        "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "localhost", "",
    ],
)  # fmt: skip
def test_no_other_address_may_be_asked_however_it_is_written(address):
    assert not is_public(address)


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
    """DNS rebinding: the other port makes aiohttp look up the name again, as it does after a while."""
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
