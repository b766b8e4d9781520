//! Types of PostgreSQL that diesel does not know.

use diesel::query_builder::QueryId;
use diesel::sql_types::SqlType;

/// The words of a text, as PostgreSQL searches for them.
#[derive(Clone, Copy, Debug, QueryId, SqlType)]
#[diesel(postgres_type(name = "tsvector"))]
pub struct Tsvector;
