DROP FUNCTION diesel_manage_updated_at(_tbl regclass);
DROP FUNCTION diesel_set_updated_at();
