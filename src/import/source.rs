use std::io::Read;

use anyhow::{Context, anyhow, bail, ensure};
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;

use super::{SourceUser, list};

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

impl Row {
    fn parse(self, line: Option<u64>) -> anyhow::Result<SourceUser> {
        let row = self;
        Ok(SourceUser {
            line,
            id: row.id.trim().parse().with_context(|| format!("{} is not a UUID", row.id))?,
            email: row.email,
            hashed_password: row.hashed_password.trim().to_owned(),
            name: row.name,
            created_at: time(&row.created_at)?,
            updated_at: time(&row.updated_at)?,
        })
    }
}

/// Columns of a CSV file, in any order; others are ignored.
const COLUMNS: [&str; 6] = ["id", "email", "hashed_password", "name", "created_at", "updated_at"];

/// Reads users from CSV with a header, the format of psql's `\copy users TO 'users.csv' CSV HEADER`.
///
/// The error lists the problems of all lines.
pub fn from_csv(file: impl Read) -> anyhow::Result<Vec<SourceUser>> {
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers().context("line 1")?.clone();
    check_header(&header)?;
    let mut users = Vec::new();
    let mut problems = Vec::new();
    for record in reader.records() {
        match record.map_err(anyhow::Error::from).and_then(|record| parse(&record, &header)) {
            Ok(user) => users.push(user),
            // Reading on would fail again, without end.
            Err(error) if error.downcast_ref::<csv::Error>().is_some_and(csv::Error::is_io_error) => {
                return Err(error);
            }
            Err(problem) => problems.push(format!("{problem:#}")),
        }
    }
    if problems.is_empty() { Ok(users) } else { bail!(list(problems)) }
}

fn parse(record: &csv::StringRecord, header: &csv::StringRecord) -> anyhow::Result<SourceUser> {
    let line = record.position().map(csv::Position::line);
    let user = record.deserialize::<Row>(Some(header)).map_err(anyhow::Error::from);
    user.and_then(|row| row.parse(line)).with_context(|| format!("line {}", line.unwrap_or_default()))
}

fn check_header(header: &csv::StringRecord) -> anyhow::Result<()> {
    let count = |name: &str| header.iter().filter(|column| *column == name).count();
    let expected = COLUMNS.join(",");
    ensure!(
        COLUMNS.iter().any(|column| count(column) > 0),
        "the first line is not the header; it has to be {expected}"
    );
    let columns = |fits: fn(usize) -> bool| {
        let named: Vec<_> = COLUMNS.into_iter().filter(|column| fits(count(column))).collect();
        named.join(", ")
    };
    let missing = columns(|count| count == 0);
    ensure!(missing.is_empty(), "the header lacks {missing}; it has to be {expected}");
    let repeated = columns(|count| count > 1);
    ensure!(repeated.is_empty(), "the header has {repeated} twice");
    Ok(())
}

/// Reads the table `users` of the original system's database.
pub async fn from_database(conn: &mut AsyncPgConnection) -> anyhow::Result<Vec<SourceUser>> {
    // As JSON, whose times do not depend on the settings of the role.
    let query = "SELECT id::text, email::text, hashed_password::text, name::text,
            to_jsonb(created_at) #>> '{}' AS created_at, to_jsonb(updated_at) #>> '{}' AS updated_at
        FROM users ORDER BY id";
    let rows: Vec<Row> = diesel::sql_query(query).load(conn).await.context("cannot read the table users")?;
    rows.into_iter().map(|row| row.parse(None)).collect()
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
