CREATE OR REPLACE FUNCTION count_todo_version() RETURNS trigger AS $$
BEGIN
    IF NEW.completed AND NOT OLD.completed THEN
        NEW.completed_at := coalesce(NEW.completed_at, clock_timestamp());
    ELSIF OLD.completed AND NOT NEW.completed THEN
        NEW.completed_at := NULL;
    END IF;
    NEW.completed := NEW.completed_at IS NOT NULL;
    IF OLD.completed_at IS NOT NULL AND NEW.completed_at IS NOT NULL THEN
        NEW.completed_at := OLD.completed_at;
    END IF;
    IF OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NOT NULL THEN
        NEW.deleted_at := OLD.deleted_at;
    END IF;
    IF (NEW.title, NEW.description, NEW.priority, NEW.due_at, NEW.tags, NEW.completed_at, NEW.deleted_at)
        IS DISTINCT FROM
        (OLD.title, OLD.description, OLD.priority, OLD.due_at, OLD.tags, OLD.completed_at, OLD.deleted_at)
    THEN
        NEW.version := OLD.version + 1;
        -- Later than the last one also where the clock was set back.
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
    ELSE
        NEW.version := OLD.version;
        NEW.updated_at := OLD.updated_at;
    END IF;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE OR REPLACE FUNCTION todo_content(todo todos) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'title', todo.title,
        'description', todo.description,
        'priority', todo.priority,
        'due_at', todo.due_at,
        'tags', todo.tags,
        'completed_at', todo.completed_at,
        'deleted_at', todo.deleted_at);
