SELECT pg_advisory_xact_lock(7009);
CREATE TABLE IF NOT EXISTS member (name text PRIMARY KEY, salt bytea NOT NULL, hash bytea NOT NULL);
CREATE TABLE IF NOT EXISTS session (id text PRIMARY KEY, name text NOT NULL REFERENCES member, until timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS topic (id bigserial PRIMARY KEY, title text NOT NULL, author text NOT NULL REFERENCES member);
CREATE TABLE IF NOT EXISTS post (
	id bigserial PRIMARY KEY,
	topic bigint NOT NULL REFERENCES topic,
	author text NOT NULL REFERENCES member,
	text text NOT NULL,
	at timestamptz NOT NULL DEFAULT now(),
	key text NOT NULL,  -- of the attachment on the FTP server; empty: none
	file text NOT NULL, -- what its author called it
	size integer NOT NULL
);
CREATE INDEX IF NOT EXISTS post_topic ON post (topic, id);
