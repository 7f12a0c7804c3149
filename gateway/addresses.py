"""From where a request came: what the socket says, unless a proxy that we trust knows better.

`X-Forwarded-For` is a list that every proxy appends to, and its beginning is the caller's own text.
It is read from its end, and only as far as the proxies are ours: `TRUSTED_PROXIES`, a list of
networks that is empty by default. Both ways to a call, `gateway.lane` and Django's, ask here.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings

from gateway.scopes import Network, parsed_networks, within

UNKNOWN = ""  # lies in no network: a key with an allow-list is refused


def client_address(environ: Mapping[str, Any]) -> str:
    """The address of who asks, from WSGI's variables (PEP 3333, RFC 3875).

    `UNKNOWN` where a trusted proxy sent a list that cannot be read.
    """
    address: str = environ.get("REMOTE_ADDR") or UNKNOWN
    trusted = settings.TRUSTED_PROXIES
    if not trusted:
        return address
    ours = _parsed(tuple(trusted))
    hops = [hop.strip() for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    while within(address, ours) and hops != [""] and hops:
        address = hops.pop()
    return address


@lru_cache(maxsize=4)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return parsed_networks(networks)
