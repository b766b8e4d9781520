-- Descriptions of tables and columns, for schema browsers and src/db/schema.rs. Changes no structure and no rows.
COMMENT ON COLUMN users.email IS 'Email address as entered, trimmed and NFKC-normalised; unique regardless of case.';
COMMENT ON COLUMN users.hashed_password IS 'Password hash: argon2id in PHC format; bcrypt for imported accounts until their next login.';
COMMENT ON COLUMN users.name IS 'Display name.';
COMMENT ON COLUMN users.created_at IS 'Time of creation.';
COMMENT ON COLUMN users.updated_at IS 'Time of the last change; set by a trigger.';

COMMENT ON TABLE sessions IS 'Sessions, one per registration or login. Ending a session deletes its row.';
COMMENT ON COLUMN sessions.id IS 'Random identifier, the claim sid of access tokens.';
COMMENT ON COLUMN sessions.user_id IS 'Owner. Deleting the user deletes the session.';
COMMENT ON COLUMN sessions.created_at IS 'Time of the login.';
COMMENT ON COLUMN sessions.expires_at IS 'Expiry; each refresh extends it, up to the longest lifetime of a session.';
COMMENT ON COLUMN sessions.last_seen_at IS 'Time of the last use, to about a minute.';
COMMENT ON COLUMN sessions.user_agent IS 'User-Agent of the client at the last login or refresh, cut to 512 characters; NULL if it sent none.';
COMMENT ON COLUMN sessions.ip_address IS 'IP address of the client at the last login or refresh; NULL if unknown.';

COMMENT ON TABLE refresh_tokens IS 'Refresh tokens: the live one of each session, and used ones to detect the reuse of a stolen token.';
COMMENT ON COLUMN refresh_tokens.session_id IS 'Session of the token. Ending the session deletes the token.';
COMMENT ON COLUMN refresh_tokens.created_at IS 'Time of issue.';
COMMENT ON COLUMN refresh_tokens.used_at IS 'Time of the exchange for its successor; NULL while the token is live.';
COMMENT ON COLUMN refresh_tokens.successor_hash IS 'Hash of the successor; NULL while the token is live and after the successor is deleted.';
COMMENT ON COLUMN refresh_tokens.sealed_successor IS 'Successor encrypted under this token, so that a retried refresh is idempotent; erased after the reuse window.';

COMMENT ON TABLE revoked_sessions IS 'Sessions ended before their expiry, written by a trigger; kept for the longest lifetime of an access token.';
COMMENT ON COLUMN revoked_sessions.session_id IS 'Identifier of the session, whose row is deleted.';
COMMENT ON COLUMN revoked_sessions.revoked_at IS 'Time of the revocation, by the database''s clock.';

COMMENT ON TABLE security_events IS 'Security log of accounts, without secrets. Rows are deleted after a retention period.';
COMMENT ON COLUMN security_events.id IS 'Random identifier.';
COMMENT ON COLUMN security_events.user_id IS 'Account; NULL for a login to an unknown address and for ACCOUNT_DELETED. Deleting the user deletes the event.';
COMMENT ON COLUMN security_events.kind IS 'Kind of event, such as LOGIN_FAILED.';
COMMENT ON COLUMN security_events.created_at IS 'Time of the event.';
COMMENT ON COLUMN security_events.ip_address IS 'IP address of the client; NULL for an operator at the command line.';
COMMENT ON COLUMN security_events.user_agent IS 'User-Agent of the client, cut to 512 characters; NULL if it sent none.';
COMMENT ON COLUMN security_events.session_id IS 'Session concerned, which may have ended since; NULL if none or several.';
COMMENT ON COLUMN security_events.request_id IS 'Request identifier, as in the log and in X-Request-Id; NULL for an operator at the command line.';
COMMENT ON COLUMN security_events.detail IS 'Further details for operators, an object by kind; {} by default.';

