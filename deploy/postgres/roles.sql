-- The database of the chat and its two roles; for psql, as superuser, on the server that takes writes:
--
--     psql --file deploy/postgres/roles.sql
--
-- chat_owner owns the tables, and makes and changes them: a server logs in by it once, at the
-- installation and after an upgrade that changes them. chat is what the servers run as: it
-- reads and writes rows, and can change nothing else. Set their passwords by \password.

\set ON_ERROR_STOP on

CREATE ROLE chat_owner LOGIN;
CREATE ROLE chat LOGIN;
CREATE ROLE replicator LOGIN REPLICATION;

CREATE DATABASE chat OWNER chat_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE chat FROM PUBLIC;
GRANT CONNECT ON DATABASE chat TO chat;

\connect chat

REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA chat AUTHORIZATION chat_owner;
GRANT USAGE ON SCHEMA chat TO chat;

-- Of all that chat_owner will make.
ALTER DEFAULT PRIVILEGES FOR ROLE chat_owner IN SCHEMA chat
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO chat;
ALTER DEFAULT PRIVILEGES FOR ROLE chat_owner IN SCHEMA chat
    GRANT USAGE ON SEQUENCES TO chat;
