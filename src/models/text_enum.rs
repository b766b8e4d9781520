use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;

/// An enumeration stored as text, one of a fixed set of words.
pub trait TextEnum: Copy + 'static {
    /// The complete set of values.
    const ALL: &'static [Self];

    /// Returns the stored word.
    fn as_str(self) -> &'static str;

    /// Returns the value stored as `text`, or `None` for an unknown word.
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == text)
    }
}

/// The content of a text column that stores a [`TextEnum`].
#[derive(AsExpression, Clone, Copy, Debug, Eq, FromSqlRow, PartialEq)]
#[diesel(sql_type = Text)]
pub struct TextColumn<T: TextEnum>(pub T);

impl<T: TextEnum + std::fmt::Debug> ToSql<Text, Pg> for TextColumn<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(self.0.as_str(), out)
    }
}

impl<T: TextEnum> FromSql<Text, Pg> for TextColumn<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = std::str::from_utf8(value.as_bytes())?;
        T::parse(text).map(Self).ok_or_else(|| format!("unknown value {text}").into())
    }
}
