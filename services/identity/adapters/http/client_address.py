"""The name of a client address in the budget for SMS codes."""

from ipaddress import IPv6Address, ip_network

from shared.runtime.http.client_address import Address

UNKNOWN = "unknown"
# A household or an attacker has a whole /64 of IPv6 addresses, so they share one budget.
IPV6_PREFIX_BITS = 64


def budget_name(address: Address | None) -> str:
    """The address; an IPv6 one as its /64 network."""
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), IPV6_PREFIX_BITS), strict=False))
    return str(address)
