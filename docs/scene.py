"""What is said in the pictures of the page: rooms, people and messages, at fixed times."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

NOW: Final = datetime(2026, 3, 6, 9, 12, tzinfo=UTC)
"""When the pictures are taken, a Friday."""

SELF: Final = "ada"
"""Whose page it is."""
NAMES: Final = {
    "ada": "Ada",
    "ben": "Ben",
    "chloe": "Chloé",
    "emil": "Emil",
    "ines": "Inès",
    "karim": "Karim",
}
"""The names of all users, by their ids."""


@dataclass(frozen=True)
class Said:
    """A message, and what became of it.

    Attributes:
        sender: the id of who sent it.
        text: its text.
        ago: when it was sent, in minutes before `NOW`.
        answers: the position in the room of the message that it answers; 0: of none.
        mentions: the ids of the users that it is for.
        reactions: emoji, and the ids of those who reacted with it.
        before: the text that it had until it was edited; empty if it never was.
        pinned: whether it is pinned.
    """

    sender: str
    text: str
    ago: int
    answers: int = 0
    mentions: tuple[str, ...] = ()
    reactions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    before: str = ""
    pinned: bool = False


@dataclass(frozen=True)
class Scene:
    """A room.

    Attributes:
        id: of the room.
        title: its title.
        topic: what it is about.
        messages: what was said.
        here: the ids of those who are there, beside `SELF`.
        typist: the id of who types; empty for nobody.
        unread: how many of the messages `SELF` has not read.
    """

    id: str
    title: str
    topic: str
    messages: tuple[Said, ...]
    here: tuple[str, ...] = ()
    typist: str = ""
    unread: int = 0

    def times(self) -> dict[int, datetime]:
        """When each message was sent, by its position."""
        pairs = enumerate(self.messages, start=1)
        return {seq: NOW - timedelta(minutes=said.ago) for seq, said in pairs}


WALK: Final = Scene(
    "walk",
    "Weekend walk",
    "Saturday, the ridge, and bread",
    (
        Said("ben", "Morning! Is Saturday's walk still on?", 18),
        Said("chloe", "I can drive three people from the station. Who needs a seat?", 15),
        Said(
            "emil",
            "Me, please. And my sister, if there is room for her and a large dog.",
            14,
            reactions={"🐕": ("chloe", "ada"), "😄": ("ben",)},
        ),
        Said(
            "chloe",
            "Bien sûr, et le chien aussi ! 7:30, by the bicycle stands?",
            12,
            answers=3,
            reactions={"👍": ("ada", "ben", "emil")},
        ),
        Said(
            "ada",
            "Then this is the plan:\n- **7:30** at the bicycle stands\n"
            "- **9:00** at the mill, where the bakery opens\n"
            "- back by four: https://example.org/routes/ridge",
            9,
            before="Then this is the plan: 7:30 at the stands, 9:00 at the mill.",
            pinned=True,
        ),
        Said("ben", "@Ada then I will _not_ bring breakfast.", 3, mentions=("ada",)),
    ),
    here=("ben", "chloe", "emil"),
    typist="chloe",
)

COURSE: Final = Scene(
    "cours-3",
    "Cours 3",
    "gRPC et WebSocket : vos questions",
    (
        Said("ines", "Bonjour ! Qui a compris la différence entre les deux appels ?", 26),
        Said(
            "karim",
            "`Chat` reste ouvert ; `GetChatHistory` répond **une seule fois**.",
            24,
            reactions={"👍": ("ines", "ada"), "🙏": ("chloe",)},
        ),
        Said("ines", "Et si je perds la connexion entre les deux ?", 21),
        Said(
            "ada",
            "On reprend là où l'on s'était arrêté :\n"
            '```json\n{"join": {"room_id": "cours-3", "after_seq": 3}}\n```',
            19,
            answers=3,
            reactions={"🎉": ("ines", "karim")},
        ),
        Said(
            "chloe",
            "À retenir pour l'examen : `seq` n'a jamais de trou.",
            12,
            before="À retenir pour l'examen : seq n'a pas de trou.",
            pinned=True,
        ),
        Said(
            "ines",
            "@Ada merci, c'est clair. On se retrouve à 14 h en salle B ?",
            2,
            mentions=("ada",),
        ),
    ),
    here=("chloe", "ines", "karim"),
    typist="karim",
)

RELEASE: Final = Scene(
    "release",
    "Release 0.1",
    "What is left to do",
    (
        Said("emil", "The tests pass on both engines.", 95),
        Said("ben", "I read the notes once more and mended two links.", 64),
        Said("emil", "Then I tag it after lunch.", 41),
        Said("ben", "Good. I tell the others.", 40),
    ),
    unread=3,
)

KITCHEN: Final = Scene(
    "kitchen",
    "Kitchen",
    "",
    (
        Said("chloe", "There is cake.", 200),
        Said("ben", "There was cake.", 170),
    ),
)

SCENES: Final = (WALK, COURSE, RELEASE, KITCHEN)
