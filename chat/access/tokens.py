"""Verifies JWTs and maps them to identities.

A token is a JWT (RFC 7519) signed as a JWS (RFC 7515). Its claims:

==============  ===========================================================
``sub``         the user: 1 to 64 characters, no control characters
``exp``         when it ends; ``nbf``, if there, when it begins: numbers of
                seconds since 1970; what is beyond the year 9999 is its end
``iss, aud``    issuer and audience: checked if configured
``rooms``       ``{"read": [patterns], "write": [patterns]}``; without it, none
``role``        ``admin``, ``moderator`` or ``proxy``; without it, a user
==============  ===========================================================
"""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt import PyJWTError

from chat.access.identity import NO_ROOMS, Identity, RoomPatterns
from chat.access.keyfile import KeyFile
from chat.access.keys import ALGORITHMS, Key
from chat.core.rules import Rules
from chat.errors import InvalidArgument, Unauthenticated
from hosting.kinds import SECONDS, TEXT
from hosting.settings import Settings, setting
from hosting.text import is_text

# RFC 7515, section 7.1. Decoders pass over what is not base64, and a token is passed on.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
# Larger than any that is meant well, and small enough to look at for nothing.
_LONGEST_TOKEN: Final = 8 * 1024
# The end of the year 9999: the last second that a Timestamp can tell (and a datetime).
_LATEST: Final = 253_402_300_799.0
_MOST_PATTERNS: Final = 1000
_SCHEME: Final = "bearer "
_ROLES: Final = (None, "user", "moderator", "admin", "proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules(Settings):
    """Required claims of a token."""

    issuer: str = setting(
        "",
        TEXT,
        "The required issuer of tokens (`iss`). Without it, any issuer with a key is accepted.",
        name="token-issuer",
    )
    audience: str = setting(
        "",
        TEXT,
        "The required audience of tokens (`aud`). Without it, a token must have no audience.",
        name="token-audience",
    )
    leeway_seconds: float = setting(
        10.0,
        SECONDS,
        "The tolerated difference between the clocks of issuer and server.",
        name="token-leeway-seconds",
    )


class TokenVerifier:
    """Turns tokens into identities.

    Args:
        keys: the keys that sign them.
        required: the required claims.
        rules: checks subjects.
    """

    def __init__(self, keys: KeyFile, required: TokenRules, rules: Rules) -> None:
        self._keys = keys
        self._required = required
        self._rules = rules

    def bearer(self, authorization: str) -> Identity:
        """Verifies an ``authorization`` header (RFC 6750, section 2.1).

        Raises:
            Unauthenticated: it holds no good token.
        """
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated("authorization must be a bearer token")
        return self.verify(authorization[len(_SCHEME) :].strip())

    def verify(self, token: str) -> Identity:
        """Verifies a token.

        Raises:
            Unauthenticated: it is not good; the text says why, and nothing of the token.
        """
        if len(token) > _LONGEST_TOKEN:
            raise Unauthenticated("the token is too long")
        if not _COMPACT.fullmatch(token):
            raise Unauthenticated("the token is not valid")
        try:
            claims, key = self._read(token)
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"the token has no {error.claim}") from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated("the token is of another issuer") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated("the token is for another audience") from None
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated("the token is not valid") from None
        return self._identity(claims, key)

    def refresh(self) -> int:
        """Reads the keys again if they were replaced; returns how often they have been read."""
        self._keys.refresh()
        return self._keys.generation

    def knows(self, key: Key) -> bool:
        """Returns whether a key is among the keys."""
        return key in self._keys

    def _read(self, token: str) -> tuple[dict[str, Any], Key]:
        """Returns the claims of a token, and the key that it is signed with."""
        header = jwt.get_unverified_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated("the token is signed with an algorithm that is not allowed")
        keys = self._keys.find(algorithm, key_id)
        if not keys:
            raise Unauthenticated("the token is signed with a key that is not known")
        for key in keys:
            with suppress(jwt.InvalidSignatureError):
                return self._claims(token, key), key
        raise Unauthenticated("the token is not valid")

    def _claims(self, token: str, key: Key) -> dict[str, Any]:
        required = self._required
        return jwt.decode(
            token,
            key.value,
            # Of the key, never of the token.
            algorithms=[key.algorithm],
            issuer=required.issuer or None,
            audience=required.audience or None,
            leeway=required.leeway_seconds,
            # PyJWT would round times, and take texts for numbers.
            options={
                "require": ["exp", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )

    def _identity(self, claims: dict[str, Any], key: Key) -> Identity:
        try:
            self._rules.identifier(claims["sub"], "sub")
        except InvalidArgument as error:
            raise Unauthenticated(f"the token's {error}") from None
        expires_at = self._check_times(claims)
        role = claims.get("role")
        if role not in _ROLES:
            raise Unauthenticated("the token's role is not known")
        rooms = claims.get("rooms", {})
        if not isinstance(rooms, dict):
            raise Unauthenticated("the token's rooms must be an object")
        return Identity(
            subject=claims["sub"],
            reads=_rooms(rooms, "read"),
            writes=_rooms(rooms, "write"),
            is_admin=role == "admin",
            is_moderator=role == "moderator",
            is_proxy=role == "proxy",
            expires_at=expires_at,
            key=key,
        )

    def _check_times(self, claims: dict[str, Any]) -> float:
        """Checks when a token is good; returns until when."""
        leeway, now = self._required.leeway_seconds, time.time()
        begins = claims.get("nbf")
        if begins is not None and _seconds(begins, "nbf") - leeway > now:
            raise Unauthenticated("the token is not valid yet")
        expires_at = min(_seconds(claims["exp"], "exp") + leeway, _LATEST)
        if expires_at <= now:
            raise Unauthenticated("the token has expired")
        return expires_at


def _seconds(claim: object, name: str) -> float:
    """A time (RFC 7519, section 2, NumericDate), not before 1970 and not after 9999."""
    # JSON has no NaN, but Python's reader has; a truth is an int.
    if not isinstance(claim, int | float) or isinstance(claim, bool) or claim != claim:
        raise Unauthenticated(f"the token's {name} must be a number")
    return float(min(max(claim, 0), _LATEST))


def _rooms(claim: dict[str, Any], name: str) -> RoomPatterns:
    patterns = claim.get(name)
    if patterns is None:
        return NO_ROOMS
    path = f"the token's rooms.{name}"
    if not (isinstance(patterns, list) and all(isinstance(each, str) for each in patterns)):
        raise Unauthenticated(f"{path} must be a list of strings")
    if not all(map(is_text, patterns)):
        raise Unauthenticated(f"{path} must be Unicode text, without surrogates")
    if len(patterns) > _MOST_PATTERNS:
        raise Unauthenticated(f"{path} must have at most {_MOST_PATTERNS} patterns")
    try:
        return RoomPatterns(patterns)
    except ValueError as error:
        raise Unauthenticated(f"{path}: {error}") from None
