-- Without this link an event that was reverted can only be told by its values, and equal values may come from other changes.
ALTER TABLE todo_events ADD COLUMN reverts uuid[];
COMMENT ON COLUMN todo_events.reverts IS 'Identifiers of the events that this one reverts; NULL if it reverts none.';

-- The trigger function builds rows of the table: each gets a value for the new column. Its settings are kept.
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('note_todo_events()'::regprocedure), ')::todo_events', ', NULL)::todo_events');
END $$;
