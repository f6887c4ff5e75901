"""Verification of tokens."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.access.tokens import TokenVerifier
from chat.errors import Unauthenticated
from tests.access.signing import SECRET, Signer, eddsa, es256, forged, hs256, jwks, rs256, verifier
from tests.support import SHARING

# Long-lived tokens: a whole run may take minutes.
NOW = int(time.time())
HOUR = 3600


@pytest.fixture
def hs(tmp_path: Path) -> TokenVerifier:
    """A verifier with a secret, without required claims and leeway."""
    return verifier(tmp_path / "keys", SECRET, leeway_seconds=0)


@pytest.mark.parametrize("make", [hs256, rs256, es256, eddsa])
def test_algorithms_are_verified(make: Callable[[], Signer], tmp_path: Path) -> None:
    signer, other = make(), make() if make is not hs256 else hs256(b"x" * 32)
    believes = verifier(tmp_path / "keys", jwks(signer.named("one"))).verify
    identity = believes(signer.token(kid="one", exp=NOW + HOUR))
    assert identity.subject == "ada"
    assert identity.expires_at == NOW + HOUR + 10
    assert "lobby" in identity.reads
    assert "lobby" in identity.writes
    assert not identity.is_admin
    assert not identity.is_proxy
    with pytest.raises(Unauthenticated, match="not valid"):
        believes(other.token(kid="one"))
    with pytest.raises(Unauthenticated, match="not known"):
        believes(signer.token(kid="two"))


CLAIMS = {"sub": "ada", "exp": NOW + HOUR}


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS512", "RS512", None, 1, ["HS256"]])
def test_other_algorithms_are_refused(hs: TokenVerifier, algorithm: object) -> None:
    with pytest.raises(Unauthenticated):
        hs.verify(forged(CLAIMS, {"alg": algorithm, "typ": "JWT"}, None))


def test_public_key_is_no_secret(tmp_path: Path) -> None:
    """Algorithm confusion: a public key must not verify an HMAC (RFC 8725, section 2.1)."""
    signer = rs256()
    believes = verifier(tmp_path / "keys", signer.pem).verify
    for text in (signer.pem, signer.pem.strip()):
        with pytest.raises(Unauthenticated, match="not known"):
            believes(forged(CLAIMS, secret=text))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": NOW - 1}, "has expired"),
    "no end": ({"exp": None}, "has no exp"),
    "an end that is no time": ({"exp": "soon"}, "exp must be a number"),
    "not yet": ({"nbf": NOW + HOUR}, "not valid yet"),
    "nobody": ({"sub": None}, "has no sub"),
    "an empty name": ({"sub": ""}, "sub: must not be empty"),
    "a long name": ({"sub": "x" * 65}, "sub: must have at most 64"),
    "a name with a line end": ({"sub": "a\nb"}, "sub: must not contain control"),
    "an audience": ({"aud": "someone"}, "another audience"),
    "an unknown role": ({"role": "king"}, "role is not known"),
    "rooms that are a list": ({"rooms": ["*"]}, "rooms must be an object"),
    "a pattern that is no text": ({"rooms": {"read": [1]}}, "rooms.read must be a list"),
    "patterns that are no list": ({"rooms": {"write": "*"}}, "rooms.write must be a list"),
    "a star in the middle": ({"rooms": {"read": ["a*b"]}}, "rooms.read: . may only end"),
    "too many": ({"rooms": {"read": ["a"] * 1001}}, "at most 1000 patterns"),
    "too long": ({"filler": "x" * 9000}, "too long"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_why(hs: TokenVerifier, name: str) -> None:
    claims, told = REFUSED[name]
    with pytest.raises(Unauthenticated, match=told):
        hs.verify(hs256().token(**claims))


def test_issuer_and_audience_are_required(tmp_path: Path) -> None:
    believes = verifier(tmp_path / "keys", SECRET, issuer="idp", audience="chat").verify
    assert believes(hs256().token(iss="idp", aud=["web", "chat"])).subject == "ada"
    for claims, told in (
        ({"aud": "chat"}, "has no iss|another issuer"),
        ({"iss": "idp"}, "has no aud|another audience"),
        ({"iss": "other", "aud": "chat"}, "another issuer"),
        ({"iss": "idp", "aud": "web"}, "another audience"),
    ):
        with pytest.raises(Unauthenticated, match=told):
            believes(hs256().token(**claims))


def test_leeway_covers_clock_skew(tmp_path: Path) -> None:
    believes = verifier(tmp_path / "keys", SECRET, leeway_seconds=HOUR).verify
    token = hs256().token(exp=NOW - 5, nbf=NOW + HOUR - 5)
    assert believes(token).expires_at == NOW - 5 + HOUR
    with pytest.raises(Unauthenticated):
        believes(hs256().token(exp=NOW - HOUR - 5))


def test_token_without_rooms_opens_none(hs: TokenVerifier) -> None:
    identity = hs.verify(hs256().token(rooms=None))
    assert "lobby" not in identity.reads
    identity = hs.verify(hs256().token(rooms={"read": ["lobby"]}))
    assert "lobby" in identity.reads
    assert "lobby" not in identity.writes


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        ("user", (False, False, False)),
        ("moderator", (True, False, False)),
        ("admin", (False, True, False)),
        ("proxy", (False, False, True)),
    ],
)
def test_role_gives_its_rights(
    hs: TokenVerifier, role: str, rights: tuple[bool, bool, bool]
) -> None:
    identity = hs.verify(hs256().token(role=role))
    assert (identity.is_moderator, identity.is_admin, identity.is_proxy) == rights


def test_bearer_header_is_parsed(hs: TokenVerifier) -> None:
    token = hs256().token()
    for header in (f"Bearer {token}", f"bearer  {token} "):
        assert hs.bearer(header).subject == "ada"
    for header in ("", token, f"Basic {token}", "Bearer", "Bearer "):
        with pytest.raises(Unauthenticated):
            hs.bearer(header)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


class TestGarbage:
    """Invalid and damaged tokens."""

    @SHARING
    @given(st.text() | st.lists(st.text("abcXYZ019-_="), min_size=3, max_size=3).map(".".join))
    def test_garbage_is_refused(self, hs: TokenVerifier, token: str) -> None:
        with pytest.raises(Unauthenticated):
            hs.verify(token)

    @SHARING
    @given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), JSON))
    def test_any_header_is_refused(self, hs: TokenVerifier, header: dict[str, Any]) -> None:
        with pytest.raises(Unauthenticated):
            hs.verify(forged(CLAIMS, header, None))

    @given(st.data())
    @SHARING
    def test_changed_token_is_refused(self, hs: TokenVerifier, data: st.DataObject) -> None:
        token = hs256().token()
        # The last character of a part may hold unused bits.
        place = data.draw(st.integers(0, len(token) - 2))
        changed = token[:place] + data.draw(st.sampled_from("aZ0.-")) + token[place + 1 :]
        if changed != token and "." not in (token[place], token[place + 1]):
            with pytest.raises(Unauthenticated):
                hs.verify(changed)
