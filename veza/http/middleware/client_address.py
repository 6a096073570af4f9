"""The address of a client behind proxies that we trust."""

import functools
import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The configured proxies: single addresses or networks."""

    def __init__(self, configured: Iterable[str]) -> None:
        self._networks: tuple[Network, ...] = tuple(ipaddress.ip_network(text, strict=False) for text in configured)
        # The same few addresses come with every request.
        self.trusts = functools.lru_cache(maxsize=1024)(self._trusts)

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def client_address(peer: str, forwarded_for: str | None, proxies: TrustedProxies) -> str:
    """The nearest address in the chain that is no trusted proxy.

    Read from the right: what stands left of the first stranger is the stranger's own claim.
    """
    if not forwarded_for or not proxies.trusts(peer):
        return peer
    address = peer
    for entry in reversed(forwarded_for.split(",")):
        candidate = entry.strip()
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            return address
        address = candidate
        if not proxies.trusts(address):
            return address
    return address


def subject_of(address: str) -> str:
    """Whom an address stands for when requests are counted: of IPv6 it is the network, for everybody has one whole."""
    return _network_of(address) if ":" in address else address


@functools.lru_cache(maxsize=4096)
def _network_of(address: str) -> str:
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64)) + "/64"
