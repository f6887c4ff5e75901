"""Keys from a file."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm
from structlog.testing import capture_logs

from chat.access.keyfile import KeyFile
from chat.access.keys import UnusableKeys, parse_keys
from tests.access.signing import SECRET, Signer, eddsa, es256, hs256, jwks, rs256

KINDS = pytest.mark.parametrize("make", [hs256, rs256, es256, eddsa])


@KINDS
def test_set_jwk_and_pem_are_parsed(make: Callable[[], Signer]) -> None:
    signer = make()
    for text in (jwks(signer.named("one")), json.dumps(signer.named("one"))):
        [key] = parse_keys(text.encode())
        assert (key.key_id, key.algorithm) == ("one", signer.algorithm)
    [key] = parse_keys(signer.pem + b"\n")
    assert (key.key_id, key.algorithm) == (None, signer.algorithm)


@KINDS
def test_byte_order_mark_is_ignored(make: Callable[[], Signer]) -> None:
    signer = make()
    for text in (jwks(signer.named("one")).encode(), signer.pem):
        assert parse_keys(b"\xef\xbb\xbf" + text) == parse_keys(text)


def test_foreign_keys_are_passed_over() -> None:
    """As in key sets published by identity providers."""
    own = rs256().named("sig")
    others = [
        {**rs256().named("enc"), "alg": "RSA-OAEP", "use": "enc"},
        {**rs256().named("rs512"), "alg": "RS512"},
        {**rs256().named("secret"), "use": "enc"},
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "later"},
        rs256(1024).named("old"),
    ]
    with capture_logs() as lines:
        [key] = parse_keys(json.dumps({"keys": [*others, {**own, "use": "sig"}]}).encode())
    assert (key.key_id, key.algorithm) == ("sig", "RS256")
    [line] = lines
    assert (line["log_level"], len(line["reasons"])) == ("warning", len(others))


def p384() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP384R1()).public_key()


def certificate() -> bytes:
    """A certificate in DER, as in `x5c` of a JWK."""
    pem = trustme.CA().cert_pem.bytes()
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


PUBLIC = p384()
DER = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PRIVATE = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
WRONG: dict[str, tuple[Any, str]] = {
    "short secret": (b"too short", "at least 32 bytes"),
    "empty": (b"", "at least 32 bytes"),
    "not JSON": (b"{", "not JSON"),
    "no keys": ({"keys": []}, "no keys"),
    "keys are no list": ({"keys": {}}, "no keys"),
    "no object": ({"keys": [1]}, r"keys\[0\]: is not an object"),
    "another kind": ({"keys": [{"kty": "none"}]}, r"keys\[0\]: must be a key for"),
    "for another use": ({**es256().jwk, "use": "enc"}, "must be a key for signatures"),
    "for another operation": (
        {**es256().jwk, "key_ops": ["encrypt"]},
        "must be a key for signatures",
    ),
    "operations are no list": ({**es256().jwk, "key_ops": 1}, "must be a key for signatures"),
    "none of several": (
        {"keys": [{"kty": "none"}, {**es256().jwk, "use": "enc"}]},
        r"keys\[0\]: must be .*; keys\[1\]: must be a key for signatures",
    ),
    "another algorithm": ({**hs256().jwk, "alg": "HS512"}, "must be a key for HS256, RS256"),
    "a short key": (rs256(1024).named("one"), "at least 2048 bits"),
    "a private key": (PRIVATE, "is a private key"),
    "another curve": (ECAlgorithm.to_jwk(p384(), as_dict=True), "must be a key for"),
    "another curve, PEM": (
        p384().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "must be a key for",
    ),
    "malformed": ({"kty": "RSA", "n": "!", "e": 1}, "is malformed"),
    "malformed PEM": (b"-----BEGIN PUBLIC KEY-----\nx", "not a public key"),
    "a name that is no text": ({**hs256().jwk, "kid": 1}, "kid must be a string"),
    "a list": ([es256().named("one")], "not a JWK Set"),
    "PEM under a comment": (b"# our key\n" + es256().pem, "not a JWK Set"),
    "UTF-16": (jwks(es256().named("one")).encode("utf-16"), "not a JWK Set"),
    "a key of SSH": (PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "not a JWK Set"),
    "an address": (b"https://login.example.org/realms/chat/certs", "not a JWK Set"),
    "DER": (DER, "a key in DER"),
    "the inside of PEM": (base64.encodebytes(DER), "the inside of PEM"),
    "the same in one line": (base64.urlsafe_b64encode(DER).rstrip(b"="), "the inside of PEM"),
    "the inside of a certificate": (base64.b64encode(certificate()), "the inside of PEM"),
}


@pytest.mark.parametrize("name", WRONG)
def test_unusable_keys_are_named(name: str, tmp_path: Path) -> None:
    content, told = WRONG[name]
    path = tmp_path / "keys"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(UnusableKeys, match=told) as raised:
        KeyFile(path)
    assert str(raised.value).startswith(f"cannot use the keys {path}: ")
    assert "\n" not in str(raised.value)


def test_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableKeys, match="No such file"):
        KeyFile(tmp_path / "keys")


def test_key_is_found_by_kid_and_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(jwks(es256().named("one"), es256().named("two"), eddsa().named("three")))
    file = KeyFile(path)
    for name in ("one", "two"):
        [key] = file.find("ES256", name)
        assert key.key_id == name
    assert not file.find("ES256", None)  # which of the two?
    assert file.find("EdDSA", None)
    assert not file.find("EdDSA", "one")
    assert not file.find("HS256", "one")


def test_unnamed_key_matches_any_kid(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(SECRET)
    assert KeyFile(path).find("HS256", "whatever")
