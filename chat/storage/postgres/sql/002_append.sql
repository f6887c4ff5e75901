-- Stores one batch of messages of any rooms, in one transaction of one statement.
--
-- Each statement in here sees what was committed before it began (READ COMMITTED), so what
-- is read after the rooms are locked is what those wrote who held the locks before. All
-- callers take what they lock in the same order: new users, new rooms, rooms, each sorted.
-- So none of them can wait for each other in a circle.
--
-- Raises:
--   CH001  the history has another epoch than the one that the caller knows
--   CH002  a room is missing: it has to be among the new ones
--   CH003  a followed room has less than the caller has announced: history is lost
--   23505  a message is stored already (messages_key): to be repeated with deduplicate
CREATE FUNCTION chat.append_1(
    epoch text,
    new_users text[],
    new_rooms text[],
    room_ids text[],         -- the rooms of the messages, each once
    numbers integer[],       -- of each room: how many messages
    announced bigint[],      -- of each room: the newest position that the caller has announced,
                             -- null if it announces none
    message_rooms integer[], -- of each message: its room in room_ids, from 1
    message_nths integer[],  -- of each message: its place in its room, from 1
    sender_ids text[],
    ids text[],
    contents text[],
    deduplicate boolean,     -- whether some may be stored already
    gap_bytes integer,       -- how much text of others is returned, about
    -- Of each room: the position before its first message of this batch, and the time of all.
    OUT bases bigint[],
    OUT times timestamptz[],
    OUT went_back double precision, -- how far a time went back, in seconds, if it did
    -- Of each message that was stored before: its place in the arguments, and what is stored.
    OUT old_nths integer[],
    OUT old_seqs bigint[],
    OUT old_times timestamptz[],
    OUT old_contents text[],
    -- Messages of others, behind what the caller has announced: in each room without a gap,
    -- but not all of them if they are many.
    OUT gap_rooms integer[],
    OUT gap_seqs bigint[],
    OUT gap_times timestamptz[],
    OUT gap_sender_ids text[],
    OUT gap_ids text[],
    OUT gap_contents text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    lead CONSTANT interval := interval '10 seconds'; -- stamps.LEAD_SECONDS
    clock timestamptz;
    rooms bigint[];
    is_epoch boolean;
    has_less boolean;
    has_gap boolean;
BEGIN
    IF cardinality(new_users) > 0 THEN
        INSERT INTO chat.users (user_id, name, email)
        SELECT user_id, user_id, '' FROM unnest(new_users) AS new (user_id)
        ORDER BY user_id COLLATE "C"
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(new_rooms) > 0 THEN
        INSERT INTO chat.rooms (room_id)
        SELECT room_id FROM unnest(new_rooms) AS new (room_id)
        ORDER BY room_id COLLATE "C"
        ON CONFLICT DO NOTHING;
    END IF;

    PERFORM FROM chat.rooms WHERE room_id = ANY (room_ids) ORDER BY room_id FOR NO KEY UPDATE;
    clock := clock_timestamp();
    SELECT
        array_agg(room), array_agg(head),
        array_agg(
            CASE WHEN last_at > clock AND last_at <= clock + lead THEN last_at ELSE clock END
        ),
        extract(epoch FROM max(last_at - clock) FILTER (WHERE last_at > clock + lead)),
        bool_or(known > head), bool_or(known < head),
        EXISTS (SELECT FROM chat.meta WHERE key = 'epoch' AND value = append_1.epoch)
    INTO rooms, bases, times, went_back, has_less, has_gap, is_epoch
    FROM (
        SELECT room, head, last_at, known
        FROM unnest(room_ids, announced) WITH ORDINALITY AS given (room_id, known, nth)
        JOIN chat.rooms USING (room_id)
        ORDER BY nth
    ) AS found;
    IF NOT is_epoch THEN
        RAISE EXCEPTION 'the history has another epoch' USING ERRCODE = 'CH001';
    ELSIF cardinality(rooms) IS DISTINCT FROM cardinality(room_ids) THEN
        RAISE EXCEPTION 'a room is missing' USING ERRCODE = 'CH002';
    ELSIF has_less THEN
        RAISE EXCEPTION 'a room has less than was announced' USING ERRCODE = 'CH003';
    END IF;

    IF deduplicate THEN
        SELECT array_agg(nth), array_agg(seq), array_agg(sent_at), array_agg(content)
        INTO old_nths, old_seqs, old_times, old_contents
        FROM unnest(message_rooms, sender_ids, ids) WITH ORDINALITY
            AS given (nth_room, sender_id, id, nth)
        JOIN chat.messages AS old
            ON old.room = rooms[nth_room] AND old.sender_id = given.sender_id AND old.id = given.id;
        -- What is left is numbered again.
        SELECT
            array_agg(nth_room ORDER BY nth), array_agg(nth_new ORDER BY nth),
            array_agg(sender_id ORDER BY nth), array_agg(id ORDER BY nth),
            array_agg(content ORDER BY nth)
        INTO message_rooms, message_nths, sender_ids, ids, contents
        FROM (
            SELECT *, row_number() OVER (PARTITION BY nth_room ORDER BY nth) AS nth_new
            FROM unnest(message_rooms, sender_ids, ids, contents) WITH ORDINALITY
                AS given (nth_room, sender_id, id, content, nth)
            WHERE old_nths IS NULL OR nth <> ALL (old_nths)
        ) AS rest;
        SELECT array_agg((SELECT count(*) FROM unnest(message_rooms) AS each WHERE each = nth) ORDER BY nth)
        INTO numbers
        FROM generate_subscripts(room_ids, 1) AS nth;
    END IF;

    WITH moved AS (
        UPDATE chat.rooms AS stored
        SET head = given.base + given.number, last_at = given.at
        FROM unnest(rooms, bases, numbers, times) AS given (room, base, number, at)
        WHERE stored.room = given.room AND given.number > 0
    )
    INSERT INTO chat.messages (room, seq, sent_at, sender_id, id, content)
    SELECT rooms[nth_room], bases[nth_room] + nth, times[nth_room], sender_id, id, content
    FROM unnest(message_rooms, message_nths, sender_ids, ids, contents)
        AS given (nth_room, nth, sender_id, id, content);

    IF has_gap THEN
        SELECT
            array_agg(nth ORDER BY nth, seq), array_agg(seq ORDER BY nth, seq),
            array_agg(sent_at ORDER BY nth, seq), array_agg(sender_id ORDER BY nth, seq),
            array_agg(id ORDER BY nth, seq), array_agg(content ORDER BY nth, seq)
        INTO gap_rooms, gap_seqs, gap_times, gap_sender_ids, gap_ids, gap_contents
        FROM (
            SELECT *, sum(octet_length(content) + 256) OVER (ORDER BY nth, seq) AS total
            FROM (
                SELECT nth, seq, sent_at, sender_id, id, content
                FROM unnest(rooms, bases, announced) WITH ORDINALITY AS given (room, base, known, nth)
                JOIN chat.messages AS other
                    ON other.room = given.room AND seq > known AND seq <= base
                ORDER BY nth, seq
                LIMIT gap_bytes / 256
            ) AS gap
        ) AS found
        WHERE total <= gap_bytes;
    END IF;
END
$$;
