use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// A statement that a connection prepares once and keeps.
///
/// diesel prepares updates, upserts and raw SQL anew for each execution, which costs a round trip and a plan: it can't know
/// that their texts do not vary. A connection never forgets what it keeps, so only a few texts may be wrapped. PostgreSQL may
/// plan them once for all values: a condition has to suit an index for each value, as `number < coalesce($1, ...)`
/// does and `$1 IS NULL OR number < $1` does not.
pub(crate) struct Cached<Q>(pub(crate) Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Cached<Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    // Hidden in diesel's documentation: meant for connections.
    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q> QueryId for Cached<Q> {
    type QueryId = ();

    /// The text is the key.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Cached<Q> {
    type SqlType = Q::SqlType;
}
