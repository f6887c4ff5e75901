"""Permissions of an identity."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.access.identity import ALL_ROOMS, GUEST, NO_ROOMS, Identity, RoomPatterns
from chat.errors import PermissionDenied, Unauthenticated

ADA = Identity(
    "ada", reads=RoomPatterns(["lobby", "team-*"]), writes=RoomPatterns(["lobby"]), expires_at=100
)
NAMES = st.text("ab-", max_size=4)


class TestRooms:
    """Room patterns."""

    @given(
        st.lists(st.builds(lambda name, end: name + end, NAMES, st.sampled_from(["", "*"]))), NAMES
    )
    def test_trailing_star_matches_the_rest(self, patterns: list[str], room: str) -> None:
        assert (room in RoomPatterns(patterns)) is any(fnmatchcase(room, each) for each in patterns)

    @pytest.mark.parametrize("pattern", ["*-team", "te*am", "**"])
    def test_star_elsewhere_is_refused(self, pattern: str) -> None:
        with pytest.raises(ValueError, match="may only end"):
            RoomPatterns(["lobby", pattern])

    @given(st.text())
    def test_patterns_of_all_and_none(self, room: str) -> None:
        assert room in ALL_ROOMS
        assert room not in NO_ROOMS


class TestRights:
    """Rights in rooms."""

    def test_reading_does_not_permit_sending(self) -> None:
        ADA.check_read("team-red", "join.room_id")
        with pytest.raises(PermissionDenied, match=r"^chat_message\.room_id: .* send"):
            ADA.check_write("team-red", "chat_message.room_id")
        ADA.check_write("lobby", "chat_message.room_id")

    def test_other_room_is_refused(self) -> None:
        with pytest.raises(PermissionDenied, match=r"^join\.room_id: .* read"):
            ADA.check_read("tea", "join.room_id")

    @pytest.mark.parametrize(
        "caller", [replace(ADA, is_moderator=True), replace(ADA, is_admin=True)]
    )
    def test_moderators_moderate_what_they_read(self, caller: Identity) -> None:
        assert [room for room in ("lobby", "team-red", "tea") if caller.moderates(room)] == [
            "lobby",
            "team-red",
        ]
        assert not ADA.moderates("lobby")

    def test_only_admins_erase(self) -> None:
        replace(ADA, is_admin=True).check_admin("user_id")
        for caller in (ADA, replace(ADA, is_moderator=True), GUEST):
            with pytest.raises(PermissionDenied, match=r"^user_id: only an admin may erase a user"):
                caller.check_admin("user_id")

    def test_guests_moderate(self) -> None:
        assert GUEST.moderates("any")


class TestNames:
    """Sender names."""

    def test_missing_sender_is_filled_in(self) -> None:
        assert ADA.sender("", "chat_message.sender_id") == "ada"
        assert ADA.sender("ada", "chat_message.sender_id") == "ada"

    def test_sender_of_another_is_refused(self) -> None:
        with pytest.raises(PermissionDenied, match=r"^chat_message\.sender_id: "):
            ADA.sender("bob", "chat_message.sender_id")

    def test_user_belongs_to_itself_and_admins(self) -> None:
        assert ADA.owns("ada")
        assert not ADA.owns("bob")
        assert Identity("root", is_admin=True).owns("bob")
        ADA.check_owner("ada", "user_id")
        with pytest.raises(PermissionDenied, match=r"^user_id: "):
            ADA.check_owner("bob", "user_id")


def test_batch_stream_requires_a_proxy() -> None:
    Identity("edge", is_proxy=True).check_proxy()
    with pytest.raises(PermissionDenied, match=r"^authorization: only a proxy"):
        ADA.check_proxy()


def test_identity_expires() -> None:
    ADA.check_time(99.9)
    with pytest.raises(Unauthenticated, match="expired"):
        ADA.check_time(100)
    GUEST.check_time(1e12)


@given(st.text(), st.text())
def test_guest_has_all_rights(room: str, name: str) -> None:
    GUEST.check_read(room, "")
    GUEST.check_write(room, "")
    GUEST.check_owner(name, "")
    GUEST.check_proxy()
    assert GUEST.sender(name, "") == name


ids = st.text("ab", max_size=4)


@given(st.lists(ids | ids.map("{}*".format), max_size=5), st.sets(ids.filter(bool), max_size=20))
def test_rooms_of_patterns_are_found_one_after_the_other(
    patterns: list[str], rooms: set[str]
) -> None:
    """Each that they have, in order, with no look at others but those behind a prefix."""
    allowed = RoomPatterns(patterns)
    existing = sorted(rooms)
    found: list[str] = []
    after = ""
    for _ in range(100):
        named = allowed.behind(after)
        if named is None:
            behind = [room for room in existing if room > after][:2]
            found += [room for room in behind if room in allowed]
            after = behind[-1] if behind else "\U0010ffff"
        elif named:
            assert named[0] > after
            assert list(named) == sorted(set(named))
            assert all(room in allowed for room in named)
            found += [room for room in named if room in rooms]
            after = named[-1]
        else:
            break
        if after == "\U0010ffff":
            break
    assert found == [room for room in existing if room in allowed]
