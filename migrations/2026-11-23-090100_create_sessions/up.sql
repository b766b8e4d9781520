CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    refresh_token_hash bytea NOT NULL
        CONSTRAINT sessions_refresh_token_hash_is_sha256 CHECK (octet_length(refresh_token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

CREATE INDEX idx_session_user_id ON sessions (user_id);
CREATE UNIQUE INDEX idx_session_refresh_token_hash ON sessions (refresh_token_hash);

COMMENT ON TABLE sessions IS 'Sign-ins: each register or login opens one.';
COMMENT ON COLUMN sessions.id IS 'Random identifier.';
COMMENT ON COLUMN sessions.user_id IS 'Whose session it is; deleting the user deletes it.';
COMMENT ON COLUMN sessions.refresh_token_hash IS 'SHA-256 of the refresh token; the token itself is never stored.';
COMMENT ON COLUMN sessions.created_at IS 'When the session was opened.';
COMMENT ON COLUMN sessions.expires_at IS 'When the refresh token stops working.';
