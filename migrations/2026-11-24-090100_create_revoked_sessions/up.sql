-- What processes look at to refuse access tokens of sessions that were ended, by whom- and whatever: the trigger also
-- sees rows that go with their user.
CREATE TABLE revoked_sessions (
    session_id uuid PRIMARY KEY,
    revoked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX idx_revoked_session_revoked_at ON revoked_sessions (revoked_at);

CREATE FUNCTION revoke_session() RETURNS trigger AS $$
BEGIN
    INSERT INTO revoked_sessions (session_id) VALUES (OLD.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

-- No access token outlives the time at which its session expires.
CREATE TRIGGER revoke_session AFTER DELETE ON sessions
    FOR EACH ROW WHEN (OLD.expires_at > now()) EXECUTE FUNCTION revoke_session();

COMMENT ON TABLE revoked_sessions IS 'Sessions that were ended before their time, for as long as an access token of theirs can live.';
COMMENT ON COLUMN revoked_sessions.session_id IS 'The session, whose row is gone.';
COMMENT ON COLUMN revoked_sessions.revoked_at IS 'When it was ended.';
