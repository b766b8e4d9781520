COMMENT ON COLUMN users.email IS 'Address as entered, trimmed and NFKC-normalised; unique whatever its case.';
COMMENT ON COLUMN users.hashed_password IS 'argon2id in PHC format; bcrypt in rows from the original system until their next login.';
COMMENT ON COLUMN users.name IS 'Name shown to people.';
COMMENT ON COLUMN users.created_at IS 'When the account was made.';
COMMENT ON COLUMN users.updated_at IS 'When the row last changed; kept by a trigger.';

COMMENT ON TABLE sessions IS 'Sign-ins: each register or login opens one; ending it deletes the row.';
COMMENT ON COLUMN sessions.id IS 'Random identifier.';
COMMENT ON COLUMN sessions.user_id IS 'Whose session it is; deleting the user deletes it.';
COMMENT ON COLUMN sessions.created_at IS 'When the session was opened.';
COMMENT ON COLUMN sessions.expires_at IS 'When the session ends unless it is refreshed before.';
COMMENT ON COLUMN sessions.last_seen_at IS 'When it was last used, to about a minute.';
COMMENT ON COLUMN sessions.user_agent IS 'What the client said it was at the last login or refresh.';
COMMENT ON COLUMN sessions.ip_address IS 'Where the client was at the last login or refresh.';

COMMENT ON TABLE refresh_tokens IS 'Refresh tokens of sessions: one that is live, and those that were used, to recognise a stolen one.';
COMMENT ON COLUMN refresh_tokens.session_id IS 'Which session it continues; ending the session deletes it.';
COMMENT ON COLUMN refresh_tokens.created_at IS 'When it was handed out.';
COMMENT ON COLUMN refresh_tokens.used_at IS 'When it was exchanged for its successor.';
COMMENT ON COLUMN refresh_tokens.successor_hash IS 'The token it was exchanged for.';
COMMENT ON COLUMN refresh_tokens.sealed_successor IS 'That token, encrypted with this one, so that a repeated refresh gets the same; wiped soon after.';

COMMENT ON TABLE revoked_sessions IS 'Sessions that were ended before their time, for as long as an access token of theirs can live.';
COMMENT ON COLUMN revoked_sessions.session_id IS 'The session, whose row is gone.';
COMMENT ON COLUMN revoked_sessions.revoked_at IS 'When it was ended.';

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

COMMENT ON TABLE throttle_buckets IS 'How many attempts there were of late, for each thing that is counted.';
COMMENT ON COLUMN throttle_buckets.key IS 'SHA-256 of what is counted, such as logins from an address.';
COMMENT ON COLUMN throttle_buckets.level IS 'Attempts, less those that time has forgiven.';
COMMENT ON COLUMN throttle_buckets.updated_at IS 'When the level was right.';
COMMENT ON COLUMN throttle_buckets.refused_at IS 'When it was last noted that attempts are refused.';
COMMENT ON COLUMN throttle_buckets.expires_at IS 'From when on the row says nothing any more.';

COMMENT ON TABLE todos IS 'What users want to do.';
COMMENT ON COLUMN todos.user_id IS 'Whose it is; deleting the user deletes it.';
COMMENT ON COLUMN todos.id IS 'Identifier, unique among those of its owner: clients may make it.';
COMMENT ON COLUMN todos.title IS 'What is to be done, in a line.';
COMMENT ON COLUMN todos.description IS 'What else there is to say.';
COMMENT ON COLUMN todos.priority IS 'How important it is.';
COMMENT ON COLUMN todos.due_at IS 'By when it is to be done.';
COMMENT ON COLUMN todos.tags IS 'Words to sort it by.';
COMMENT ON COLUMN todos.version IS 'Raised by every change; kept by a trigger.';
COMMENT ON COLUMN todos.created_at IS 'When it was made.';
COMMENT ON COLUMN todos.updated_at IS 'When it last changed; kept by a trigger.';
COMMENT ON COLUMN todos.completed IS 'Whether it is done; goes with completed_at, kept by triggers.';
COMMENT ON COLUMN todos.completed_at IS 'When it was done.';
COMMENT ON COLUMN todos.deleted_at IS 'When it was put into the trash.';
COMMENT ON COLUMN todos.creation_hash IS 'SHA-256 of what it was made with, to recognise a repeated request; none where the service made the identifier.';
COMMENT ON COLUMN todos.in_trash IS 'Whether it is in the trash.';
COMMENT ON COLUMN todos.terms IS 'The words and tags it is found by.';

COMMENT ON TABLE todo_event_counters IS 'The number of each user''s last event; its lock puts their events in order.';
COMMENT ON COLUMN todo_event_counters.user_id IS 'Whose events.';
COMMENT ON COLUMN todo_event_counters.last_number IS 'Number of the last event.';

COMMENT ON TABLE todo_events IS 'What happened to todos; written by triggers. Kept for a limited time.';
COMMENT ON COLUMN todo_events.user_id IS 'Whose todo.';
COMMENT ON COLUMN todo_events.number IS 'Place among the events of its user, without gaps.';
COMMENT ON COLUMN todo_events.id IS 'Identifier for clients.';
COMMENT ON COLUMN todo_events.todo_id IS 'Which todo; it may be gone.';
COMMENT ON COLUMN todo_events.kind IS 'What happened.';
COMMENT ON COLUMN todo_events.created_at IS 'When.';
COMMENT ON COLUMN todo_events.actor_id IS 'Who did it; none where it was not done by a request.';
COMMENT ON COLUMN todo_events.request_id IS 'In which request, as in the logs and in X-Request-Id.';
COMMENT ON COLUMN todo_events.before IS 'The fields that changed, before; none for a new todo and once it is purged.';
COMMENT ON COLUMN todo_events.after IS 'The fields that changed, afterwards; none once it is purged.';

COMMENT ON TABLE write_positions IS 'How far the write-ahead log had come after each user''s last write.';
COMMENT ON COLUMN write_positions.user_id IS 'The user, whichever of their sessions wrote.';
COMMENT ON COLUMN write_positions.position IS 'Bytes from the beginning of the log, a pg_lsn as a number.';
