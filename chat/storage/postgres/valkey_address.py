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
from chat.storage.postgres.address import host_and_port, password_in
from hosting.addresses import can_be_host

_PORT: Final = 6379
_WITH_TLS: Final = {"valkey": False, "valkeys": True, "redis": False, "rediss": True}
_FORM: Final = "valkey://user:password@host:port"
_URL: Final = re.compile(
    r"(?P<scheme>valkeys?|rediss?)://((?P<login>[^@/?#]*)@)?(?P<servers>[^@/?#]+)"
    r"(/(?P<name>[^/?#]*))?([?](?P<query>[^#]*))?"
)

Server = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True)
class ValkeyAddress:
    """Servers of a bus, and how to log in.

    Attributes:
        hosts: the servers, as host and port.
        user: empty for the default one.
        given_password: that of the URL; empty for none.
        prefix: the beginning of the names of channels.
        has_tls: whether connections are encrypted.
        authorities: the file with the CAs of the servers' certificates; empty for the system's.
        password_file: where the password stands; empty if not in a file.
    """

    hosts: tuple[Server, ...]
    user: str
    given_password: str = field(repr=False)
    prefix: str
    has_tls: bool
    authorities: str
    password_file: str

    @classmethod
    def parse(cls, url: str, password_file: str = "") -> "ValkeyAddress":
        """Reads a URL.

        Raises:
            StoreUnusable: it is not one, or the password is given twice.
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
        if password and password_file:
            raise StoreUnusable("the password of hints is in their URL and in a file, too")
        prefix = f"chat:{unquote(found['name'])}:" if found["name"] else "chat:"
        login = unquote(user), unquote(password)
        return cls(hosts, *login, prefix, has_tls, authorities, password_file)

    def password(self) -> str:
        """Returns the password; reads it from its file, which may have changed; empty for none.

        Raises:
            OSError: the file cannot be read.
            StoreUnusable: there is none in it.
        """
        return password_in(self.password_file) if self.password_file else self.given_password


_MALFORMED: Final = (
    f"the URL of hints is malformed: it must have the form {_FORM}, with percent signs for special "
    "characters in a name or password (%40 for @), and valkeys:// for TLS, where ?ca=FILE names CAs"
)


def _host(text: str) -> Server:
    """Reads ``host:port``; raises a ValueError if it is not that."""
    found = host_and_port(text, str(_PORT))
    if found is None or not can_be_host(found[0]):
        raise ValueError(text)
    return found
