-- The words of a text. Punctuation separates words, so that what is being typed is a beginning of what was typed.
CREATE FUNCTION todo_words(text text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_tsvector('simple'::regconfig, regexp_replace(text, '[\x01-/:-@\x5B-`{-\x7F]+', ' ', 'g'));

-- A term as it stands in the index: under its owner, so that a search reads nothing of other users, and with its kind.
-- The last digits of an identifier are random in all its versions. Overlong words are found by their beginning.
CREATE FUNCTION todo_term(user_id uuid, kind text, term text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN right(user_id::text, 12) || kind || left(term, 100);

-- What a todo is found by: the words of its title and description, and its tags.
CREATE FUNCTION todo_terms(user_id uuid, title text, description text, tags text[]) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN array_to_tsvector(ARRAY(
        SELECT todo_term(user_id, 'w', word)
        FROM unnest(tsvector_to_array(todo_words(title || ' ' || description))) AS word
        UNION
        SELECT todo_term(user_id, 't', tag) FROM unnest(tags) AS tag
    ));

-- A search for all of some words, the last one perhaps unfinished; null if there are none.
CREATE FUNCTION todo_search(user_id uuid, text text) RETURNS tsquery
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

-- A search for tags: for all of them, or for any.
CREATE FUNCTION todo_tagged(user_id uuid, tags text[], every boolean) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT string_agg(
            '''' || replace(replace(todo_term(user_id, 't', tag), '\', '\\'), '''', '''''') || '''',
            CASE WHEN every THEN ' & ' ELSE ' | ' END)::tsquery
        FROM unnest(tags) AS tag
    );

-- A priority as a number to sort by.
CREATE FUNCTION todo_rank(priority text) RETURNS smallint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE priority WHEN 'LOW' THEN 1 WHEN 'MEDIUM' THEN 2 WHEN 'HIGH' THEN 3 ELSE 0 END;

CREATE TABLE todos (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    title varchar(200) NOT NULL CONSTRAINT todos_title CHECK (title <> '' AND title = btrim(title)),
    description varchar(10000) NOT NULL DEFAULT '',
    priority text NOT NULL DEFAULT 'NONE'
        CONSTRAINT todos_priority CHECK (priority IN ('NONE', 'LOW', 'MEDIUM', 'HIGH')),
    due_at timestamptz,
    tags text[] NOT NULL DEFAULT '{}'
        CONSTRAINT todos_tags CHECK (cardinality(tags) <= 20 AND array_position(tags, NULL) IS NULL),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    completed boolean NOT NULL DEFAULT false,
    completed_at timestamptz,
    deleted_at timestamptz,
    creation_hash bytea CONSTRAINT todos_creation_hash_is_sha256 CHECK (octet_length(creation_hash) = 32),
    in_trash boolean NOT NULL GENERATED ALWAYS AS (deleted_at IS NOT NULL) STORED,
    terms tsvector NOT NULL GENERATED ALWAYS AS (todo_terms(user_id, title, description, tags)) STORED,
    CONSTRAINT todos_completed CHECK (completed = (completed_at IS NOT NULL)),
    -- The owner is part of the name: clients make identifiers, and learn nothing from those of others.
    PRIMARY KEY (user_id, id)
);

-- One index for each order, each for what is in the trash and what is not.
CREATE INDEX idx_todo_created_at ON todos (user_id, in_trash, created_at, id);
CREATE INDEX idx_todo_updated_at ON todos (user_id, in_trash, updated_at, id);
-- What is never due comes last, upwards and downwards.
CREATE INDEX idx_todo_due_at ON todos (user_id, in_trash, (coalesce(due_at, 'infinity')), id);
CREATE INDEX idx_todo_due_at_down ON todos (user_id, in_trash, (coalesce(due_at, '-infinity')), id);
CREATE INDEX idx_todo_priority ON todos (user_id, in_trash, todo_rank(priority), id);
-- By code point, since the order of other collations changes with the system's libraries.
CREATE INDEX idx_todo_title ON todos (user_id, in_trash, (lower(title) COLLATE "C"), id);
-- For what only few rows have.
CREATE INDEX idx_todo_completed_at ON todos (user_id, in_trash, completed_at);
-- Without the list of pending entries, which every search would read through, other users' too.
CREATE INDEX idx_todo_terms ON todos USING gin (terms) WITH (fastupdate = off);
CREATE INDEX idx_todo_deleted_at ON todos (deleted_at) WHERE deleted_at IS NOT NULL;

-- Who says that a todo is done need not say since when.
CREATE FUNCTION set_todo_completed() RETURNS trigger AS $$
BEGIN
    IF NEW.completed THEN
        NEW.completed_at := coalesce(NEW.completed_at, NEW.updated_at);
    END IF;
    NEW.completed := NEW.completed_at IS NOT NULL;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER set_todo_completed BEFORE INSERT ON todos
    FOR EACH ROW WHEN (NEW.completed OR NEW.completed_at IS NOT NULL) EXECUTE FUNCTION set_todo_completed();

-- A change raises the version; an update that changes nothing leaves the row as it is. What is done again keeps the time
-- when it was done first.
CREATE FUNCTION count_todo_version() RETURNS trigger AS $$
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

CREATE TRIGGER count_todo_version BEFORE UPDATE ON todos
    FOR EACH ROW EXECUTE FUNCTION count_todo_version();

COMMENT ON TABLE todos IS 'What users want to do.';
COMMENT ON COLUMN todos.user_id IS 'Whose it is; deleting the user deletes it.';
COMMENT ON COLUMN todos.id IS 'Identifier, unique among those of its owner: clients may make it.';
COMMENT ON COLUMN todos.title IS 'What is to be done, in a line.';
COMMENT ON COLUMN todos.description IS 'What else there is to say.';
COMMENT ON COLUMN todos.priority IS 'How important it is.';
COMMENT ON COLUMN todos.due_at IS 'By when it is to be done.';
COMMENT ON COLUMN todos.tags IS 'Words to sort it by.';
COMMENT ON COLUMN todos.version IS 'Raised by every change; kept by a trigger.';
COMMENT ON COLUMN todos.created_at IS 'When it was made.';
COMMENT ON COLUMN todos.updated_at IS 'When it last changed; kept by a trigger.';
COMMENT ON COLUMN todos.completed IS 'Whether it is done; goes with completed_at, kept by triggers.';
COMMENT ON COLUMN todos.completed_at IS 'When it was done.';
COMMENT ON COLUMN todos.deleted_at IS 'When it was put into the trash.';
COMMENT ON COLUMN todos.creation_hash IS 'SHA-256 of what it was made with, to recognise a repeated request; none where the service made the identifier.';
COMMENT ON COLUMN todos.in_trash IS 'Whether it is in the trash.';
COMMENT ON COLUMN todos.terms IS 'The words and tags it is found by.';
