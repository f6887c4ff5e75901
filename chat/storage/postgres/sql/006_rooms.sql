-- What is known of rooms beside their messages, lists of rooms and of their members, and the
-- colours of users.
--
-- What is known of a room is "message 0" of its changes: a row of `states` at seq 0, whose `extra`
-- is a Room, and whose `state` has the number of the change and nothing else. So programs of before
-- go on to work: they count it, announce it and give it out as the change of a message that nobody
-- has. In a table of its own it would be a change without a row to them, which is lost history.

CREATE INDEX marks_room ON chat.marks (room, user_id);

-- The colour of a user. Programs of before leave it as it is.
ALTER TABLE chat.users ADD COLUMN tone smallint NOT NULL DEFAULT 0;

-- Stores what a batch of changes makes of messages, and of rooms themselves: as `change_1`, with
-- what is set of rooms. A room that is set need not be there.
--
-- Raises:
--   CH001  the history has another epoch than the one that the caller knows
--   CH002  a room is missing
--   CH004  a room has other changes than were read: to be decided anew
CREATE FUNCTION chat.change_2(
    epoch text,
    new_rooms text[],         -- those among the rooms that were not there
    room_ids text[],          -- the rooms, each once
    bases bigint[],           -- of each: the number of its newest change, as it was read
    lasts bigint[],           -- and as it is to be
    info_rooms integer[],     -- of each room that is set: its place in room_ids, from 1
    info_changes bigint[],
    infos bytea[],
    info_states bytea[],
    state_rooms integer[],    -- of each message: its room in room_ids, from 1
    state_seqs bigint[],
    state_changes bigint[],
    text_changes bigint[],
    deleted boolean[],
    states bytea[],
    text_rooms integer[],     -- of each new text
    text_seqs bigint[],
    texts text[],
    gone_rooms integer[],     -- of each reaction that was taken back
    gone_seqs bigint[],
    gone_emojis text[],
    gone_users text[],
    came_rooms integer[],     -- of each reaction that was given
    came_seqs bigint[],
    came_emojis text[],
    came_users text[],
    came_changes bigint[],
    unmentioned_rooms integer[], -- of each mention by a message that was deleted
    unmentioned_seqs bigint[],
    unmentioned_users text[]
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF cardinality(new_rooms) > 0 THEN
        INSERT INTO chat.rooms (room_id)
        SELECT room_id FROM unnest(new_rooms) AS new (room_id)
        ORDER BY room_id COLLATE "C"
        ON CONFLICT DO NOTHING;
    END IF;
    -- It locks the rooms, and looks whether they are as they were read.
    PERFORM chat.change_1(
        epoch, room_ids, bases, lasts, state_rooms, state_seqs, state_changes, text_changes, deleted,
        states, text_rooms, text_seqs, texts, gone_rooms, gone_seqs, gone_emojis, gone_users,
        came_rooms, came_seqs, came_emojis, came_users, came_changes,
        unmentioned_rooms, unmentioned_seqs, unmentioned_users
    );
    IF cardinality(infos) > 0 THEN
        INSERT INTO chat.states (room, seq, change, extra, state)
        SELECT rooms.room, 0, change, info, state
        FROM unnest(info_rooms, info_changes, infos, info_states)
            AS given (nth_room, change, info, state)
        CROSS JOIN LATERAL (
            SELECT room FROM chat.rooms WHERE room_id = room_ids[nth_room] LIMIT 1
        ) AS rooms
        ON CONFLICT (room, seq) DO UPDATE SET
            change = excluded.change, extra = excluded.extra, state = excluded.state;
    END IF;
END
$$;
