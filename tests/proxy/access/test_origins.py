"""Origins of web pages that may open a connection."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.origins import Origins

LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
HOSTS = st.lists(LABELS, min_size=1, max_size=3).map(".".join) | st.ip_addresses().map(
    lambda address: f"[{address}]" if address.version == 6 else str(address)
)
PORTS = st.none() | st.integers(1, 65535)
SCHEMES = st.sampled_from(["http", "https"])


def at(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8080", "localhost:8080"),
        ("https://chat.example.org", "chat.example.org"),
        # TLS ends in a proxy in front, which may or may not write the port.
        ("https://chat.example.org", "chat.example.org:443"),
        ("http://chat.example.org", "chat.example.org:80"),
        ("https://Chat.Example.org", "chat.EXAMPLE.org"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
    ],
)
def test_own_page_is_allowed(origin: str, host: str) -> None:
    assert Origins().allow([origin], host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8081", "localhost:8080"),
        ("http://127.0.0.1:8080", "localhost:8080"),
        ("https://evil.example", "chat.example.org"),
        ("https://chat.example.org.evil.example", "chat.example.org"),
        ("https://evilchat.example.org", "chat.example.org"),
        ("https://sub.chat.example.org", "chat.example.org"),
        ("https://chat.example.org:444", "chat.example.org"),
        ("https://chat.example.org", "chat.example.org:80"),
        ("https://chat.example.org/", "chat.example.org"),
        ("https://chat.example.org@evil.example", "chat.example.org"),
        ("https://evil.example@chat.example.org", "chat.example.org"),
        ("https://evil.example#chat.example.org", "chat.example.org"),
        ("https://chat.example.org, https://evil.example", "chat.example.org"),
        ("chrome-extension://chat.example.org", "chat.example.org"),
        ("file://", ""),
        ("null", "null"),
        ("", ""),
        ("https://", ""),
        ("chat.example.org", "chat.example.org"),
        ("//chat.example.org", "chat.example.org"),
        ("https://chat.example.org", ""),
        ("https://chat.example.org", "chat.example.org, evil.example"),
    ],
)
def test_other_pages_are_refused(origin: str, host: str) -> None:
    assert not Origins().allow([origin], host)


def test_missing_origin_is_allowed() -> None:
    assert Origins().allow([], "localhost:8080")
    assert Origins(["https://chat.example.org"]).allow([], "localhost:8080")


def test_two_origins_are_refused() -> None:
    origins = ["http://localhost:8080"] * 2
    assert not Origins().allow(origins, "localhost:8080")
    assert not Origins(origins[:1]).allow(origins, "localhost:8080")
    assert Origins("*").allow(origins, "localhost:8080")


def test_list_replaces_the_default() -> None:
    origins = Origins(["https://chat.example.org", "http://localhost:3000", "app://desk"])
    for origin in ("https://chat.example.org", "https://chat.example.org:443", "APP://desk"):
        assert origins.allow([origin], "localhost:8080")
    # The page of the proxy too, by which a page that was rebound to its address is refused.
    for origin in ("http://localhost:8080", "http://chat.example.org", "null", "https://x.org"):
        assert not origins.allow([origin], "localhost:8080")


def test_wildcard_and_null_origin() -> None:
    assert Origins(["*"]).allow(["https://evil.example"], "localhost")
    assert Origins(["*"]).allow(["null"], "localhost")
    assert Origins(["null"]).allow(["null"], "localhost")
    assert not Origins(["https://a.org"]).allow(["*"], "localhost")
    assert not Origins().allow(["*"], "*")


@pytest.mark.parametrize(
    "wrong", ["chat.example.org", "https://a.org/", "https://", "https://*.a.org", "a b", ""]
)
def test_invalid_origin_is_refused_as_setting(wrong: str) -> None:
    with pytest.raises(ValueError, match="origins"):
        Origins([wrong])


@given(SCHEMES, HOSTS, PORTS)
def test_same_host_and_port_match(scheme: str, host: str, port: int | None) -> None:
    assert Origins().allow([f"{scheme}://{at(host, port)}"], at(host, port))
    assert Origins([f"{scheme}://{at(host, port)}"]).allow([f"{scheme}://{at(host, port)}"], "")


@given(SCHEMES, HOSTS, PORTS, HOSTS, PORTS)
def test_other_host_or_port_differs(
    scheme: str, host: str, port: int | None, other: str, other_port: int | None
) -> None:
    default = {"http": 80, "https": 443}[scheme]
    same = (host, port or default) == (other, other_port or default)
    assert Origins().allow([f"{scheme}://{at(host, port)}"], at(other, other_port)) == same


@given(st.text(max_size=40), st.text(max_size=40))
def test_nonsense_origin_is_refused(origin: str, host: str) -> None:
    if "://" not in origin:
        assert not Origins().allow([origin], host)


BOOKS = ["https://bücher.example", "https://BÜCHER.example", "https://xn--bcher-kva.example"]


@pytest.mark.parametrize("listed", [*BOOKS, "https://Bücher.Example:443"])
@pytest.mark.parametrize("origin", BOOKS)
def test_international_name_is_encoded(listed: str, origin: str) -> None:
    """Browsers send the encoded name, however it was typed."""
    assert Origins([listed]).allow([origin], "localhost")
    assert not Origins([listed]).allow(["https://bucher.example"], "localhost")
    assert not Origins([listed]).allow(["http://xn--bcher-kva.example"], "localhost")


def test_international_name_follows_uts46() -> None:
    """UTS #46 keeps the sharp s as a letter."""
    assert Origins(["https://straße.example"]).allow(["https://xn--strae-oqa.example"], "")
    assert not Origins(["https://straße.example"]).allow(["https://strasse.example"], "")


@pytest.mark.parametrize("host", ["bücher.example", "xn--bcher-kva.example", "BÜCHER.example:443"])
def test_own_page_with_international_name(host: str) -> None:
    assert Origins().allow(["https://xn--bcher-kva.example"], host)


@pytest.mark.parametrize("origin", ["https://\udcff.example", "https://ü\u200b..example"])
def test_invalid_host_name_is_refused(origin: str) -> None:
    assert not Origins().allow([origin], origin.removeprefix("https://"))
    with pytest.raises(ValueError, match="origins must be such as"):
        Origins([origin])


def test_own_page_beside_listed_origins() -> None:
    origins = Origins(["self", "https://bücher.example"])
    assert origins.allow(["http://localhost:8080"], "localhost:8080")
    assert origins.allow(["https://xn--bcher-kva.example"], "localhost:8080")
    for other in ("self", "null", "http://localhost:8081", "https://evil.example"):
        assert not origins.allow([other], "localhost:8080")
    assert Origins(["self"]).allow(["http://localhost:8080"], "localhost:8080")
    assert not Origins(["self"]).allow(["https://evil.example"], "localhost:8080")
