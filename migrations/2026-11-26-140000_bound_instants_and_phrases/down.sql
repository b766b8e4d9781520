ALTER TABLE todos DROP CONSTRAINT todos_instants;

CREATE OR REPLACE FUNCTION todo_contains(title text, description text, phrases text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000
    RETURN (
        SELECT bool_and(strpos(folded, phrase) > 0)
        FROM (SELECT todo_fold(title || ' ' || description) AS folded OFFSET 0) AS text, unnest(phrases) AS phrase
    );
