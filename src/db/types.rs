//! PostgreSQL types that diesel lacks.

use diesel::query_builder::QueryId;
use diesel::sql_types::SqlType;

/// `tsvector`: the lexemes of a text, for full-text search.
#[derive(Clone, Copy, Debug, QueryId, SqlType)]
#[diesel(postgres_type(name = "tsvector"))]
pub struct Tsvector;
