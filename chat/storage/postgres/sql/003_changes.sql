-- What becomes of messages, how far users have read, and erasure.
--
-- Most messages have none of it: the tables are small beside that of the messages, and need no
-- partitions. A text that was edited is overwritten where it is, in `messages`.

ALTER TABLE chat.rooms
    ADD COLUMN changes bigint NOT NULL DEFAULT 0 -- number of the newest change
        CHECK (changes BETWEEN 0 AND 4294967295), -- uint32 in the schema
    ADD COLUMN has_states boolean NOT NULL DEFAULT false; -- whether `states` has any of it

-- Of each message that has an extra, or ever changed.
CREATE TABLE chat.states (
    room bigint NOT NULL,
    seq bigint NOT NULL,
    change bigint NOT NULL DEFAULT 0, -- the last of the message; 0 for none
    text_change bigint NOT NULL DEFAULT 0, -- the last of its text; 0 for none
    is_deleted boolean NOT NULL DEFAULT false,
    extra bytea, -- a MessageExtra without a state, as it was sent
    state bytea, -- a MessageState
    CONSTRAINT states_position PRIMARY KEY (room, seq)
);

CREATE UNIQUE INDEX states_change ON chat.states (room, change) WHERE change > 0;

CREATE TABLE chat.reactions (
    room bigint NOT NULL,
    seq bigint NOT NULL,
    emoji text COLLATE "C" NOT NULL,
    change bigint NOT NULL, -- by which it came
    user_id text COLLATE "C" NOT NULL,
    CONSTRAINT reactions_order PRIMARY KEY (room, seq, emoji, change),
    CONSTRAINT reactions_user UNIQUE (user_id, room, seq, emoji)
);

CREATE TABLE chat.mentions (
    user_id text COLLATE "C" NOT NULL, -- empty for everyone in the room
    room bigint NOT NULL,
    seq bigint NOT NULL,
    sender_id text COLLATE "C" NOT NULL, -- whom it does not count for
    CONSTRAINT mentions_user PRIMARY KEY (user_id, room, seq)
);

CREATE TABLE chat.marks (
    user_id text COLLATE "C" NOT NULL,
    room bigint NOT NULL,
    read_seq bigint NOT NULL,
    CONSTRAINT marks_user PRIMARY KEY (user_id, room)
);

-- Users whose erasure was begun: all of their messages up to a place were deleted.
CREATE TABLE chat.erasures (
    user_id text COLLATE "C" PRIMARY KEY,
    room bigint NOT NULL DEFAULT 0,
    id text COLLATE "C" NOT NULL DEFAULT ''
);

-- Whoever may use the tables that were there may use these.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT privilege_type AS privilege, rolname AS role
        FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) AS acl
        LEFT JOIN pg_roles ON pg_roles.oid = acl.grantee
        WHERE pg_class.oid = 'chat.users'::regclass AND acl.grantee <> relowner
            AND (acl.grantee = 0 OR rolname IS NOT NULL)
    LOOP
        EXECUTE format(
            'GRANT %s ON chat.states, chat.reactions, chat.mentions, chat.marks, chat.erasures TO %s',
            given.privilege, coalesce(quote_ident(given.role), 'PUBLIC')
        );
    END LOOP;
END
$$;
