-- Checks of the server. Of each one's rules, the first that applies is its finding.
-- $1: this machine; $2: behind a pooler; $3: connections that one process opens at most.
WITH others AS (
    SELECT count(*) AS number, usename || coalesce(' (' || nullif(application_name, '') || ')', '') AS holder
    FROM pg_stat_activity
    -- The type of another role's process is hidden from most roles.
    WHERE datid IS NOT NULL AND usename IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
        AND pid <> pg_backend_pid()
    GROUP BY 2
), roles AS (
    SELECT current_user::text AS role, rolsuper AS is_superuser, current_schema()::text AS schema,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS can_create,
        least(current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
                - coalesce(current_setting('reserved_connections', true), '0')::bigint,
            (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
            nullif(rolconnlimit, -1)) AS usable,
        (SELECT coalesce(sum(number), 0)::bigint FROM others) AS used,
        (SELECT string_agg(format('%s by %s', number, holder), ', ' ORDER BY number DESC, holder)
            FROM (SELECT * FROM others ORDER BY number DESC, holder LIMIT 3) AS most) AS holders
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
    (3, 'role', is_superuser, CASE WHEN $1 THEN 'note' ELSE 'warning' END, role || ' is a superuser',
        'create a role for the service: CREATE ROLE app LOGIN PASSWORD ''...'';'),
    (4, 'role', NOT can_create AND schema IS NOT NULL, 'note',
        format('%s may read and write, but may not create tables in %s: migrations need another role', role, schema),
        format('to let it run migrations: GRANT CREATE ON SCHEMA "%s" TO "%s";', schema, role)),
    (5, 'role', schema IS NOT NULL, 'ok', format('%s may read, write, and create tables in %s', role, schema), NULL),
    (6, 'timeouts', missing IS NOT NULL, 'note', 'no limit on the server: ' || missing, commands),
    (7, 'timeouts', true, 'ok', 'statements, locks and idle transactions have limits', NULL),
    (8, 'pool size', $2, 'ok', connections || '; the pooler shares them', NULL),
    (9, 'pool size', $3 > usable, 'error', connections, format('DATABASE_POOL_SIZE=%s DATABASE_POOL_OVERFLOW=%s, or a pooler',
        least(greatest(usable - 1 - overflow, 1), 5), overflow)),
    (10, 'pool size', $3 + used > usable, 'warning', connections || ': ' || holders,
        'reduce DATABASE_POOL_OVERFLOW, run fewer processes, or use a pooler'),
    (11, 'pool size', true, 'ok', format('%s: room for %s process(es)', connections, (usable - used) / $3), NULL),
    (12, 'messages', true, 'ok', format('lc_messages = %s; errors are told apart by SQLSTATE', current_setting('lc_messages')), NULL)
    ) AS rules (position, name, applies, status, found, fix)
), findings AS (
    SELECT DISTINCT ON (name) * FROM rules WHERE applies ORDER BY name, position
)
SELECT json_agg(findings ORDER BY position) AS findings, clock_timestamp() AS now FROM findings
