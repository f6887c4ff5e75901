-- Stores one batch of messages of any rooms, in one transaction of one statement: as `append_1`,
-- with what senders add to them. A batch without anything of that costs no more.
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
--   CH005  users were erased: they have to be among the new ones; the detail is how often
--   23505  a message is stored already (messages_key): to be repeated with deduplicate
CREATE FUNCTION chat.append_2(
    epoch text,
    erased text,             -- how often users were erased, as far as the caller knows
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
    extra_nths integer[],    -- of each message that has an extra: its place; null for none
    extras bytea[],
    mention_nths integer[],  -- of each mention: the place of its message; null for none
    mention_users text[],    -- and who is mentioned; empty for everyone
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
    OUT old_extras bytea[],  -- null if none of them has any
    OUT old_states bytea[],
    -- Messages of others, behind what the caller has announced: in each room without a gap,
    -- but not all of them if they are many.
    OUT gap_rooms integer[],
    OUT gap_seqs bigint[],
    OUT gap_times timestamptz[],
    OUT gap_sender_ids text[],
    OUT gap_ids text[],
    OUT gap_contents text[],
    OUT gap_extras bytea[],  -- null if none of the rooms has any
    OUT gap_states bytea[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    lead CONSTANT interval := interval '10 seconds'; -- stamps.LEAD_SECONDS
    clock timestamptz;
    rooms bigint[];
    is_epoch boolean;
    has_erased text;
    has_less boolean;
    has_gap boolean;
    has_states boolean;
    -- As they were given, all of them.
    all_rooms integer[];
    all_sender_ids text[];
    all_ids text[];
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
        bool_or(known > head), bool_or(known < head), bool_or(found.has_states),
        EXISTS (SELECT FROM chat.meta WHERE key = 'epoch' AND value = append_2.epoch),
        coalesce((SELECT value FROM chat.meta WHERE key = 'erased'), '')
    INTO rooms, bases, times, went_back, has_less, has_gap, has_states, is_epoch, has_erased
    FROM (
        SELECT room, head, last_at, known, rooms.has_states
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
    ELSIF has_erased <> erased THEN
        RAISE EXCEPTION 'users were erased' USING ERRCODE = 'CH005', DETAIL = has_erased;
    END IF;

    IF extra_nths IS NOT NULL THEN
        all_rooms := message_rooms;
        all_sender_ids := sender_ids;
        all_ids := ids;
    END IF;

    IF deduplicate THEN
        SELECT array_agg(nth), array_agg(seq), array_agg(sent_at), array_agg(content)
        INTO old_nths, old_seqs, old_times, old_contents
        FROM unnest(message_rooms, sender_ids, ids) WITH ORDINALITY
            AS given (nth_room, sender_id, id, nth)
        JOIN chat.messages AS old
            ON old.room = rooms[nth_room] AND old.sender_id = given.sender_id AND old.id = given.id;
        IF has_states AND old_nths IS NOT NULL THEN
            SELECT array_agg(extra ORDER BY given.nth), array_agg(state ORDER BY given.nth)
            INTO old_extras, old_states
            FROM unnest(old_nths, old_seqs) WITH ORDINALITY AS given (nth_old, seq, nth)
            LEFT JOIN LATERAL (
                SELECT extra, state FROM chat.states
                WHERE states.room = rooms[message_rooms[nth_old]] AND states.seq = given.seq
                LIMIT 1
            ) AS found ON true;
        END IF;
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

    IF extra_nths IS NOT NULL THEN
        WITH added AS (
            INSERT INTO chat.states (room, seq, extra)
            SELECT stored.room, stored.seq, extra
            FROM unnest(extra_nths, extras) AS given (nth, extra)
            CROSS JOIN LATERAL (
                SELECT room, seq FROM chat.messages
                WHERE room = rooms[all_rooms[nth]] AND sender_id = all_sender_ids[nth]
                    AND id = all_ids[nth]
                LIMIT 1
            ) AS stored
            WHERE old_nths IS NULL OR nth <> ALL (old_nths)
            RETURNING room
        )
        UPDATE chat.rooms SET has_states = true
        WHERE NOT rooms.has_states AND room IN (SELECT room FROM added);
    END IF;
    IF mention_nths IS NOT NULL THEN
        INSERT INTO chat.mentions (user_id, room, seq, sender_id)
        SELECT user_id, stored.room, stored.seq, all_sender_ids[nth]
        FROM unnest(mention_nths, mention_users) AS given (nth, user_id)
        CROSS JOIN LATERAL (
            SELECT room, seq FROM chat.messages
            WHERE room = rooms[all_rooms[nth]] AND sender_id = all_sender_ids[nth]
                AND id = all_ids[nth]
            LIMIT 1
        ) AS stored
        WHERE old_nths IS NULL OR nth <> ALL (old_nths)
        ON CONFLICT DO NOTHING;
    END IF;

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
        IF has_states AND gap_rooms IS NOT NULL THEN
            SELECT array_agg(extra ORDER BY given.nth), array_agg(state ORDER BY given.nth)
            INTO gap_extras, gap_states
            FROM unnest(gap_rooms, gap_seqs) WITH ORDINALITY AS given (nth_room, seq, nth)
            LEFT JOIN LATERAL (
                SELECT extra, state FROM chat.states
                WHERE states.room = rooms[nth_room] AND states.seq = given.seq
                LIMIT 1
            ) AS found ON true;
        END IF;
    END IF;
END
$$;
