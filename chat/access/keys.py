"""The keys that tokens are signed with, as a file holds them.

It holds one of

- a JWK Set or one JWK (RFC 7517), of which each key has an algorithm of its own;
- a public key in PEM;
- a secret for HS256, of at least 32 bytes (RFC 7518, section 3.2).

What looks like a key of another form is not taken for a secret: a public key is no
secret, and with it anyone could sign.

Of a JWK Set, keys that are not understood, not for these algorithms, or not for
signatures, are passed over (RFC 7517, section 5): the others serve. Several may have one
name (section 4.5). Each key is good for exactly one algorithm, which follows
from what kind of key it is and never from what a token says of itself (RFC 8725,
section 3.1).
"""

import json
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from cryptography.x509 import load_der_x509_certificate
from jwt import PyJWK

from hosting.logs import get_logger

log = get_logger(__name__)

# By the type of the key and its curve.
_ALGORITHMS: Final = {
    ("oct", None): "HS256",
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
ALGORITHMS: Final = tuple(_ALGORITHMS.values())
_SHORTEST_SECRET: Final = 32
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# What files begin with that hold no secret: JSON, UTF-16, keys of SSH, an address of keys.
_NO_SECRETS: Final = (
    b"[", b'"', b"\xff\xfe", b"\xfe\xff", b"ssh-", b"ecdsa-", b"sk-ssh-", b"sk-ecdsa-",
    b"http://", b"https://",
)  # fmt: skip
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
# In bits; OpenSSL verifies nothing with a longer one.
_SHORTEST_MODULUS: Final = 2048
_LONGEST_MODULUS: Final = 16_384
# Of how many keys a warning tells why they were passed over.
_MOST_REASONS: Final = 10


class UnusableKeys(Exception):
    """A file of keys that cannot be used; the text is one line for an operator."""


class NoKeyLeft(UnusableKeys):
    """A JWK Set, or a JWK, that is whole, and of which no key can be used."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Attributes:
        key_id: what tokens call it, if it has a name.
        algorithm: the one algorithm that it is good for.
        value: the key, as PyJWT takes it.
    """

    # A key that is given another name is the same.
    key_id: str | None = field(compare=False)
    algorithm: str
    value: Any = field(repr=False)


def parse_keys(text: bytes) -> tuple[Key, ...]:
    """Reads keys, at least one.

    Raises:
        NoKeyLeft: it is a set of keys, but none can be used.
        UnusableKeys: it is nothing that holds keys; perhaps only half of it is there.
    """
    stripped = text.removeprefix(_BYTE_ORDER_MARK).strip()
    if stripped.startswith(b"{"):
        return _jwks(stripped)
    if stripped.startswith(b"-----BEGIN"):
        return (_pem(stripped),)
    _check_secret(text, stripped)
    return (_secret(None, stripped),)


def _jwks(text: bytes) -> tuple[Key, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableKeys("it is not JSON") from error
    members = found.get("keys", [found] if "kty" in found else None)
    if not isinstance(members, list):
        raise UnusableKeys("it has no keys")
    keys: list[Key] = []
    reasons: list[str] = []
    for number, member in enumerate(members):
        try:
            keys.append(_jwk(member))
        except UnusableKeys as error:
            reasons.append(f"keys[{number}]: {error}")
    told = reasons[:_MOST_REASONS]
    if len(reasons) > len(told):
        told.append(f"and {len(reasons) - len(told)} more")
    if not keys:
        raise NoKeyLeft("; ".join(told) or "it has no keys")
    if told:
        log.warning("token keys passed over", reasons=told)
    return tuple(keys)


def _jwk(member: object) -> Key:
    if not isinstance(member, dict):
        raise UnusableKeys("is not an object")
    # What is null is not there.
    kind, curve, key_id = (member.get(name) for name in ("kty", "crv", "kid"))
    algorithm = next((each for key, each in _ALGORITHMS.items() if key == (kind, curve)), None)
    if algorithm is None or member.get("alg") not in (None, algorithm):
        raise UnusableKeys(f"must be a key for {', '.join(ALGORITHMS)}")
    # RFC 7517, sections 4.2 and 4.3.
    operations = member.get("key_ops")
    verifies = operations is None or (isinstance(operations, list) and "verify" in operations)
    if member.get("use") not in (None, "sig") or not verifies:
        raise UnusableKeys("must be a key for signatures")
    if not (key_id is None or isinstance(key_id, str)):
        raise UnusableKeys("kid must be a string")
    if kind != "oct" and "d" in member:
        raise UnusableKeys("is a private key; only the public part belongs here")
    try:
        value = PyJWK(member, algorithm).key
    except Exception as error:
        raise UnusableKeys("is malformed") from error
    return _secret(key_id, value) if kind == "oct" else _public(key_id, value)


def _pem(text: bytes) -> Key:
    try:
        return _public(None, load_pem_public_key(text))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKeys("it is not a public key in PEM") from error


def _public(key_id: str | None, value: object) -> Key:
    match value:
        case RSAPublicKey() if value.key_size < _SHORTEST_MODULUS:
            raise UnusableKeys(f"must have at least {_SHORTEST_MODULUS} bits")
        case RSAPublicKey() if value.key_size > _LONGEST_MODULUS:
            raise UnusableKeys(f"must have at most {_LONGEST_MODULUS} bits")
        case RSAPublicKey():
            return Key(key_id, "RS256", value)
        case EllipticCurvePublicKey() if value.curve.name == "secp256r1":
            return Key(key_id, "ES256", value)
        case Ed25519PublicKey():
            return Key(key_id, "EdDSA", value)
    raise UnusableKeys(f"must be a key for {', '.join(ALGORITHMS)}")


def _check_secret(text: bytes, stripped: bytes) -> None:
    """Checks that what is about to be taken for a secret is nothing that others know.

    Raises:
        UnusableKeys: it looks like something else.
    """
    if stripped.startswith(_NO_SECRETS) or b"-----BEGIN" in stripped:
        raise UnusableKeys("it is not a JWK Set, a public key in PEM or a secret")
    try:
        # Also what is left of PEM without its first and its last line.
        decoded = b64decode(b"".join(stripped.split()).translate(_URL_SAFE) + b"==")
    except ValueError:
        decoded = b""
    if any(map(_is_der, (text, stripped, decoded))):
        raise UnusableKeys("it is a key in DER, or the inside of PEM; it must be PEM")


def _is_der(value: bytes) -> bool:
    for load in (load_der_public_key, load_der_x509_certificate):
        try:
            load(value)
        except UnsupportedAlgorithm:
            return True
        except (ValueError, TypeError):
            continue
        return True
    return False


def _secret(key_id: str | None, value: bytes) -> Key:
    if len(value) < _SHORTEST_SECRET:
        raise UnusableKeys(f"a secret must have at least {_SHORTEST_SECRET} bytes")
    return Key(key_id, "HS256", value)
