-- How far the write-ahead log had come after each user's last write: a replica that has come as far shows the user all of
-- it. Filled only where the service has replicas.
CREATE TABLE write_positions (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    position bigint NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE write_positions IS 'How far the write-ahead log had come after each user''s last write.';
COMMENT ON COLUMN write_positions.user_id IS 'The user, whichever of their sessions wrote.';
COMMENT ON COLUMN write_positions.position IS 'Bytes from the beginning of the log, a pg_lsn as a number.';
