-- The number of each user's last event. Its row is locked from a change to the end of its transaction, so that one
-- user's events become visible in the order of their numbers: whoever has seen one has seen all before it.
CREATE TABLE todo_event_counters (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    last_number bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE todo_events (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    number bigint NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    todo_id uuid NOT NULL,
    kind text NOT NULL CONSTRAINT todo_events_kind CHECK (kind IN (
        'CREATED', 'UPDATED', 'COMPLETED', 'REOPENED', 'DELETED', 'RESTORED', 'PURGED')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id uuid,
    request_id varchar(128),
    before jsonb,
    after jsonb,
    PRIMARY KEY (user_id, number)
);

CREATE UNIQUE INDEX idx_todo_event_id ON todo_events (user_id, id);
CREATE INDEX idx_todo_event_todo_id ON todo_events (user_id, todo_id, number);
CREATE INDEX idx_todo_event_created_at ON todo_events (created_at);

-- What of a todo its owner can change.
CREATE FUNCTION todo_content(todo todos) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'title', todo.title,
        'description', todo.description,
        'priority', todo.priority,
        'due_at', todo.due_at,
        'tags', todo.tags,
        'completed_at', todo.completed_at,
        'deleted_at', todo.deleted_at);

-- Which fields differ, with their values on one side.
CREATE FUNCTION todo_difference(content jsonb, other jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT
    RETURN (
        SELECT jsonb_object_agg(key, value) FROM jsonb_each(content) WHERE value IS DISTINCT FROM other -> key);

-- Notes changes, once for a statement however many rows it changes, and tells those who listen.
CREATE FUNCTION note_todo_events() RETURNS trigger AS $$
DECLARE
    request text := nullif(current_setting('todo_api.request_id', true), '');
    events todo_events[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        events := ARRAY(
            SELECT ROW (user_id, 0, NULL, id, 'CREATED', NULL, NULL, NULL, NULL, todo_content(new_rows))::todo_events
            FROM new_rows ORDER BY user_id, created_at, id);
    ELSIF TG_OP = 'UPDATE' THEN
        events := ARRAY(
            SELECT ROW (
                later.user_id, 0, NULL, later.id,
                CASE
                    WHEN earlier.deleted_at IS NULL AND later.deleted_at IS NOT NULL THEN 'DELETED'
                    WHEN earlier.deleted_at IS NOT NULL AND later.deleted_at IS NULL THEN 'RESTORED'
                    WHEN earlier.completed_at IS NULL AND later.completed_at IS NOT NULL THEN 'COMPLETED'
                    WHEN earlier.completed_at IS NOT NULL AND later.completed_at IS NULL THEN 'REOPENED'
                    ELSE 'UPDATED'
                END,
                NULL, NULL, NULL,
                todo_difference(todo_content(earlier), todo_content(later)),
                todo_difference(todo_content(later), todo_content(earlier)))::todo_events
            FROM old_rows AS earlier JOIN new_rows AS later USING (user_id, id)
            WHERE earlier.version <> later.version
            ORDER BY later.user_id, later.id);
    ELSE
        -- Those that go with their user leave nothing behind.
        events := ARRAY(
            SELECT ROW (user_id, 0, NULL, id, 'PURGED', NULL, NULL, NULL, NULL, NULL)::todo_events
            FROM old_rows WHERE EXISTS (SELECT FROM users WHERE users.id = old_rows.user_id)
            ORDER BY user_id, id);
        -- What is gone for good is gone from its history, too.
        UPDATE todo_events SET before = NULL, after = NULL
        FROM unnest(events) AS purged
        WHERE todo_events.user_id = purged.user_id AND todo_events.todo_id = purged.todo_id;
    END IF;

    WITH counters AS (
        INSERT INTO todo_event_counters AS counter (user_id, last_number)
        SELECT user_id, count(*) FROM unnest(events) GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET last_number = counter.last_number + excluded.last_number
        RETURNING user_id, last_number
    ), numbered AS (
        SELECT *,
            row_number() OVER (PARTITION BY user_id ORDER BY ordinality)
                - count(*) OVER (PARTITION BY user_id) AS place
        FROM unnest(events) WITH ORDINALITY
    )
    INSERT INTO todo_events (user_id, number, todo_id, kind, actor_id, request_id, before, after)
    SELECT user_id, last_number + place, todo_id, kind, CASE WHEN request IS NOT NULL THEN user_id END,
        left(request, 128), before, after
    FROM numbered JOIN counters USING (user_id);

    PERFORM pg_notify('todo_events', user_id || ' ' || last_number)
    FROM todo_event_counters WHERE user_id IN (SELECT user_id FROM unnest(events));
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER note_todos_created AFTER INSERT ON todos
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION note_todo_events();
CREATE TRIGGER note_todos_changed AFTER UPDATE ON todos
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION note_todo_events();
CREATE TRIGGER note_todos_purged AFTER DELETE ON todos
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION note_todo_events();

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
