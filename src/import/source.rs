use std::io::Read;

use anyhow::{Context, anyhow};
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;

use super::SourceUser;

/// A row in text form, from either source.
#[derive(Deserialize, QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    email: String,
    #[diesel(sql_type = Text)]
    hashed_password: String,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Text)]
    created_at: String,
    #[diesel(sql_type = Text)]
    updated_at: String,
}

impl TryFrom<Row> for SourceUser {
    type Error = anyhow::Error;

    fn try_from(row: Row) -> anyhow::Result<Self> {
        Ok(Self {
            id: row.id.trim().parse().with_context(|| format!("{} is not a UUID", row.id))?,
            email: row.email,
            hashed_password: row.hashed_password.trim().to_owned(),
            name: row.name,
            created_at: time(&row.created_at)?,
            updated_at: time(&row.updated_at)?,
        })
    }
}

/// Reads users from CSV with a header, the format of psql's `\copy users TO 'users.csv' CSV HEADER`.
pub fn from_csv(file: impl Read) -> anyhow::Result<Vec<SourceUser>> {
    let mut reader = csv::Reader::from_reader(file);
    let rows = reader.deserialize::<Row>().enumerate();
    rows.map(|(number, row)| SourceUser::try_from(row?).with_context(|| format!("row {}", number + 1)))
        .collect()
}

/// Reads the table `users` of the original system's database.
pub async fn from_database(conn: &mut AsyncPgConnection) -> anyhow::Result<Vec<SourceUser>> {
    let query =
        "SELECT id::text, email::text, hashed_password::text, name::text, created_at::text, updated_at::text
        FROM users ORDER BY id";
    let rows: Vec<Row> = diesel::sql_query(query).load(conn).await.context("cannot read the table users")?;
    rows.into_iter().map(SourceUser::try_from).collect()
}

/// Parses a time in the format of PostgreSQL or Python; without an offset it is UTC, the original system's time zone.
fn time(text: &str) -> anyhow::Result<DateTime<Utc>> {
    let text = text.trim().replacen('T', " ", 1);
    let with_offset = DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%#z").map(|time| time.to_utc());
    let without = || NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").map(|time| time.and_utc());
    with_offset
        .or_else(|_| without())
        .map_err(|_| anyhow!("{text:?} is not a time such as 2024-05-06 07:08:09+00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_postgresql_and_python_are_parsed() {
        for text in [
            "2024-05-06 07:08:09.5+00",
            "2024-05-06 09:08:09.500000+02",
            "2024-05-06 07:08:09.5",
            "2024-05-06T07:08:09.500000+00:00",
            "2024-05-06T07:08:09.5Z",
        ] {
            assert_eq!(time(text).unwrap().timestamp_millis(), 1_714_979_289_500, "{text}");
        }
        assert!(time("yesterday").is_err());
    }
}