COMMENT ON TABLE throttle_buckets IS 'Rate-limit counters of recent attempts (leaky buckets), and markers of addresses where an owner has logged in.';
COMMENT ON COLUMN throttle_buckets.key IS 'SHA-256 of scope and subject, such as logins from one address.';
COMMENT ON COLUMN throttle_buckets.level IS 'Counted attempts minus leaked and refunded ones, as of updated_at.';
COMMENT ON COLUMN throttle_buckets.updated_at IS 'Time of the last counted attempt.';
COMMENT ON COLUMN throttle_buckets.refused_at IS 'Time of the last noted refusal, which limits how often refusals are recorded; NULL if none.';
COMMENT ON COLUMN throttle_buckets.expires_at IS 'Time after which the row has no effect and can be deleted.';

COMMENT ON TABLE todos IS 'Todos, including the trash.';
COMMENT ON COLUMN todos.user_id IS 'Owner. Deleting the user deletes the todo.';
COMMENT ON COLUMN todos.id IS 'Identifier, unique per owner; a client may generate it.';
COMMENT ON COLUMN todos.title IS 'Title, one trimmed line of 1 to 200 characters.';
COMMENT ON COLUMN todos.description IS 'Free-form notes, at most 10,000 characters; empty by default.';
COMMENT ON COLUMN todos.priority IS 'Priority: NONE (the default), LOW, MEDIUM or HIGH.';
COMMENT ON COLUMN todos.due_at IS 'Due time; NULL if none.';
COMMENT ON COLUMN todos.tags IS 'Labels for filtering, in the order given: at most 20, none of them NULL; empty by default.';
COMMENT ON COLUMN todos.version IS 'Version for optimistic locking, from 1; incremented by a trigger with every change.';
COMMENT ON COLUMN todos.created_at IS 'Time of creation.';
COMMENT ON COLUMN todos.updated_at IS 'Time of the last change; set by a trigger.';
COMMENT ON COLUMN todos.completed IS 'True if the todo is completed; kept consistent with completed_at by triggers.';
COMMENT ON COLUMN todos.completed_at IS 'Time of completion; NULL while the todo is open.';
COMMENT ON COLUMN todos.deleted_at IS 'Time of the move to the trash; NULL outside of it.';
COMMENT ON COLUMN todos.creation_hash IS 'SHA-256 of the client''s input, for idempotent creation; NULL if the service generated the identifier.';
COMMENT ON COLUMN todos.in_trash IS 'True if the todo is in the trash; generated from deleted_at.';
COMMENT ON COLUMN todos.terms IS 'Search terms: the words of title and description, and the tags, each prefixed with owner and kind; generated.';

COMMENT ON TABLE todo_event_counters IS 'Number of each user''s last event. The row lock serialises the user''s changes, so that events commit in order.';
COMMENT ON COLUMN todo_event_counters.user_id IS 'Owner of the events. Deleting the user deletes the counter.';
COMMENT ON COLUMN todo_event_counters.last_number IS 'Number of the last event, from 1.';

COMMENT ON TABLE todo_events IS 'History of todos, written by triggers. Rows are deleted after a retention period.';
COMMENT ON COLUMN todo_events.user_id IS 'Owner of the todo. Deleting the user deletes the event.';
COMMENT ON COLUMN todo_events.number IS 'Position among the user''s events, from 1 without gaps.';
COMMENT ON COLUMN todo_events.id IS 'Random identifier, shown to clients; unique per user.';
COMMENT ON COLUMN todo_events.todo_id IS 'Identifier of the todo, which may have been purged.';
COMMENT ON COLUMN todo_events.kind IS 'Kind of change, such as COMPLETED.';
COMMENT ON COLUMN todo_events.created_at IS 'Time of the change.';
COMMENT ON COLUMN todo_events.actor_id IS 'User who made the change; NULL outside of requests, such as in housekeeping.';
COMMENT ON COLUMN todo_events.request_id IS 'Request identifier, as in the log and in X-Request-Id; NULL outside of requests.';
COMMENT ON COLUMN todo_events.before IS 'Old values of the changed columns; NULL for CREATED and once the todo is purged.';
COMMENT ON COLUMN todo_events.after IS 'New values of the changed columns; NULL once the todo is purged.';

COMMENT ON TABLE write_positions IS 'Position of the write-ahead log after each user''s last write, for read-your-writes; written only with replicas.';
COMMENT ON COLUMN write_positions.user_id IS 'User, in any session. Deleting the user deletes the row.';
COMMENT ON COLUMN write_positions.position IS 'WAL position in bytes: the distance of its pg_lsn from 0/0.';
