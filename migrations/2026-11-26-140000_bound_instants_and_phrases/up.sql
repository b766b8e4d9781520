-- Instants that the service can read: an infinite one, or one beyond its calendar, would fail every list that holds it. An
-- older row that has one is not checked, so that this migration does not fail.
ALTER TABLE todos ADD CONSTRAINT todos_instants CHECK (
    due_at > '-infinity' AND due_at < '262000-01-01 00:00:00+00'
    AND completed_at > '-infinity' AND completed_at < '262000-01-01 00:00:00+00'
    AND deleted_at > '-infinity' AND deleted_at < '262000-01-01 00:00:00+00'
    AND created_at > '-infinity' AND created_at < '262000-01-01 00:00:00+00'
    AND updated_at > '-infinity' AND updated_at < '262000-01-01 00:00:00+00'
) NOT VALID;

-- Looks for the phrases in the text as written first: to fold it takes a hundred times as long, and scripts without spaces are
-- mostly written as they are folded.
CREATE OR REPLACE FUNCTION todo_contains(title text, description text, phrases text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000
    RETURN CASE
        WHEN (SELECT bool_and(strpos(title || ' ' || description, phrase) > 0) FROM unnest(phrases) AS phrase) THEN true
        ELSE (
            SELECT bool_and(strpos(folded, phrase) > 0)
            FROM (SELECT todo_fold(title || ' ' || description) AS folded OFFSET 0) AS text, unnest(phrases) AS phrase
        )
    END;
