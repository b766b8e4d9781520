-- Whoever keeps sockets open hears at once that a session was ended, instead of asking again and again.
CREATE FUNCTION tell_of_revocations() RETURNS trigger AS $$
BEGIN
    PERFORM pg_notify('revoked_sessions', '');
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER tell_of_revocations AFTER INSERT ON revoked_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION tell_of_revocations();
