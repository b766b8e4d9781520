//! Functions of PostgreSQL that diesel does not declare.

use diesel::sql_types::{Bool, Nullable, SingleValue, Text};

diesel::define_sql_function! {
    /// The database's clock, also within a transaction or statement.
    fn clock_timestamp() -> Timestamptz;
}

diesel::define_sql_function! {
    /// The first of two values that is not null.
    fn coalesce<T: SingleValue>(value: Nullable<T>, otherwise: T) -> T;
}

diesel::define_sql_function! {
    /// The text in lower case. Applied to both sides of a comparison, so that they agree.
    fn lower(text: Text) -> Text;
}

diesel::define_sql_function! {
    /// Sets a setting and returns its value; with `local` the setting ends with the transaction.
    fn set_config(name: Text, value: Text, local: Bool) -> Text;
}
