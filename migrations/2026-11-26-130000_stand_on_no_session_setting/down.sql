DROP TRIGGER revoke_sessions ON sessions;
DROP FUNCTION revoke_sessions();
DO $$
DECLARE
    name text;
    key record;
BEGIN
    FOREACH name IN ARRAY ARRAY['sessions', 'refresh_tokens', 'security_events', 'todos', 'todo_event_counters',
        'todo_events', 'write_positions']
    LOOP
        EXECUTE format('DROP TRIGGER defer_when_restoring ON %I', name);
        FOR key IN SELECT conname FROM pg_constraint
            WHERE conrelid = name::regclass AND contype = 'f' AND condeferrable AND NOT condeferred
        LOOP
            EXECUTE format('ALTER TABLE %I ALTER CONSTRAINT %I NOT DEFERRABLE', name, key.conname);
        END LOOP;
    END LOOP;
END $$;
DROP FUNCTION defer_constraints();
DROP TRIGGER skip_when_restoring ON write_positions;
DROP TRIGGER skip_when_restoring ON __diesel_schema_migrations;
DROP FUNCTION skip_row();
DROP TRIGGER note_todos_created ON todos;
CREATE TRIGGER note_todos_created AFTER INSERT ON todos
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION note_todo_events();
DROP FUNCTION is_restoring();
ALTER FUNCTION count_todo_version() RESET ALL;
ALTER FUNCTION note_todo_events() RESET ALL;
ALTER FUNCTION set_todo_completed() RESET ALL;
ALTER FUNCTION tell_of_revocations() RESET ALL;
ALTER FUNCTION revoke_session() RESET ALL;
ALTER FUNCTION diesel_set_updated_at() RESET ALL;
ALTER FUNCTION diesel_manage_updated_at(regclass) RESET ALL;
