"""Which network addresses may be asked for an image: those of the public internet, unless the config says otherwise.

Image addresses come from crawled pages. Without this rule a page could make this machine ask its own services, its
neighbours, or the metadata service of a cloud (169.254.169.254), and store the answer.
"""

import ipaddress
import socket
from typing import Any

# All that is assigned for the public lies in here; what lies outside is refused without a list of exceptions.
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))  # 6to4, Teredo: IPv4 inside
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: how an IPv6-only network reaches an IPv4 address


class AddressRefused(OSError):
    """The address is not public. The text is the same for every address, since aiohappyeyeballs, which collects what
    happened to each address of a host, keeps the type of an error only if all of them read alike."""

    def __init__(self, address: str) -> None:
        super().__init__("address is not public")
        self.address = address


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: not private, loopback, link-local, shared, multicast,
    reserved or unspecified, nor an IPv6 form of such an IPv4 address. What is no canonical IP address is not public."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # 2130706433, 0177.0.0.1: the system would read them as 127.0.0.1
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
    if parsed.ipv4_mapped is not None:
        return is_public(str(parsed.ipv4_mapped))
    if parsed in NAT64:
        return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed in GLOBAL_UNICAST and parsed.is_global and not any(parsed in tunnel for tunnel in TUNNELS)


def public_socket(address_info: tuple[Any, ...]) -> socket.socket:
    """A socket for one entry of `getaddrinfo`, made only for a public address.

    It is the gate for `aiohttp.TCPConnector(socket_factory=…)`: every connection passes here with the very address that
    it goes to, after the name was looked up. So one check covers an address in a URL however it is written, a name that
    resolves to it (also one that resolves to another address the second time), and every hop of a redirect.

    Raises:
        AddressRefused: the address is not public.
    """
    family, kind, protocol, _, address = address_info
    if not is_public(address[0]):
        raise AddressRefused(address[0])
    return socket.socket(family, kind, protocol)
