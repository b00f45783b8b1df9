"""Whose request it is, for the budget per client address.

`X-Forwarded-For` is believed only as far as trusted proxies wrote it: anybody can send the header.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
# A household or an attacker has a whole /64 of IPv6 addresses, so they share one budget.
IPV6_PREFIX_BITS = 64
HOPS_MAX = 16


class ClientAddresses:
    """`trusted` are the networks of our own proxies."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)

    def of(self, peer: str | None, forwarded_for: Sequence[str]) -> str:
        """The nearest address that is not a trusted proxy's; an IPv6 one as its /64 network."""
        address = _parse(peer or "")
        hops = [hop for header in forwarded_for for hop in header.split(",")]
        for hop in reversed(hops[-HOPS_MAX:]):
            if address is None or not self._is_trusted(address):
                break
            earlier = _parse(hop.strip())
            if earlier is None:
                break
            address = earlier
        return _budget_name(address)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _budget_name(address: IPv4Address | IPv6Address | None) -> str:
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), IPV6_PREFIX_BITS), strict=False))
    return str(address)
