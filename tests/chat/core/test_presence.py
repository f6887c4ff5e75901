"""Presence of users."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from chat.core.presence import Presence
from tests.support import MODEL

# Shrinking a failure takes a while.
pytestmark = pytest.mark.timeout(300)


connections = st.sampled_from(["c1", "c2", "c3"])
users = st.sampled_from(["ada", "bob", "eve"])


class PresenceMachine(RuleBasedStateMachine):
    """Presence against a plain set of pairs: every change is reported, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.presence: Presence[str] = Presence()
        self.pairs: set[tuple[str, str]] = set()

    def is_active(self, user: str) -> bool:
        return any(user == of for _, of in self.pairs)

    @rule(connection=connections, user=users)
    def attach(self, connection: str, user: str) -> None:
        was_active = self.is_active(user)
        self.pairs.add((connection, user))
        assert self.presence.attach(connection, user) == (not was_active)

    @rule(connection=connections, user=users)
    def detach(self, connection: str, user: str) -> None:
        was_active = self.is_active(user)
        self.pairs.discard((connection, user))
        became_inactive = was_active and not self.is_active(user)
        assert self.presence.detach(connection, user) == became_inactive

    @rule(connection=connections)
    def close(self, connection: str) -> None:
        before = {user for _, user in self.pairs}
        self.pairs = {pair for pair in self.pairs if pair[0] != connection}
        after = {user for _, user in self.pairs}
        assert sorted(self.presence.close(connection)) == sorted(before - after)


TestPresenceMachine = PresenceMachine.TestCase
TestPresenceMachine.settings = settings(MODEL, max_examples=60)
