"""What an API key may be used for, and from where: narrower than its license, never wider.

    predict explain    calls of the model; the license must cover them as well
    feedback           true labels of its calls
    read               usage, receipts, the license and its keys

A key without scopes may be used for all that its license allows. What its model is, and which row
it takes, every key may read: no call can be made without it.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gateway.models import Feature
from governance.errors import InvalidError

FEEDBACK: Final = "feedback"
READ: Final = "read"
SCOPES: Final = tuple(dict.fromkeys((*Feature.values, FEEDBACK, READ)))
MOST_ADDRESSES: Final = 32

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def narrowed(scopes: Iterable[str] | None, features: Collection[str]) -> list[str] | None:
    """Scopes as they are stored, in the order of `SCOPES`; None stays None.

    Args:
        scopes: what is asked for.
        features: of the license.

    Raises:
        InvalidError: `key.scopes_invalid`: empty, unknown, or a call that the license lacks.
    """
    if scopes is None:
        return None
    wanted = set(scopes)
    if not wanted or not wanted <= set(SCOPES) or (wanted & set(Feature.values)) - set(features):
        raise InvalidError(
            "name one or more scopes that there are and that the license covers",
            code="key.scopes_invalid",
            pointer="/scopes",
        )
    return [scope for scope in SCOPES if scope in wanted]


def networks(addresses: Iterable[str]) -> list[str]:
    """CIDR networks as they are stored: canonical, each once, at most `MOST_ADDRESSES`.

    Raises:
        InvalidError: `key.addresses_invalid`: no network, one with host bits set, or too many.
    """
    wanted = list(addresses)
    try:
        if len(wanted) > MOST_ADDRESSES:
            raise ValueError  # noqa: TRY301 - told with the others
        return list(dict.fromkeys(str(_network(text)) for text in wanted))
    except ValueError:
        raise InvalidError(
            f"up to {MOST_ADDRESSES} networks, such as 192.0.2.0/24 or 2001:db8::/32",
            code="key.addresses_invalid",
            pointer="/addresses",
        ) from None


def parsed_networks(stored: Iterable[str]) -> tuple[Network, ...]:
    """Networks as they are compared."""
    return tuple(_network(text) for text in stored)


def within(address: str, allowed: Iterable[Network]) -> bool:
    """Whether an address lies in one of the networks. What is no address lies in none."""
    found = parsed_address(address)
    return found is not None and any(found in network for network in allowed)


@lru_cache(maxsize=1024)
def parsed_address(text: str) -> Address | None:
    """An address; one of IPv4 that came in IPv6's clothes (RFC 4291, 2.5.5.2) as itself."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:  # of a link: it means nothing beyond this machine
            return None
        return address.ipv4_mapped or address
    return address


def _network(text: str) -> Network:
    """A network.

    Raises:
        ValueError: it is none, or names hosts where a network stands.
    """
    network = ip_network(text.strip())
    if isinstance(network, IPv6Network) and (
        network.network_address.scope_id is not None or network.network_address.ipv4_mapped
    ):
        raise ValueError
    return network
