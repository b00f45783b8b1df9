"""Whose request it is, seen through our own proxies.

`X-Forwarded-For` is believed only as far as trusted proxies wrote it: anybody can send the header.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import structlog

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

HOPS_MAX = 16
LOOPBACK = "127.0.0.0/8,::1"
# `203.0.113.7:51234`, `[2001:db8::7]` and `[2001:db8::7]:51234`: some proxies write the port.
WITH_PORT = re.compile(
    r"(?P<ipv4>[0-9.]+):[0-9]{1,5}|\[(?P<ipv6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\](:[0-9]{1,5})?"
)

log = structlog.get_logger(__name__)


def _nothing() -> None:
    """Nobody counts."""


class ClientAddresses:
    """`trusted` are the networks of our own proxies.

    `count_unreadable` is called for each address that one of them wrote and nobody can read.
    """

    def __init__(
        self, trusted: Iterable[Network], *, count_unreadable: Callable[[], None] = _nothing
    ) -> None:
        self._trusted = tuple(trusted)
        self._count_unreadable = count_unreadable

    def of(self, peer: str | None, forwarded_for: Sequence[str]) -> Address | None:
        """The nearest address that is not a trusted proxy's; None where there is none at all.

        Where a trusted proxy wrote what cannot be read, that proxy's own address: safe, but
        everybody behind it shares it, so it is logged and counted.
        """
        address = _parse(peer or "")
        hops = [hop for header in forwarded_for for hop in header.split(",")]
        for hop in reversed(hops[-HOPS_MAX:]):
            if address is None or not self._is_trusted(address):
                break
            earlier = _parse(_without_port(hop.strip()))
            if earlier is None:
                self._count_unreadable()
                log.warning("forwarded_for_unreadable", proxy=str(address), length=len(hop))
                break
            address = earlier
        return address

    def trusts(self, peer: str | None) -> bool:
        """Whether this is the address of one of our own proxies."""
        address = _parse(peer or "")
        return address is not None and self._is_trusted(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parse_networks(value: str) -> list[Network]:
    """Networks with commas between them. Raises ValueError."""
    return [ip_network(part.strip()) for part in value.split(",") if part.strip()]


def _without_port(hop: str) -> str:
    found = WITH_PORT.fullmatch(hop)
    return hop if found is None else found["ipv4"] or found["ipv6"]


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
