"""Addresses that may be asked for an image: those of the public internet, unless the config allows others.

Image addresses come from crawled pages. Without this rule a page could make this machine ask its own services, its
neighbours, or the metadata service of a cloud (169.254.169.254), and store the answer.
"""

import ipaddress
import socket
from typing import Any

# All public IPv6 addresses lie in here; addresses outside are refused without a list of exceptions.
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))  # 6to4, Teredo: IPv4 inside
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: how an IPv6-only network reaches an IPv4 address


class AddressRefused(OSError):
    """An address that is not public.

    The text is the same for every address: aiohappyeyeballs, which collects the errors of all addresses of a host,
    keeps their type only if their texts are equal.
    """

    def __init__(self, address: str) -> None:
        super().__init__("address is not public")
        self.address = address


def is_public(address: str) -> bool:
    """Tell if an IP address belongs to the public internet.

    It does not if it is private, loopback, link-local, shared, multicast, reserved or unspecified, an IPv6 form of such
    an IPv4 address, or no canonical IP address.
    """
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
    """Make the socket for one entry of `getaddrinfo`, if its address is public.

    `aiohttp.TCPConnector(socket_factory=…)` calls this for every connection, with its final address, after the name was
    looked up. So one check covers an address in a URL in any spelling, a name that resolves to it (also at the second
    look-up only), and every hop of a redirect.

    Raises:
        AddressRefused: the address is not public.
    """
    family, kind, protocol, _, address = address_info
    if not is_public(address[0]):
        raise AddressRefused(address[0])
    return socket.socket(family, kind, protocol)
