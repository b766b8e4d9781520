CREATE TABLE throttle_buckets (
    key bytea PRIMARY KEY CONSTRAINT throttle_buckets_key_is_sha256 CHECK (octet_length(key) = 32),
    level double precision NOT NULL,
    updated_at timestamptz NOT NULL,
    refused_at timestamptz,
    expires_at timestamptz NOT NULL
);

CREATE INDEX idx_throttle_bucket_expires_at ON throttle_buckets (expires_at);

COMMENT ON TABLE throttle_buckets IS 'How many attempts there were of late, for each thing that is counted.';
COMMENT ON COLUMN throttle_buckets.key IS 'SHA-256 of what is counted, such as logins from an address.';
COMMENT ON COLUMN throttle_buckets.level IS 'Attempts, less those that time has forgiven.';
COMMENT ON COLUMN throttle_buckets.updated_at IS 'When the level was right.';
COMMENT ON COLUMN throttle_buckets.refused_at IS 'When it was last noted that attempts are refused.';
COMMENT ON COLUMN throttle_buckets.expires_at IS 'From when on the row says nothing any more.';
