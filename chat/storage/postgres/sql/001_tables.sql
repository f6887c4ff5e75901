-- What was stored. Ids sort by code point, as the programs sort them.

CREATE TABLE chat.meta (
    key text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE chat.rooms (
    room bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id text COLLATE "C" NOT NULL UNIQUE,
    head bigint NOT NULL DEFAULT 0, -- seq of the newest message
    last_at timestamptz NOT NULL DEFAULT '-infinity' -- its sent_at
) WITH (fillfactor = 50); -- each append replaces a row: on the same page, without the indexes

CREATE TABLE chat.messages (
    room bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq BETWEEN 1 AND 4294967295), -- uint32 in the schema
    sent_at timestamptz NOT NULL,
    sender_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    content text NOT NULL,
    CONSTRAINT messages_position PRIMARY KEY (room, seq),
    CONSTRAINT messages_key UNIQUE (room, sender_id, id) -- the idempotency key
) PARTITION BY HASH (room);

DO $$
BEGIN
    FOR part IN 0..7 LOOP
        EXECUTE format(
            'CREATE TABLE chat.messages_%s PARTITION OF chat.messages '
            'FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
            part, part
        );
    END LOOP;
END
$$;

CREATE TABLE chat.users (
    user_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL
);

-- What ends by itself: lost after a crash of the server, and told anew.

CREATE UNLOGGED TABLE chat.nodes (
    node text COLLATE "C" PRIMARY KEY,
    alive_until timestamptz NOT NULL
);

CREATE UNLOGGED TABLE chat.active (
    user_id text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, node)
);

CREATE INDEX active_node ON chat.active (node);

CREATE UNLOGGED TABLE chat.spent (
    user_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    full_at double precision NOT NULL,
    PRIMARY KEY (user_id, kind)
);

-- For people who look with a tool of their own.
CREATE VIEW chat.history AS
    SELECT room_id, seq, sender_id, id, sent_at, content
    FROM chat.messages JOIN chat.rooms USING (room);
