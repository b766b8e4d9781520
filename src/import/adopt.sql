-- Gives the original system's table the shape of the migration create_users. Emails and names have been normalised.
ALTER TABLE users DROP CONSTRAINT IF EXISTS idx_user_email;
DROP INDEX IF EXISTS idx_user_email;
-- Only types that differ: views on the other columns do not matter.
DO $$
DECLARE
    wanted record;
BEGIN
    -- Times without an offset are UTC.
    SET LOCAL timezone = 'UTC';
    FOR wanted IN SELECT name, type
        FROM (VALUES
            ('email', 'character varying(255)'), ('hashed_password', 'character varying(255)'),
            ('name', 'character varying(255)'), ('created_at', 'timestamp with time zone'),
            ('updated_at', 'timestamp with time zone')) AS columns (name, type)
        JOIN pg_attribute ON attrelid = 'users'::regclass AND attname = name
            AND format_type(atttypid, atttypmod) <> type
    LOOP
        EXECUTE format('ALTER TABLE users ALTER COLUMN %I TYPE %s', wanted.name, wanted.type);
    END LOOP;
END $$;
ALTER TABLE users
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN email SET NOT NULL,
    ALTER COLUMN hashed_password SET NOT NULL,
    ALTER COLUMN name SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL,
    ADD CONSTRAINT users_email_normalised CHECK (email = normalize(btrim(email, E' \t\r\n'), NFKC) AND email <> '');
CREATE UNIQUE INDEX idx_user_email ON users (lower(email) text_pattern_ops);
CREATE INDEX IF NOT EXISTS idx_user_created_at ON users (created_at);
DROP TRIGGER IF EXISTS set_updated_at ON users;
SELECT diesel_manage_updated_at('users');
COMMENT ON TABLE users IS 'Accounts.';
COMMENT ON COLUMN users.id IS 'Random identifier, the subject of access tokens.';
COMMENT ON COLUMN users.email IS 'Address as entered, trimmed and NFKC-normalised; unique whatever its case.';
COMMENT ON COLUMN users.hashed_password IS 'argon2id in PHC format; bcrypt in rows from the original system until their next login.';
COMMENT ON COLUMN users.name IS 'Name shown to people.';
COMMENT ON COLUMN users.created_at IS 'When the account was made.';
COMMENT ON COLUMN users.updated_at IS 'When the row last changed; kept by a trigger.';
