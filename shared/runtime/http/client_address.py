"""Whose request it is, seen through our own proxies.

`X-Forwarded-For` is believed only as far as trusted proxies wrote it: anybody can send the header.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

HOPS_MAX = 16
LOOPBACK = "127.0.0.0/8,::1"


class ClientAddresses:
    """`trusted` are the networks of our own proxies."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)

    def of(self, peer: str | None, forwarded_for: Sequence[str]) -> Address | None:
        """The nearest address that is not a trusted proxy's; None where there is none at all."""
        address = _parse(peer or "")
        hops = [hop for header in forwarded_for for hop in header.split(",")]
        for hop in reversed(hops[-HOPS_MAX:]):
            if address is None or not self._is_trusted(address):
                break
            earlier = _parse(hop.strip())
            if earlier is None:
                break
            address = earlier
        return address

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parse_networks(value: str) -> list[Network]:
    """Networks with commas between them. Raises ValueError."""
    return [ip_network(part.strip()) for part in value.split(",") if part.strip()]


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
