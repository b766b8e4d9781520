-- The content of a todo: the columns that its owner can change. Both triggers compare it, the one that counts versions and
-- the one that writes the history. It lists the columns left out, so that a new column counts unless it is listed here.
CREATE OR REPLACE FUNCTION todo_content(todo todos) RETURNS jsonb
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- Large, and derived from the content: not worth turning into JSON.
    todo.terms := NULL;
    RETURN to_jsonb(todo) - ARRAY[
        -- The key.
        'user_id', 'id',
        -- Kept by the service and the triggers.
        'version', 'created_at', 'updated_at', 'creation_hash',
        -- Derived from completed_at, deleted_at and the texts.
        'completed', 'in_trash', 'terms'];
END;
$$;

-- Increments the version of a changed todo and leaves an unchanged one as it was. Completing a completed todo, or deleting
-- a deleted one, keeps the first time.
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
    IF todo_content(NEW) IS DISTINCT FROM todo_content(OLD) THEN
        NEW.version := OLD.version + 1;
        -- Strictly increasing, even if the clock was set back.
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
    ELSE
        NEW.version := OLD.version;
        NEW.updated_at := OLD.updated_at;
    END IF;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
