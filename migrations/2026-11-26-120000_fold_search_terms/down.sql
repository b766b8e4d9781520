ALTER TABLE todos DROP COLUMN terms;
DROP FUNCTION todo_terms(uuid, text, text, text[]);
DROP FUNCTION todo_contains(text, text, text[]);
DROP FUNCTION todo_phrases(text);

CREATE FUNCTION todo_words(text text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_tsvector('simple'::regconfig, regexp_replace(text, '[\x01-/:-@\x5B-`{-\x7F]+', ' ', 'g'));

CREATE FUNCTION todo_terms(user_id uuid, title text, description text, tags text[]) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN array_to_tsvector(ARRAY(
        SELECT todo_term(user_id, 'w', word)
        FROM unnest(tsvector_to_array(todo_words(title || ' ' || description))) AS word
        UNION
        SELECT todo_term(user_id, 't', tag) FROM unnest(tags) AS tag
    ));

CREATE OR REPLACE FUNCTION todo_search(user_id uuid, text text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT string_agg(
            quote_literal(todo_term(user_id, 'w', lexeme)) || CASE WHEN last THEN ':*' ELSE '' END, ' & ')::tsquery
        FROM (
            SELECT lexeme, max(positions[array_upper(positions, 1)]) OVER ()
                = positions[array_upper(positions, 1)] AS last
            FROM unnest(todo_words(text))
        ) AS words
    );

CREATE OR REPLACE FUNCTION todo_tagged(user_id uuid, tags text[], every boolean) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT string_agg(
            '''' || replace(replace(todo_term(user_id, 't', tag), '\', '\\'), '''', '''''') || '''',
            CASE WHEN every THEN ' & ' ELSE ' | ' END)::tsquery
        FROM unnest(tags) AS tag
    );

DROP FUNCTION todo_query(text, text);
DROP FUNCTION todo_lexemes(text, text, text[]);
DROP FUNCTION todo_fold(text);

ALTER TABLE todos ADD COLUMN terms tsvector NOT NULL
    GENERATED ALWAYS AS (todo_terms(user_id, title, description, tags)) STORED;
CREATE INDEX idx_todo_terms ON todos USING gin (terms) WITH (fastupdate = off);

COMMENT ON COLUMN todos.terms IS 'Search terms: the words of title and description, and the tags, each prefixed with owner and kind; generated.';
