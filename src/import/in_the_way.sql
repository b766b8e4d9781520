-- What adoption would fail on or break, one line each. $1: names of the relations that the migrations create; $2: their
-- functions, with the types of their arguments. Both are in the order of their creation.
WITH target AS (
    SELECT pg_class.* FROM pg_class WHERE oid = to_regclass('users')
), retyped AS (
    -- Columns whose type adopt.sql changes.
    SELECT attrelid, attnum, attname FROM pg_attribute JOIN target ON attrelid = target.oid
    JOIN (VALUES
        ('email', 'character varying(255)'), ('hashed_password', 'character varying(255)'),
        ('name', 'character varying(255)'), ('created_at', 'timestamp with time zone'),
        ('updated_at', 'timestamp with time zone')) AS wanted (name, type)
        ON attname = wanted.name AND format_type(atttypid, atttypmod) <> wanted.type
), unique_rules AS (
    SELECT index.relname, array_agg(DISTINCT attname::text) AS columns
    FROM target JOIN pg_index ON indrelid = target.oid AND indisunique
    JOIN pg_class AS index ON index.oid = indexrelid
    JOIN pg_attribute ON attrelid = indrelid AND attnum > 0 AND (
        attnum = ANY (indkey) OR indexprs IS NOT NULL AND EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = indexrelid
            AND refclassid = 'pg_class'::regclass AND refobjid = indrelid AND refobjsubid = attnum))
    GROUP BY index.relname
)
SELECT format('the table users is a %s', CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
        WHEN 'p' THEN 'partitioned table' ELSE 'foreign table' END) AS text
FROM target WHERE relkind <> 'r'
UNION ALL
SELECT format('the role %s does not own the table users', current_user)
FROM target WHERE NOT pg_has_role(relowner, 'USAGE')
UNION ALL
SELECT format('the name %s is taken by the constraint of the table users', conname)
FROM pg_constraint JOIN target ON conrelid = target.oid WHERE conname = 'users_email_normalised'
UNION ALL
-- Adoption replaces this index.
SELECT format('the foreign key %s of the table %s needs the index idx_user_email', conname, conrelid::regclass)
FROM pg_constraint JOIN target ON confrelid = target.oid JOIN pg_class AS index ON index.oid = conindid
WHERE contype = 'f' AND index.relname = 'idx_user_email'
UNION ALL
SELECT format('the column %s is generated', attname)
FROM pg_attribute JOIN target ON attrelid = target.oid
WHERE attname IN ('id', 'email', 'hashed_password', 'name', 'created_at', 'updated_at')
    AND (attgenerated <> '' OR attidentity <> '')
UNION ALL
SELECT format('the unique index %s covers more than the email address: %s', relname, array_to_string(columns, ', '))
FROM unique_rules WHERE NOT 'id' = ANY (columns) AND columns <> ARRAY['email']
UNION ALL
SELECT DISTINCT format('%s depends on the column %s, whose type has to change',
    pg_describe_object(classid, objid, objsubid), attname)
FROM retyped JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = attrelid AND refobjsubid = attnum
WHERE deptype = 'n' AND classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass,
    'pg_proc'::regclass, 'pg_attrdef'::regclass)
UNION ALL
SELECT format('the name %s is taken by the %s', name, coalesce(
    (SELECT format('index of the table %s', indrelid::regclass) FROM pg_index WHERE indexrelid = relation.oid),
    CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'type'
        WHEN 'f' THEN 'foreign table' ELSE 'table' END || ' of that name'))
FROM unnest($1) WITH ORDINALITY AS created (name, place)
JOIN pg_class AS relation ON relnamespace = current_schema()::regnamespace AND relname = name
WHERE name NOT IN ('idx_user_email', 'idx_user_created_at')
    OR NOT EXISTS (SELECT FROM target JOIN pg_index ON indrelid = target.oid WHERE indexrelid = relation.oid)
UNION ALL
SELECT format('the name %s is taken by the type of that name', name)
FROM unnest($1) AS created (name)
JOIN pg_type ON typnamespace = current_schema()::regnamespace AND typname = name AND typrelid = 0 AND typelem = 0
UNION ALL
SELECT format('the function %s is there already', name)
FROM unnest($2) AS created (name)
JOIN pg_proc ON pronamespace = current_schema()::regnamespace
    AND format('%s(%s)', proname, oidvectortypes(proargtypes)) = name;
