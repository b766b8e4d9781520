ALTER TABLE sessions ADD COLUMN refresh_token_hash bytea
    CONSTRAINT sessions_refresh_token_hash_is_sha256 CHECK (octet_length(refresh_token_hash) = 32);
UPDATE sessions SET refresh_token_hash = token_hash
FROM refresh_tokens WHERE session_id = sessions.id AND used_at IS NULL;
DELETE FROM sessions WHERE refresh_token_hash IS NULL;
ALTER TABLE sessions
    ALTER COLUMN refresh_token_hash SET NOT NULL,
    DROP COLUMN last_seen_at,
    DROP COLUMN user_agent,
    DROP COLUMN ip_address;
DROP INDEX idx_session_expires_at;
CREATE UNIQUE INDEX idx_session_refresh_token_hash ON sessions (refresh_token_hash);
DROP TABLE refresh_tokens;
COMMENT ON TABLE sessions IS 'Sign-ins: each register or login opens one.';
COMMENT ON COLUMN sessions.refresh_token_hash IS 'SHA-256 of the refresh token; the token itself is never stored.';
COMMENT ON COLUMN sessions.expires_at IS 'When the refresh token stops working.';
