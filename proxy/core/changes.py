"""Changes of a room brought together: of each message, and of the room, what came last is told.

Pure.
"""

from gen.chat import MessageChange, RoomChanges


def tells_room(changes: RoomChanges) -> bool:
    """Whether a span tells of the room itself."""
    room = changes.held_room
    return room is not None and room.change > 0


def merged(earlier: RoomChanges, later: RoomChanges) -> RoomChanges:
    """Returns what two spans of one room tell, the second behind the first.

    A message that is in both is told as it stands now, and with the text if either has it: the
    one who gets this may have got neither.
    """
    messages = {change.seq: change for change in earlier.messages}
    for change in later.messages:
        # In the order of their last changes.
        before = messages.pop(change.seq, None)
        if before is not None and change.content is None and before.content is not None:
            change = MessageChange(change.seq, before.content, change.state)
        messages[change.seq] = change
    whole = RoomChanges(
        earlier.room_id, earlier.after_change, later.last_change, list(messages.values())
    )
    rooms = [each.room for each in (earlier, later) if tells_room(each)]
    if rooms:
        # A replay of the server may have come further than what is told behind it.
        whole.room = max(rooms, key=lambda room: room.change)
    return whole
