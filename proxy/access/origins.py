"""The web pages that may open a connection: no I/O.

A browser lets every page open a WebSocket to every server, and names the page in `Origin`
(RFC 6454). Other programs can leave it out, or write anything: this protects people from
pages, not the service from programs.

============================  ===============================================
the handshake says            it is allowed
============================  ===============================================
no `Origin`                   always: it is no browser
an origin, and there is a     if the list has it
list
an origin, without a list,    if its host and port are those of the request:
or with ``self`` in it        the page that this proxy served
``null``                      never, unless the list has it: a page in a
                              sandbox, or from a file
============================  ===============================================

In the third row the scheme does not count: where TLS ends in front of the proxy, the page is
``https`` and the request is not. Names of hosts may be written in any script and case:
browsers send the form that is looked up in the DNS.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from yarl import URL

ANY: Final = "*"
SELF: Final = "self"
_NULL: Final = "null"
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# RFC 6454, section 6.2, as browsers write it: no path, and no user.
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:*\[\],]+)(?::(?P<port>[0-9]{1,5}))?"
)
# RFC 9110, section 7.2.
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:*\[\],]+)(?::(?P<port>[0-9]{1,5}))?")


class Origins:
    """Decides for each handshake.

    Args:
        allowed: the origins that may connect, ``*`` for all, ``self`` for the page of
            the proxy itself; empty for that alone.

    Raises:
        ValueError: one of them is no origin; the text names it.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_checked, allowed))

    def allow(self, origins: Sequence[str], host: str) -> bool:
        """Whether a handshake may go on.

        Args:
            origins: the values of its `Origin`.
            host: the host and port that the client asked for, as it wrote them.
        """
        if not origins or ANY in self._allowed:
            return True
        if len(origins) > 1:
            return False
        origin = origins[0].strip().lower()
        if _normal(origin) in self._allowed:
            return True
        own = not self._allowed or SELF in self._allowed
        return own and _same_host(origin, host.strip().lower())


def _checked(origin: str) -> str:
    if origin in (ANY, SELF):
        return origin
    normal = _normal(origin.lower())
    if normal is None:
        raise ValueError(f"origins must be such as https://chat.example.org, not {origin!r}")
    return normal


def _normal(origin: str) -> str | None:
    """An origin without the port that goes without saying; `None` if it is none."""
    if origin == _NULL:
        return origin
    found = _ORIGIN.fullmatch(origin)
    host = found and _looked_up(found["host"])
    if found is None or host is None:
        return None
    scheme, port = found["scheme"], found["port"]
    shown = "" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    return f"{scheme}://{host}{shown}"


def _same_host(origin: str, host: str) -> bool:
    page, asked = _ORIGIN.fullmatch(origin), _HOST.fullmatch(host)
    if page is None or asked is None:
        return False
    default = _DEFAULT_PORTS.get(page["scheme"])
    name = _looked_up(page["host"])
    return (
        name is not None
        and name == _looked_up(asked["host"])
        and default is not None
        and _port(page, default) == _port(asked, default)
    )


def _looked_up(host: str) -> str | None:
    """A name as it stands in the DNS (UTS #46), as browsers write it; `None` if it is none."""
    if host.isascii():
        return host
    try:
        return URL.build(scheme="http", host=host).raw_host
    except ValueError:
        return None


def _port(found: re.Match[str], default: str) -> str:
    return found["port"] or default
