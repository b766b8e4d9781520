ALTER TABLE todo_events DROP COLUMN reverts;
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('note_todo_events()'::regprocedure), ', NULL)::todo_events', ')::todo_events');
END $$;
