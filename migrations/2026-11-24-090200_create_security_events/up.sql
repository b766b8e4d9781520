CREATE TABLE security_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid REFERENCES users (id) ON DELETE CASCADE,
    kind text NOT NULL CONSTRAINT security_events_kind CHECK (kind IN (
        'REGISTERED', 'LOGIN_SUCCEEDED', 'LOGIN_FAILED', 'LOGIN_THROTTLED', 'SESSION_REFRESHED',
        'REFRESH_TOKEN_REUSED', 'PASSWORD_CHANGED', 'EMAIL_CHANGED', 'SESSION_REVOKED', 'ACCOUNT_DELETED')),
    created_at timestamptz NOT NULL DEFAULT now(),
    ip_address inet,
    user_agent varchar(512),
    session_id uuid,
    request_id varchar(128),
    detail jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX idx_security_event_user_id ON security_events (user_id, created_at, id);
CREATE INDEX idx_security_event_created_at ON security_events (created_at);

COMMENT ON TABLE security_events IS 'What happened to accounts: who, what, when, from where. Kept for a limited time; no secrets.';
COMMENT ON COLUMN security_events.id IS 'Identifier.';
COMMENT ON COLUMN security_events.user_id IS 'Whose account; none for a login to an unknown address and after the account is deleted.';
COMMENT ON COLUMN security_events.kind IS 'What happened.';
COMMENT ON COLUMN security_events.created_at IS 'When.';
COMMENT ON COLUMN security_events.ip_address IS 'Where the client was.';
COMMENT ON COLUMN security_events.user_agent IS 'What the client said it was.';
COMMENT ON COLUMN security_events.session_id IS 'In which session, which may have ended since.';
COMMENT ON COLUMN security_events.request_id IS 'In which request, as in the logs and in X-Request-Id.';
COMMENT ON COLUMN security_events.detail IS 'What else there is to know.';
