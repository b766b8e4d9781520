-- Requirements of the service. Of each name's rules, the first that applies is its judgement.
-- $1: tables of the service.
WITH names AS (
    SELECT '"' || replace(current_user, '"', '""') || '"' AS role, '"' || replace(current_database(), '"', '""') || '"' AS database
), settings AS (
    SELECT pg_settings.name, setting, CASE source
            WHEN 'database' THEN 'ALTER DATABASE ' || database
            WHEN 'database user' THEN format('ALTER ROLE %s IN DATABASE %s', role, database)
            ELSE 'ALTER ROLE ' || role END AS alter_it,
        source = 'client' AS is_of_url
    FROM names, pg_settings WHERE pg_settings.name IN ('search_path', 'default_transaction_read_only')
), path AS (
    SELECT setting, alter_it, is_of_url,
        -- A path to the system's own schemas leads nowhere, too.
        CASE WHEN current_schema() !~ '^(pg_|information_schema$)' THEN current_schema()::text END AS schema,
        (SELECT nspname::text FROM unnest(string_to_array(setting, ',')) WITH ORDINALITY AS parts (part, position)
            JOIN pg_namespace ON nspname = replace(btrim(part, ' "'), '$user', current_user)
            WHERE nspname !~ '^(pg_|information_schema$)' ORDER BY position LIMIT 1) AS forbidden,
        (SELECT btrim(part, ' "') FROM unnest(string_to_array(setting, ',')) WITH ORDINALITY AS parts (part, position)
            WHERE btrim(part, ' "') !~ '^($|\$user$|pg_|information_schema$)' ORDER BY position LIMIT 1) AS named,
        (SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relname = 'todo_event_counters' AND relkind = 'r' AND to_regclass('todo_event_counters') IS NULL
            ORDER BY nspname <> 'public', nspname LIMIT 1) AS elsewhere,
        coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'public'), false) AS has_public
    FROM settings WHERE name = 'search_path'
), tables AS (
    SELECT string_agg(DISTINCT address, ', ') FILTER (WHERE is_denied) AS closed,
        string_agg(privilege || ' on ' || name, ', ') FILTER (WHERE is_denied) AS lacks,
        string_agg(DISTINCT name, ', ') FILTER (WHERE is_foreign) AS foreign_tables,
        min('"' || replace(owner, '"', '""') || '"') FILTER (WHERE is_foreign) AS owner
    FROM (
        -- Rights on some columns may do.
        SELECT name, privilege, NOT CASE privilege WHEN 'DELETE' THEN has_table_privilege(id, privilege)
                ELSE has_any_column_privilege(id, privilege) END AS is_denied, NOT pg_has_role(relowner, 'USAGE') AS is_foreign,
            pg_get_userbyid(relowner)::text AS owner,
            -- Others' sessions may have another search_path.
            CASE relnamespace::regnamespace::text WHEN 'public' THEN name ELSE relnamespace::regnamespace || '.' || name END AS address
        FROM unnest(string_to_array($1, ', ')) AS name, to_regclass(name) AS id, pg_class,
            unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege
        WHERE pg_class.oid = id
            -- What no statement of the service does.
            AND (name, privilege) NOT IN (('todo_event_counters', 'DELETE'), ('write_positions', 'DELETE'))
    ) AS privileges
), facts AS (
    SELECT current_setting('server_encoding') AS encoding,
        -- Locales of the system exist for an encoding; C exists for all.
        coalesce((SELECT collctype FROM pg_collation WHERE collencoding = 6 AND collctype ~* '^C\.utf' ORDER BY 1 LIMIT 1), 'C')
            AS character_type,
        (SELECT array_agg(attname::text) @> '{email,hashed_password}' FROM pg_attribute
            WHERE attrelid = to_regclass('users') AND attnum > 0 AND NOT attisdropped) AS are_users_original
), rules AS (
    SELECT rules.* FROM names, path, tables, facts,
    (SELECT setting AS state, alter_it AS alter_state, is_of_url AS is_state_of_url FROM settings
        WHERE name = 'default_transaction_read_only') AS read_only,
    LATERAL (VALUES
    (1, 'writes', pg_is_in_recovery(), 'error', 'the server is a standby, which refuses every write',
        'use the URL of the primary; this server may be one of DATABASE_REPLICA_URLS'),
    (2, 'writes', state = 'on' AND is_state_of_url, 'error', 'the URL makes every transaction read-only',
        'remove default_transaction_read_only from options in the URL'),
    (3, 'writes', state = 'on', 'error', 'transactions are read-only (default_transaction_read_only = on)',
        format('BEGIN READ WRITE; %s SET default_transaction_read_only = off; COMMIT;', alter_state)),
    (4, 'writes', true, 'ok', 'are accepted', NULL),
    (5, 'encoding', encoding <> 'UTF8', 'error', format('the database %s is in %s, which cannot store every text', database, encoding),
        format('CREATE DATABASE %s ENCODING ''UTF8'' TEMPLATE template0 LC_COLLATE ''C'' LC_CTYPE ''%s'' OWNER %s;'
            || E'\nand have the URL lead there', '"' || replace(current_database(), '"', '""') || '_utf8"', character_type, role)),
    (6, 'encoding', true, 'ok', encoding, NULL),
    (7, 'search_path', schema IS NULL AND is_of_url, 'error', format('leads to no schema: %s, from options in the URL', setting),
        'remove search_path from options in the URL'),
    (8, 'search_path', schema IS NULL AND forbidden IS NOT NULL, 'error',
        format('leads to no schema that %s may use: %s', role, setting),
        format('GRANT USAGE ON SCHEMA "%s" TO %s;', forbidden, role)),
    (9, 'search_path', schema IS NULL AND (has_public OR elsewhere IS NOT NULL), 'error', format('leads to no schema: %s', setting),
        format('%s SET search_path = "%s";', alter_it, coalesce(elsewhere, 'public'))),
    (10, 'search_path', schema IS NULL, 'error', format('leads to no schema: %s', setting),
        format('CREATE SCHEMA "%s" AUTHORIZATION %s; %s SET search_path = "%s";', coalesce(named, 'public'), role, alter_it,
            coalesce(named, 'public'))),
    (11, 'search_path', elsewhere IS NOT NULL AND is_of_url, 'warning',
        format('leads to the schema %s, from options in the URL, but the service''s tables are in %s', schema, elsewhere),
        format('have options in the URL set search_path to "%s"', elsewhere)),
    (12, 'search_path', elsewhere IS NOT NULL, 'warning',
        format('leads to the schema %s, but the service''s tables are in %s', schema, elsewhere),
        format('%s SET search_path = "%s";', alter_it, elsewhere)),
    (13, 'search_path', true, 'ok', format('leads to the schema %s', schema), NULL),
    (14, 'role', lacks IS NOT NULL, 'error', format('%s lacks %s', role, lacks),
        format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s;', closed, role)),
    (15, 'migration table', NOT has_table_privilege(to_regclass('__diesel_schema_migrations'), 'SELECT'), 'error',
        format('%s may not read the list of migrations', role),
        format('GRANT SELECT ON %s__diesel_schema_migrations TO %s;', CASE WHEN schema <> 'public' THEN format('"%s".', schema) END, role)),
    (16, 'table users', are_users_original, 'error', 'the table users of the original system is there',
        'todo-api migrate adopt'),
    (17, 'table users', to_regclass('users') IS NOT NULL, 'error', 'another application''s table users is there',
        format('give the service a database of its own: CREATE DATABASE "todo_api" OWNER %s;', role)),
    (18, 'migrations', NOT has_schema_privilege(schema, 'CREATE'), 'error',
        format('%s may not create tables in the schema %s', role, schema),
        format('GRANT CREATE ON SCHEMA "%s" TO %s;', schema, role)),
    (19, 'migrations', foreign_tables IS NOT NULL, 'error', format('%s does not own %s', role, foreign_tables),
        format('run them as %s, by DATABASE_DIRECT_URL; or GRANT %s TO %s;', owner, owner, role))
    ) AS rules (position, name, applies, status, found, fix)
), judgements AS (
    SELECT DISTINCT ON (name) * FROM rules WHERE applies ORDER BY name, position
)
SELECT json_agg(judgements ORDER BY position) AS judgements FROM judgements
