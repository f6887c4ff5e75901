"""Where a Valkey or Redis is: a URL, as `--hints` has it.

::

    valkeys://user:password@host1:6379,host2/name?ca=/etc/chat/ca.pem

Several hosts are those of one cluster, or servers of which one takes writes. The name keeps
installations apart that share a server: publish and subscribe knows no databases. An error
never quotes the URL, which may hold a password.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from chat.storage.base import StoreUnusable
from hosting.addresses import can_be_host

_PORT: Final = 6379
_WITH_TLS: Final = {"valkey": False, "valkeys": True, "redis": False, "rediss": True}
_FORM: Final = "valkey://user:password@host:port"
_URL: Final = re.compile(
    r"(?P<scheme>valkeys?|rediss?)://((?P<login>[^@/?#]*)@)?(?P<servers>[^@/?#]+)"
    r"(/(?P<name>[^/?#]*))?([?](?P<query>[^#]*))?"
)
# A name, an address, or an IPv6 address in brackets.
_HOST: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(:(?P<port>\d{1,5}))?")

Server = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True)
class ValkeyAddress:
    """Servers of a bus, and how to log in.

    Attributes:
        hosts: the servers, as host and port.
        user: empty for the default one.
        password: empty for none.
        prefix: the beginning of the names of channels.
        has_tls: whether connections are encrypted.
        authorities: the file with the CAs of the servers' certificates; empty for the system's.
    """

    hosts: tuple[Server, ...]
    user: str
    password: str = field(repr=False)
    prefix: str
    has_tls: bool
    authorities: str

    @classmethod
    def parse(cls, url: str) -> "ValkeyAddress":
        """Reads a URL.

        Raises:
            StoreUnusable: it is not one.
        """
        found = _URL.fullmatch(url)
        if found is None:
            raise StoreUnusable(_MALFORMED)
        has_tls = _WITH_TLS[found["scheme"]]
        try:
            query = dict(parse_qsl(found["query"] or "", strict_parsing=bool(found["query"])))
            hosts = tuple(map(_host, found["servers"].split(",")))
        except ValueError:
            raise StoreUnusable(_MALFORMED) from None
        authorities = query.pop("ca", "")
        if query or (authorities and not has_tls):
            raise StoreUnusable(_MALFORMED)
        user, _, password = (found["login"] or "").partition(":")
        prefix = f"chat:{unquote(found['name'])}:" if found["name"] else "chat:"
        return cls(hosts, unquote(user), unquote(password), prefix, has_tls, authorities)


_MALFORMED: Final = (
    f"the URL of hints is malformed: it must have the form {_FORM}, with percent signs for special "
    "characters in a name or password (%40 for @), and valkeys:// for TLS, where ?ca=FILE names CAs"
)


def _host(text: str) -> Server:
    """Reads ``host:port``; raises a ValueError if it is not that."""
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(text)
    host, port = found["host"].strip("[]"), int(found["port"] or _PORT)
    if not (host and can_be_host(host) and 0 < port < 65536):
        raise ValueError(text)
    return host, port
