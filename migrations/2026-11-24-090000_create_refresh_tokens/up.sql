-- One session has many refresh tokens, one after the other.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY
        CONSTRAINT refresh_tokens_token_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    successor_hash bytea REFERENCES refresh_tokens (token_hash) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    sealed_successor bytea,
    CONSTRAINT refresh_tokens_successor_has_a_time CHECK (successor_hash IS NULL OR used_at IS NOT NULL)
);

-- A session has one token that can be used.
CREATE UNIQUE INDEX idx_refresh_token_live ON refresh_tokens (session_id) WHERE used_at IS NULL;
CREATE INDEX idx_refresh_token_session_id ON refresh_tokens (session_id);
CREATE INDEX idx_refresh_token_successor_hash ON refresh_tokens (successor_hash) WHERE successor_hash IS NOT NULL;
CREATE INDEX idx_refresh_token_used_at ON refresh_tokens (used_at) WHERE used_at IS NOT NULL;
CREATE INDEX idx_refresh_token_sealed ON refresh_tokens (used_at) WHERE sealed_successor IS NOT NULL;

INSERT INTO refresh_tokens (token_hash, session_id, created_at)
SELECT refresh_token_hash, id, created_at FROM sessions;

ALTER TABLE sessions
    ADD COLUMN last_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN user_agent varchar(512),
    ADD COLUMN ip_address inet;
UPDATE sessions SET last_seen_at = created_at;

ALTER TABLE sessions DROP COLUMN refresh_token_hash;
CREATE INDEX idx_session_expires_at ON sessions (expires_at);

COMMENT ON TABLE sessions IS 'Sign-ins: each register or login opens one; ending it deletes the row.';
COMMENT ON COLUMN sessions.expires_at IS 'When the session ends unless it is refreshed before.';
COMMENT ON COLUMN sessions.last_seen_at IS 'When it was last used, to about a minute.';
COMMENT ON COLUMN sessions.user_agent IS 'What the client said it was at the last login or refresh.';
COMMENT ON COLUMN sessions.ip_address IS 'Where the client was at the last login or refresh.';

COMMENT ON TABLE refresh_tokens IS 'Refresh tokens of sessions: one that is live, and those that were used, to recognise a stolen one.';
COMMENT ON COLUMN refresh_tokens.token_hash IS 'SHA-256 of the token; the token itself is never stored.';
COMMENT ON COLUMN refresh_tokens.session_id IS 'Which session it continues; ending the session deletes it.';
COMMENT ON COLUMN refresh_tokens.created_at IS 'When it was handed out.';
COMMENT ON COLUMN refresh_tokens.used_at IS 'When it was exchanged for its successor.';
COMMENT ON COLUMN refresh_tokens.successor_hash IS 'The token it was exchanged for.';
COMMENT ON COLUMN refresh_tokens.sealed_successor IS 'That token, encrypted with this one, so that a repeated refresh gets the same; wiped soon after.';
