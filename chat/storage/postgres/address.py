"""Where the database is: a URL, as `--database` has it, and the file with its password.

::

    postgresql://user@host1:5432,host2/name?sslmode=verify-full&sslrootcert=ca.pem

The form is that of libpq (https://www.postgresql.org/docs/current/libpq-connect.html, 34.1.1.2).
Several hosts are the servers of one cluster: the one that takes writes is used. What the URL
leaves out comes from the environment (``PGUSER``, ``PGPASSWORD``, ``PGSSLMODE``, …).

A password is nowhere shown: `shown` has none of what may hold one, and no error quotes the URL.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

from chat.storage.base import StoreUnusable
from hosting.addresses import address_text

_URL: Final = re.compile(
    r"(?i:postgres(ql)?)://(?P<login>([^@/?#]*@)?)(?P<hosts>[^@/?#]*)"
    r"(/(?P<name>[^/?#]*))?(\?(?P<query>[^#]*))?"
)
_FORM: Final = "postgresql://user@host:port/name"
_PORT: Final = 5432
# One host of the list: a name, an address, or an IPv6 address in brackets.
_HOST: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """A database, and how to log in.

    Attributes:
        url: all but the servers, perhaps with a password; not to be shown.
        hosts: the servers, as host and port; empty if the environment says.
        shown: the servers and the name of the database, for people.
        password_file: where the password stands; empty if not in a file.
    """

    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...]
    shown: str
    password_file: str

    @classmethod
    def parse(cls, url: str, password_file: str = "") -> "Address":
        """Reads a URL.

        Raises:
            StoreUnusable: it is not one, or the password is given twice.
        """
        parts = _URL.fullmatch(url)
        query = _query(parts["query"] or "") if parts else None
        if parts is None or query is None:
            raise StoreUnusable(
                f"the URL of the database is malformed: it must have the form {_FORM}, with "
                "percent signs for special characters in a name or password (%40 for @)"
            )
        if password_file and (":" in parts["login"] or "password" in query):
            raise StoreUnusable("the password of the database is in its URL and in a file, too")
        hosts = _hosts(parts["hosts"] or query.pop("host", ""), query.pop("port", ""))
        name = unquote(parts["name"] or "") or query.get("dbname", "")
        shown = ",".join(address_text(*each) for each in hosts)
        query.setdefault("target_session_attrs", "read-write")
        rest = f"postgresql://{parts['login']}/{parts['name'] or ''}?{urlencode(query)}"
        return cls(rest, hosts, f"postgresql://{shown}/{name}", password_file)

    def password(self) -> str:
        """Reads the password from its file, which may have changed.

        Raises:
            OSError: it cannot be read.
            StoreUnusable: there is none in it.
        """
        return password_in(self.password_file)


def password_in(file: str) -> str:
    """Reads a password from its file.

    Raises:
        OSError: it cannot be read.
        StoreUnusable: there is none in it.
    """
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise StoreUnusable(f"there is no password in {file}")
    return text


def host_and_port(text: str, port: str) -> tuple[str, int] | None:
    """Reads a host of a list, and its port or else this one; `None` if it is malformed."""
    found = _HOST.fullmatch(text)
    number = (found["port"] or port) if found else ""
    if not (found and found["host"] and number.isdecimal() and 0 < int(number) < 1 << 16):
        return None
    return unquote(found["host"]).strip("[]"), int(number)


def _query(text: str) -> dict[str, str] | None:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        return None


def _hosts(text: str, ports: str) -> tuple[tuple[str, int], ...]:
    """Reads a list of hosts, and the ports of those that have none with them."""
    if not text:
        return ()
    parts = text.split(",")
    given = ports.split(",") if ports else [str(_PORT)]
    if len(given) == 1:
        given *= len(parts)
    found = [host for each in zip(parts, given, strict=False) if (host := host_and_port(*each))]
    if len(found) < len(parts):
        raise StoreUnusable(
            "the URL of the database is malformed: each host must be a name or an address, with "
            "a port from 1 to 65535 behind a colon if it is not 5432"
        )
    return tuple(found)
