"""Key sets with unusable entries, and files replaced by anything: the valid keys serve."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from structlog.testing import capture_logs

from chat.access import keyfile
from chat.access.keyfile import KeyFile
from chat.access.keys import NoKeyLeft, UnusableKeys, parse_keys
from chat.access.tokens import TokenVerifier
from chat.errors import Unauthenticated
from tests.access.signing import eddsa, es256, hs256, jwks, rs256, verifier
from tests.support import SHARING

GOOD = rs256()
EC = es256()
ED = eddsa()


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def long_modulus() -> dict[str, Any]:
    """A key too long for any library: a real one would take minutes to generate."""
    number = rsa.RSAPublicNumbers(65537, 2**20000 + 1)
    return RSAAlgorithm.to_jwk(number.public_key(), as_dict=True)


ODD: dict[str, Any] = {
    "no object": 7,
    "null": None,
    "a list": [],
    "a text": "key",
    "empty": {},
    "no y": without(EC.named("e"), "y"),
    "no x": without(EC.named("e"), "x"),
    "y of another point": {**EC.named("e"), "y": es256().jwk["y"]},
    "no n": {"kty": "RSA", "e": "AQAB", "kid": "x"},
    "no e": without(GOOD.named("x"), "e"),
    "n is a number": {**GOOD.named("x"), "n": 5},
    "n is even": {"kty": "RSA", "n": "A" * 400, "e": "AQAB"},
    "e is null": {**GOOD.named("x"), "e": None},
    "too short": rs256(1024).named("x"),
    "too long": long_modulus(),
    "a short secret": {"kty": "oct", "k": "c2hvcnQ"},
    "no secret": {"kty": "oct"},
    "a secret that is no text": {"kty": "oct", "k": 5},
    "kid is a number": {**EC.jwk, "kid": 7},
    "kid is a list": {**EC.jwk, "kid": []},
    "curve is a list": {**EC.jwk, "crv": []},
    "curve is an object": {**EC.jwk, "crv": {}},
    "curve is null": {**EC.jwk, "crv": None},
    "another curve": ECAlgorithm.to_jwk(
        ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True
    ),
    "X25519": {"kty": "OKP", "crv": "X25519", "x": ED.jwk["x"]},
    "x of no length": {**ED.jwk, "x": ""},
    "kty is a list": {**EC.jwk, "kty": ["EC"]},
    "kty is unknown": {"kty": "AKP", "alg": "ML-DSA-44"},
    "another algorithm": {**EC.jwk, "alg": "ES512"},
    "alg is a list": {**EC.jwk, "alg": []},
    "to encrypt": {**EC.jwk, "use": "enc"},
    "use is a number": {**EC.jwk, "use": 1},
    "other operations": {**EC.jwk, "key_ops": ["sign"]},
    "operations are a text": {**EC.jwk, "key_ops": "verify"},
    "operations are lists": {**EC.jwk, "key_ops": [[], {}]},
    "private": {**EC.jwk, "d": "AAAA"},
}
# Valid keys, whose neighbours stay valid.
ALSO_GOOD: dict[str, Any] = {
    "the same key": GOOD.named("good"),
    "the same key by another name": GOOD.named("bad"),
    "the same name": EC.named("good"),
    "the same name and kind": rs256().named("good"),
    "no name": EC.jwk,
    "alg is null": {**EC.named("e"), "alg": None},
    "all is null that may be left out": {
        **EC.named("e"), "alg": None, "use": None, "key_ops": None, "kid": None,
    },
    "a text that is none": EC.named("\ud83d"),
    "an empty name": EC.named(""),
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", [*ODD, *ALSO_GOOD])
def test_good_key_serves_beside_odd_ones(tmp_path: Path, name: str, first: bool) -> None:
    other = {**ODD, **ALSO_GOOD}[name]
    good = GOOD.named("good")
    with capture_logs() as lines:
        believes = verifying(tmp_path, [other, good] if first else [good, other])
    assert believes.verify(GOOD.token(kid="good")).subject == "ada"
    warnings = [line for line in lines if line["log_level"] == "warning"]
    if name in ODD:
        [line] = warnings
        [reason] = line["reasons"]
        assert reason.startswith(f"keys[{0 if first else 1}]: ")
    else:
        assert not warnings


@pytest.mark.parametrize("name", ODD)
def test_odd_key_alone_is_refused(name: str) -> None:
    with pytest.raises(NoKeyLeft):
        parse_keys(json.dumps({"keys": [ODD[name]]}).encode())


def verifying(folder: Path, keys: list[Any]) -> TokenVerifier:
    return verifier(folder / "keys", json.dumps({"keys": keys}))


def test_keys_of_one_name_are_all_tried(tmp_path: Path) -> None:
    """RFC 7517, section 4.5: a `kid` is unique only if the issuer takes care."""
    first, second, other = rs256(), rs256(), rs256()
    for name in ("one", None):
        keys = [key if name is None else {**key, "kid": name} for key in (first.jwk, second.jwk)]
        believes = verifying(tmp_path, keys)
        for signer in (first, second):
            assert believes.verify(signer.token(kid="one")).subject == "ada"
        with pytest.raises(Unauthenticated, match=r"^the token is not valid$"):
            believes.verify(other.token(kid="one"))
        with pytest.raises(Unauthenticated, match="has expired"):
            believes.verify(second.token(kid="one", exp=1))


def test_key_warning_is_bounded() -> None:
    short = "c2hvcnQ"
    odd = [{"kty": "oct", "k": short, "kid": "name"}] * 5000
    with capture_logs() as lines:
        parse_keys(json.dumps({"keys": [*odd, GOOD.jwk]}).encode())
    [line] = lines
    assert len(line["reasons"]) == 11
    assert line["reasons"][-1] == "and 4990 more"
    assert short not in str(line)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.sampled_from([*EC.jwk.values(), *GOOD.jwk.values(), "sig", "verify", "oct", "RS256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(
    ["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "x", "y", "k", "d", "x5c", "x5t"]
)
KEYS = (
    JSON
    | st.dictionaries(MEMBERS, JSON)
    | st.builds(
        lambda jwk, changes: {**jwk, **changes},
        st.sampled_from([GOOD.named("good"), EC.jwk, ED.jwk, hs256().jwk]),
        st.dictionaries(MEMBERS, JSON, max_size=3),
    )
)


@SHARING
@given(before=st.lists(KEYS, max_size=3), after=st.lists(KEYS, max_size=3))
def test_any_set_keeps_its_good_key(tmp_path: Path, before: list[Any], after: list[Any]) -> None:
    believes = verifying(tmp_path, [*before, GOOD.named("good"), *after])
    assert believes.verify(GOOD.token(kid="good")).subject == "ada"


def deep() -> str:
    return '{"keys": ' + "[" * 100_000


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def as_endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


# Files that say nothing about keys: the known keys stay.
NO_ANSWER: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "a folder": as_folder,
    "a pipe": as_pipe,
    "a loop": as_loop,
    "endless": as_endless,
    "empty": lambda path: path.write_text(""),
    "half": lambda path: path.write_text(jwks(EC.named("two"))[:-20]),
    "not text": lambda path: path.write_bytes(b'{"keys": "\xff"}'),
    "deep": lambda path: path.write_text(deep()),
    "a long number": lambda path: path.write_text('{"keys": ' + "9" * 5000 + "}"),
    "huge": lambda path: path.write_text(jwks(EC.named("two")) + " " * 300_000),
    "another answer": lambda path: path.write_text('{"error": "unavailable"}'),
    "keys are null": lambda path: path.write_text('{"keys": null}'),
    "keys are a text": lambda path: path.write_text('{"keys": "none"}'),
    "a short secret": lambda path: path.write_text("short"),
    "PEM of nothing": lambda path: path.write_text("-----BEGIN PUBLIC KEY-----\nAA==\n"),
}
# Files that revoke all keys.
NO_KEYS: dict[str, str] = {
    "none": '{"keys": []}',
    "others": jwks({"kty": "AKP"}, {**EC.jwk, "crv": "P-521"}),
    "odd": json.dumps({"keys": list(ODD.values())}),
    "a curve that is a list": jwks({**EC.jwk, "crv": []}),
    "one that is of no use": json.dumps({**EC.jwk, "use": "enc"}),
}


class TestWatching:
    """A watched file, replaced by anything."""

    @pytest.fixture(autouse=True)
    def _look_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keyfile, "_LOOK_AGAIN_SECONDS", 0)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "keys"
        path.write_text(jwks(GOOD.named("one")))
        return path

    @pytest.mark.parametrize("name", NO_ANSWER)
    def test_unreadable_file_keeps_the_keys(self, path: Path, name: str) -> None:
        file = KeyFile(path)
        generation = file.generation
        NO_ANSWER[name](path)
        with capture_logs() as lines:
            for _ in range(5):
                assert file.find("RS256", "one")
        assert [line["log_level"] for line in lines] == ["error"]
        assert len(str(lines)) < 1000
        assert file.generation == generation
        self.replace(path, jwks(EC.named("two")))
        assert file.find("ES256", "two")
        assert not file.find("RS256", "one")

    @pytest.mark.parametrize("name", NO_KEYS)
    def test_set_without_keys_revokes_all(self, path: Path, name: str) -> None:
        file = KeyFile(path)
        [old] = file.find("RS256", "one")
        generation = file.generation
        path.write_text(NO_KEYS[name])
        with capture_logs() as lines:
            for _ in range(5):
                assert not file.find("RS256", "one")
        assert [line["log_level"] for line in lines] == ["error"]
        assert "no token is believed" in lines[0]["event"]
        assert old not in file
        assert file.generation > generation
        self.replace(path, jwks(GOOD.named("one")))
        assert file.find("RS256", "one") == (old,)

    @pytest.mark.parametrize("name", NO_KEYS)
    def test_set_without_keys_is_refused_at_start(self, path: Path, name: str) -> None:
        path.write_text(NO_KEYS[name])
        with pytest.raises(UnusableKeys, match=r"^cannot use the keys "):
            KeyFile(path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_forbidden_file_is_read_later(self, path: Path) -> None:
        file = KeyFile(path)
        path.write_text(jwks(EC.named("two")))
        path.chmod(0)
        assert file.find("RS256", "one")
        path.chmod(0o600)
        assert file.find("ES256", "two")

    def test_key_file_changes_are_logged(self, path: Path) -> None:
        file = KeyFile(path)
        with capture_logs() as lines:
            for text in ("{", "{ ", "{  "):
                path.write_text(text)
                file.refresh()
                file.refresh()
            path.unlink()
            file.refresh()
            file.refresh()
        assert len(lines) == 4

    def replace(self, path: Path, text: str) -> None:
        following = path.with_name("following")
        following.write_text(text)
        if path.is_dir():
            path.rmdir()
        following.replace(path)
