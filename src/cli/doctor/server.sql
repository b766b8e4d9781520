-- Checks of the server. Of each one's rules, the first that applies is its finding.
-- $1: this machine; $2: behind a pooler; $3: connections that one process opens at most; $4: tables of the service.
WITH roles AS (
    SELECT current_user::text AS role, rolsuper AS is_superuser, current_schema()::text AS schema,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS can_create,
        (SELECT string_agg(privilege || ' on ' || name, ', ')
            FROM unnest(string_to_array($4, ', ')) AS name, unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege
            WHERE NOT has_table_privilege(to_regclass(name), privilege)) AS lacks,
        least(current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
                - coalesce(current_setting('reserved_connections', true), '0')::bigint,
            (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
            nullif(rolconnlimit, -1)) AS usable,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS used
    FROM pg_roles WHERE rolname = current_user
), timeouts AS (
    SELECT string_agg(name, ', ' ORDER BY name) AS missing,
        string_agg(format('ALTER ROLE "%s" SET %s = ''%s'';', current_user, name, value), E'\n' ORDER BY name) AS commands
    FROM (VALUES ('statement_timeout', '10s'), ('lock_timeout', '5s'), ('idle_in_transaction_session_timeout', '5s'))
        AS limits (name, value)
    WHERE current_setting(name) = '0'
), rules AS (
    SELECT rules.* FROM roles, timeouts,
    format('%s at most for each process; the server has %s, of which %s are in use', $3, usable, used) AS connections,
    LATERAL (SELECT least(greatest(usable - 2, 0), 10)) AS smaller (overflow),
    LATERAL (VALUES
    (1, 'server version', current_setting('server_version_num')::int < 140000, 'error',
        'PostgreSQL ' || current_setting('server_version'), 'upgrade to PostgreSQL 14 or newer'),
    (2, 'server version', true, 'ok', 'PostgreSQL ' || current_setting('server_version'), NULL),
    (3, 'role', schema IS NULL, 'error', role || ' cannot use any schema of its search_path',
        format('GRANT USAGE ON SCHEMA public TO "%s";', role)),
    (4, 'role', lacks IS NOT NULL, 'error', role || ' lacks ' || lacks,
        format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO "%s";', $4, role)),
    (5, 'role', is_superuser, CASE WHEN $1 THEN 'note' ELSE 'warning' END, role || ' is a superuser',
        'create a role for the service: CREATE ROLE app LOGIN PASSWORD ''...'';'),
    (6, 'role', NOT can_create, 'note',
        format('%s may read and write, but may not create tables in %s: migrations need another role', role, schema),
        format('to let it run migrations: GRANT CREATE ON SCHEMA "%s" TO "%s";', schema, role)),
    (7, 'role', true, 'ok', format('%s may read, write, and create tables in %s', role, schema), NULL),
    (8, 'timeouts', missing IS NOT NULL, 'note', 'no limit on the server: ' || missing, commands),
    (9, 'timeouts', true, 'ok', 'statements, locks and idle transactions have limits', NULL),
    (10, 'pool size', $2, 'ok', connections || '; the pooler shares them', NULL),
    (11, 'pool size', $3 > usable, 'error', connections, format('DATABASE_POOL_SIZE=%s DATABASE_POOL_OVERFLOW=%s, or a pooler',
        least(greatest(usable - 1 - overflow, 1), 5), overflow)),
    (12, 'pool size', $3 + used > usable, 'warning', connections,
        'reduce DATABASE_POOL_OVERFLOW, run fewer processes, or use a pooler'),
    (13, 'pool size', true, 'ok', format('%s: room for %s process(es)', connections, (usable - used) / $3), NULL)
    ) AS rules (position, name, applies, status, found, fix)
), findings AS (
    SELECT DISTINCT ON (name) * FROM rules WHERE applies ORDER BY name, position
)
SELECT json_agg(findings ORDER BY position) AS findings, clock_timestamp() AS now FROM findings
