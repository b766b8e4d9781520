-- Functions and triggers that work the same under any settings of the session, the role or the server, for psql and for
-- pg_restore, too. Changes no rows.

-- The history holds instants in UTC, and no value as a session happens to print it. Set here, once per statement, and not
-- in todo_content, which runs several times per row.
ALTER FUNCTION note_todo_events() SET timezone = 'UTC';
ALTER FUNCTION note_todo_events() SET datestyle = 'ISO, MDY';
ALTER FUNCTION note_todo_events() SET intervalstyle = 'postgres';
ALTER FUNCTION note_todo_events() SET bytea_output = 'hex';
ALTER FUNCTION note_todo_events() SET extra_float_digits = 1;
-- Compares both sides in one session, so that only digits left out could hide a change.
ALTER FUNCTION count_todo_version() SET extra_float_digits = 1;

-- True while a dump is loaded: these two settings begin each dump of pg_dump and each session of pg_restore, and no other
-- client has reason to choose both.
CREATE FUNCTION is_restoring() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN current_setting('row_security') = 'off' AND current_setting('search_path') = '';

-- A dump brings the history of its todos; new events beside it would be wrong, or collide with it.
DROP TRIGGER note_todos_created ON todos;
CREATE TRIGGER note_todos_created AFTER INSERT ON todos
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    WHEN (NOT is_restoring()) EXECUTE FUNCTION note_todo_events();

-- The list of migrations describes this schema, not that of the dump, and the positions are those of another log.
CREATE FUNCTION skip_row() RETURNS trigger AS $$
BEGIN
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER skip_when_restoring BEFORE INSERT ON __diesel_schema_migrations
    FOR EACH ROW WHEN (is_restoring()) EXECUTE FUNCTION skip_row();
CREATE TRIGGER skip_when_restoring BEFORE INSERT ON write_positions
    FOR EACH ROW WHEN (is_restoring()) EXECUTE FUNCTION skip_row();

-- A full dump brings the tables in the order of their names. With pg_restore --single-transaction the foreign keys are
-- checked at its end; everywhere else still with each statement.
CREATE FUNCTION defer_constraints() RETURNS trigger AS $$
BEGIN
    SET CONSTRAINTS ALL DEFERRED;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;
DO $$
DECLARE
    name text;
    key record;
BEGIN
    FOREACH name IN ARRAY ARRAY['sessions', 'refresh_tokens', 'security_events', 'todos', 'todo_event_counters',
        'todo_events', 'write_positions']
    LOOP
        FOR key IN SELECT conname FROM pg_constraint
            WHERE conrelid = name::regclass AND contype = 'f' AND NOT condeferrable
        LOOP
            EXECUTE format('ALTER TABLE %I ALTER CONSTRAINT %I DEFERRABLE', name, key.conname);
        END LOOP;
        EXECUTE format('CREATE TRIGGER defer_when_restoring BEFORE INSERT ON %I
            FOR EACH STATEMENT WHEN (is_restoring()) EXECUTE FUNCTION defer_constraints()', name);
    END LOOP;
END $$;

-- Like revoke_session, for TRUNCATE, which fires no trigger for the rows.
CREATE FUNCTION revoke_sessions() RETURNS trigger AS $$
BEGIN
    INSERT INTO revoked_sessions (session_id)
    SELECT id FROM sessions WHERE expires_at > now() ON CONFLICT DO NOTHING;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER revoke_sessions BEFORE TRUNCATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION revoke_sessions();

-- A fixed search_path: pg_restore runs the triggers with an empty one. Functions whose body the server has parsed already
-- (RETURN ...) need none, and todo_content uses nothing but built-in functions.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'diesel_manage_updated_at(regclass)', 'diesel_set_updated_at()', 'revoke_session()', 'tell_of_revocations()',
        'set_todo_completed()', 'count_todo_version()', 'note_todo_events()', 'skip_row()', 'defer_constraints()',
        'revoke_sessions()']
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
    END LOOP;
END $$;
