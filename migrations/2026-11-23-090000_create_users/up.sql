-- Column and index names are those of the system this one replaces, so that its rows can move in.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email varchar(255) NOT NULL
        CONSTRAINT users_email_normalised CHECK (email = normalize(btrim(email, E' \t\r\n'), NFKC) AND email <> ''),
    hashed_password varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Addresses that differ in case alone are one address. text_pattern_ops serves equality and prefixes
-- whatever the database's collation is.
CREATE UNIQUE INDEX idx_user_email ON users (lower(email) text_pattern_ops);
CREATE INDEX idx_user_created_at ON users (created_at);

SELECT diesel_manage_updated_at('users');

COMMENT ON TABLE users IS 'Accounts.';
COMMENT ON COLUMN users.id IS 'Random identifier, the subject of access tokens.';
COMMENT ON COLUMN users.email IS 'Address as entered, trimmed and NFKC-normalised; unique whatever its case.';
COMMENT ON COLUMN users.hashed_password IS 'argon2id in PHC format; bcrypt in rows from the original system until their next login.';
COMMENT ON COLUMN users.name IS 'Name shown to people.';
COMMENT ON COLUMN users.created_at IS 'When the account was made.';
COMMENT ON COLUMN users.updated_at IS 'When the row last changed; kept by a trigger.';
