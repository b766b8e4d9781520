DROP TRIGGER tell_of_revocations ON revoked_sessions;
DROP FUNCTION tell_of_revocations();
