DROP TRIGGER revoke_session ON sessions;
DROP FUNCTION revoke_session();
DROP TABLE revoked_sessions;
