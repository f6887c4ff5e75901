-- Stores what a batch of changes makes of messages of any rooms, in one transaction of one
-- statement. It was decided on what was read before: so it holds only if nobody else has changed
-- anything in these rooms since. They are locked in the same order as by an append.
--
-- Of each message, reaction and text only what came of all changes of the batch is told here.
--
-- Raises:
--   CH001  the history has another epoch than the one that the caller knows
--   CH002  a room is missing
--   CH004  a room has other changes than were read: to be decided anew
CREATE FUNCTION chat.change_1(
    epoch text,
    room_ids text[],          -- the rooms, each once
    bases bigint[],           -- of each: the number of its newest change, as it was read
    lasts bigint[],           -- and as it is to be
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
DECLARE
    rooms bigint[];
    is_same boolean;
BEGIN
    PERFORM FROM chat.rooms WHERE room_id = ANY (room_ids) ORDER BY room_id FOR NO KEY UPDATE;
    IF NOT EXISTS (SELECT FROM chat.meta WHERE key = 'epoch' AND value = change_1.epoch) THEN
        RAISE EXCEPTION 'the history has another epoch' USING ERRCODE = 'CH001';
    END IF;
    SELECT array_agg(room ORDER BY nth), bool_and(changes = base)
    INTO rooms, is_same
    FROM unnest(room_ids, bases) WITH ORDINALITY AS given (room_id, base, nth)
    JOIN chat.rooms USING (room_id);
    IF cardinality(rooms) IS DISTINCT FROM cardinality(room_ids) THEN
        RAISE EXCEPTION 'a room is missing' USING ERRCODE = 'CH002';
    ELSIF NOT is_same THEN
        RAISE EXCEPTION 'a room has other changes' USING ERRCODE = 'CH004';
    END IF;

    UPDATE chat.rooms AS stored SET changes = given.last, has_states = true
    FROM unnest(rooms, lasts) AS given (room, last)
    WHERE stored.room = given.room;

    INSERT INTO chat.states AS stored (room, seq, change, text_change, is_deleted, state)
    SELECT rooms[nth_room], seq, change, text_change, is_deleted, state
    FROM unnest(state_rooms, state_seqs, state_changes, text_changes, deleted, states)
        AS given (nth_room, seq, change, text_change, is_deleted, state)
    ON CONFLICT (room, seq) DO UPDATE SET
        change = excluded.change, text_change = excluded.text_change,
        is_deleted = excluded.is_deleted, state = excluded.state,
        extra = CASE WHEN excluded.is_deleted THEN NULL ELSE stored.extra END;

    IF cardinality(texts) > 0 THEN
        UPDATE chat.messages AS stored SET content = given.content
        FROM unnest(text_rooms, text_seqs, texts) AS given (nth_room, seq, content)
        WHERE stored.room = rooms[nth_room] AND stored.seq = given.seq;
        DELETE FROM chat.reactions AS stored
        USING unnest(state_rooms, state_seqs, deleted) AS given (nth_room, seq, is_deleted)
        WHERE is_deleted AND stored.room = rooms[nth_room] AND stored.seq = given.seq;
    END IF;
    IF cardinality(gone_users) > 0 THEN
        DELETE FROM chat.reactions AS stored
        USING unnest(gone_rooms, gone_seqs, gone_emojis, gone_users)
            AS given (nth_room, seq, emoji, user_id)
        WHERE stored.user_id = given.user_id AND stored.room = rooms[nth_room]
            AND stored.seq = given.seq AND stored.emoji = given.emoji;
    END IF;
    IF cardinality(came_users) > 0 THEN
        INSERT INTO chat.reactions (room, seq, emoji, user_id, change)
        SELECT rooms[nth_room], seq, emoji, user_id, change
        FROM unnest(came_rooms, came_seqs, came_emojis, came_users, came_changes)
            AS given (nth_room, seq, emoji, user_id, change);
    END IF;
    IF cardinality(unmentioned_users) > 0 THEN
        DELETE FROM chat.mentions AS stored
        USING unnest(unmentioned_rooms, unmentioned_seqs, unmentioned_users)
            AS given (nth_room, seq, user_id)
        WHERE stored.user_id = given.user_id AND stored.room = rooms[nth_room]
            AND stored.seq = given.seq;
    END IF;
END
$$;

-- Notes how far users have read, each of them in one room once.
--
-- Raises:
--   CH001  the history has another epoch than the one that the caller knows
CREATE FUNCTION chat.mark_1(
    epoch text,
    user_ids text[],
    room_ids text[],
    seqs bigint[],
    back boolean,             -- whether marks may go back
    most integer,             -- how many mentions are counted
    -- Of each mark: whether it moved, where it is, and how many messages behind mention the user.
    OUT moved boolean[],
    OUT read_seqs bigint[],
    OUT mentions integer[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moved_users text[];
    moved_rooms bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM chat.meta WHERE key = 'epoch' AND value = mark_1.epoch) THEN
        RAISE EXCEPTION 'the history has another epoch' USING ERRCODE = 'CH001';
    END IF;
    -- In the order of their keys, so that no two nodes wait for each other in a circle.
    WITH written AS (
        INSERT INTO chat.marks AS known (user_id, room, read_seq)
        SELECT user_id, room, least(seq, head)
        FROM unnest(user_ids, room_ids, seqs) AS given (user_id, room_id, seq)
        JOIN chat.rooms USING (room_id)
        WHERE least(seq, head) > 0
            OR EXISTS (SELECT FROM chat.marks AS old WHERE old.user_id = given.user_id AND old.room = rooms.room)
        ORDER BY user_id COLLATE "C", room
        ON CONFLICT (user_id, room) DO UPDATE SET read_seq = excluded.read_seq
        WHERE known.read_seq < excluded.read_seq OR back AND known.read_seq > excluded.read_seq
        RETURNING user_id, room
    )
    SELECT array_agg(user_id), array_agg(room) INTO moved_users, moved_rooms FROM written;

    SELECT
        array_agg(coalesce((user_id, room) IN (SELECT * FROM unnest(moved_users, moved_rooms)), false) ORDER BY nth),
        array_agg(read_seq ORDER BY nth),
        array_agg((
            SELECT count(*) FROM (
                SELECT seq FROM (
                    (SELECT seq FROM chat.mentions AS one
                     WHERE one.user_id = found.user_id AND one.room = found.room
                        AND seq > read_seq AND sender_id <> found.user_id
                     ORDER BY seq LIMIT most)
                    UNION
                    (SELECT seq FROM chat.mentions AS one
                     WHERE one.user_id = '' AND one.room = found.room
                        AND seq > read_seq AND sender_id <> found.user_id
                     ORDER BY seq LIMIT most)
                ) AS unread
                LIMIT most
            ) AS counted
        )::integer ORDER BY nth)
    INTO moved, read_seqs, mentions
    FROM (
        SELECT nth, user_id, room, least(coalesce((
            SELECT read_seq FROM chat.marks AS known
            WHERE known.user_id = given.user_id AND known.room = rooms.room
        ), 0), coalesce(head, 0)) AS read_seq
        FROM unnest(user_ids, room_ids) WITH ORDINALITY AS given (user_id, room_id, nth)
        LEFT JOIN chat.rooms USING (room_id)
    ) AS found;
END
$$;
