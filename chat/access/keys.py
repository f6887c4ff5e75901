"""The keys that tokens are signed with, read from a file.

The file holds one of

- a JWK Set or one JWK (RFC 7517), of which each key has an algorithm of its own;
- a public key in PEM;
- a secret for HS256, of at least 32 bytes (RFC 7518, section 3.2).

What looks like a key of another form is not taken for a secret: a public key is no
secret, and with it anyone could sign.

Of a JWK Set, keys that are not for these algorithms, or not for signatures, are passed
over (RFC 7517, section 5). Each key is good for exactly one algorithm, which follows
from what kind of key it is and never from what a token says of itself (RFC 8725,
section 3.1).
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from cryptography.x509 import load_der_x509_certificate
from jwt import PyJWK, PyJWTError

from daemon.logs import get_logger

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
_SHORTEST_MODULUS: Final = 2048
_LOOK_AGAIN_SECONDS: Final = 1.0


class UnusableKeys(Exception):
    """A file of keys that cannot be used; the text is one line for an operator."""


class _NotForUs(UnusableKeys):
    """A key that is in order, and good for other things."""


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
    """Reads keys.

    Raises:
        UnusableKeys: there is none, or one cannot be used.
    """
    stripped = text.removeprefix(_BYTE_ORDER_MARK).strip()
    if stripped.startswith(b"{"):
        keys = tuple(_jwks(stripped))
    elif stripped.startswith(b"-----BEGIN"):
        keys = (_pem(stripped),)
    else:
        _check_secret(text, stripped)
        keys = (_secret(None, stripped),)
    names = [key.key_id for key in keys]
    if len(set(names)) < len(names):
        raise UnusableKeys("each key needs a kid of its own")
    return keys


def _jwks(text: bytes) -> Iterator[Key]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UnusableKeys("it is not JSON") from error
    members = found.get("keys", [found])
    if not (isinstance(members, list) and members):
        raise UnusableKeys("it has no keys")
    passed_over: list[str] = []
    for number, member in enumerate(members):
        try:
            yield _jwk(member)
        except _NotForUs as error:
            passed_over.append(f"keys[{number}]: {error}")
        except UnusableKeys as error:
            raise UnusableKeys(f"keys[{number}]: {error}") from error
    if len(passed_over) == len(members):
        raise UnusableKeys("; ".join(passed_over))
    if passed_over:
        log.warning("token keys passed over", reasons=passed_over)


def _jwk(member: object) -> Key:
    if not isinstance(member, dict):
        raise UnusableKeys("is not an object")
    kind, key_id = str(member.get("kty")), member.get("kid")
    algorithm = _ALGORITHMS.get((kind, member.get("crv") and str(member["crv"])))
    if algorithm is None or member.get("alg", algorithm) != algorithm:
        raise _NotForUs(f"must be a key for {', '.join(ALGORITHMS)}")
    # RFC 7517, sections 4.2 and 4.3.
    operations = member.get("key_ops", ["verify"])
    verifies = isinstance(operations, list) and "verify" in operations
    if member.get("use", "sig") != "sig" or not verifies:
        raise _NotForUs("must be a key for signatures")
    if not (key_id is None or isinstance(key_id, str)):
        raise UnusableKeys("kid must be a string")
    if kind != "oct" and "d" in member:
        raise UnusableKeys("is a private key; only the public part belongs here")
    try:
        value = PyJWK(member, algorithm).key
    except (PyJWTError, ValueError, TypeError) as error:
        raise UnusableKeys("is malformed") from error
    return _secret(key_id, value) if kind == "oct" else _public(key_id, value)


def _pem(text: bytes) -> Key:
    try:
        return _public(None, load_pem_public_key(text))
    except ValueError as error:
        raise UnusableKeys("it is not a public key in PEM") from error


def _public(key_id: str | None, value: object) -> Key:
    match value:
        case RSAPublicKey() if value.key_size < _SHORTEST_MODULUS:
            raise _NotForUs(f"must have at least {_SHORTEST_MODULUS} bits")
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


class KeyFile:
    """The keys of a file, which may be replaced while they are in use.

    Args:
        path: the file.

    Raises:
        UnusableKeys: it cannot be read, or holds no usable keys.

    Attributes:
        generation: how often it was read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.generation = 0
        self._stamp: tuple[int, ...] = ()
        self._keys: tuple[Key, ...] = ()
        self._looked = monotonic()
        self._load()

    def find(self, algorithm: str, key_id: str | None) -> Key | None:
        """Finds the key that a token was signed with.

        Args:
            algorithm: what the token says.
            key_id: likewise; a token that names no key fits if one key alone has the
                algorithm.
        """
        self.refresh()
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        if key_id is not None:
            named = [key for key in fitting if key.key_id == key_id]
            # A single key without a name is meant by any name.
            fitting = named or [key for key in fitting if key.key_id is None]
        return fitting[0] if len(fitting) == 1 else None

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def refresh(self) -> None:
        """Reads the file again if it was replaced; looks at it once a second at most."""
        now = monotonic()
        if now - self._looked < _LOOK_AGAIN_SECONDS:
            return
        self._looked = now
        try:
            if self._stat() != self._stamp:
                self._load()
                log.info("token keys read again", path=str(self._path), keys=len(self._keys))
        except (UnusableKeys, OSError) as error:
            # The keys that there were stay good: a half-written file locks nobody out.
            log.error("token keys unusable", path=str(self._path), reason=str(error))  # noqa: TRY400 - the text says it all

    def _load(self) -> None:
        try:
            self._stamp = self._stat()
            self._keys = parse_keys(self._path.read_bytes())
            self.generation += 1
        except OSError as error:
            raise UnusableKeys(f"cannot read the keys {self._path}: {error.strerror}") from error
        except (UnusableKeys, ValueError) as error:
            raise UnusableKeys(f"cannot use the keys {self._path}: {error}") from error

    def _stat(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
