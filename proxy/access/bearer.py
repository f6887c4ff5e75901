"""The token of a handshake.

A client puts it in the `Authorization` header (RFC 6750, section 2.1). A browser cannot set
one, and offers a subprotocol beside the one of this service (RFC 6455, section 1.9)::

    new WebSocket(url, ["chat", "bearer." + token])

Never in the address, which ends up in logs and histories.
"""

import re
from pathlib import Path
from typing import Final

from proxy.access.forwarded import Headers

PROTOCOL: Final = "chat"
_SCHEME: Final = "bearer"
_OFFER: Final = "bearer."
# RFC 6750, section 2.1. Nothing else can be passed on in metadata.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class BadCredentials(Exception):
    """The token of a handshake is not where or what it should be; the text is for the client."""


def of_request(headers: Headers, *, required: bool) -> str | None:
    """Finds the token of a handshake.

    Args:
        headers: the headers of the request.
        required: whether there has to be one. If not, credentials of another scheme are
            for somebody else: a proxy in front asks for a password, and passes it on.

    Returns:
        The token; `None` if there is none.

    Raises:
        BadCredentials: it is not where or what it should be.
    """
    credentials = headers.getall("Authorization", [])
    scheme, _, token = ", ".join(credentials).strip().partition(" ")
    # Several lines are one list: RFC 6455, section 11.3.4.
    lines = headers.getall("Sec-WebSocket-Protocol", [])
    offers = [each.strip() for each in ",".join(lines).split(",")]
    offered = [each[len(_OFFER) :] for each in offers if each.startswith(_OFFER)]
    if offered and PROTOCOL not in offers:
        raise BadCredentials(f"offer the subprotocol {PROTOCOL} beside the token")
    is_bearer = scheme.lower() == _SCHEME
    if scheme and required and not is_bearer:
        raise BadCredentials("Authorization must be a bearer token")
    found = [*([token.strip()] if is_bearer else []), *offered]
    if len(found) > 1 or (is_bearer and len(credentials) > 1):
        raise BadCredentials("present one token")
    return found[0] if found else None


def can_be_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def of_file(path: str) -> str:
    """Reads a token from a file that holds nothing else.

    Raises:
        OSError: it cannot be read, or holds no token.
    """
    text = Path(path).read_bytes().strip().decode("ascii", "replace")
    if not can_be_token(text):
        raise OSError(f"there is no token in {path}")
    return text
