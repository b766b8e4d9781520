-- Instants that the service can read: an infinite one, or one beyond its calendar, would fail every list that holds it. An
-- older row that has one is not checked, so that this migration does not fail.
ALTER TABLE todos ADD CONSTRAINT todos_instants CHECK (
    due_at > '-infinity' AND due_at < '262000-01-01 00:00:00+00'
    AND completed_at > '-infinity' AND completed_at < '262000-01-01 00:00:00+00'
    AND deleted_at > '-infinity' AND deleted_at < '262000-01-01 00:00:00+00'
    AND created_at > '-infinity' AND created_at < '262000-01-01 00:00:00+00'
    AND updated_at > '-infinity' AND updated_at < '262000-01-01 00:00:00+00'
) NOT VALID;
