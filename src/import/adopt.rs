use anyhow::{Context, bail, ensure};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Bool, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::{check, from_database, list};
use crate::db::Created;
use crate::models::ImportedUser;

/// Version of the migration that creates the table.
const CREATES_USERS: &str = "20261123090000";

/// A column of the existing table.
#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    /// True if an insert has to give a value.
    #[diesel(sql_type = Bool)]
    is_required: bool,
    #[diesel(sql_type = Bool)]
    is_key: bool,
}

const COLUMNS: &str = "SELECT attname::text AS name, format_type(atttypid, NULL) AS kind,
        attnotnull AND NOT atthasdef AND attidentity = '' AS is_required,
        EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND indnatts = 1 AND indkey[0] = attnum) AS is_key
    FROM pg_attribute WHERE attrelid = to_regclass('users') AND attnum > 0 AND NOT attisdropped";

/// An account with an argon2id hash, at a domain that the table knows.
const INSERT_ACCOUNT: &str = "INSERT INTO users (email, hashed_password, name)
    SELECT 'rehearsal-' || left(gen_random_uuid()::text, 8) || '@'
            || coalesce((SELECT split_part(email, '@', 2) FROM users LIMIT 1), 'example.com'),
        '$argon2id$v=19$m=19456,t=2,p=1$' || repeat('A', 22) || '$' || repeat('A', 43), 'Rehearsal'";

const TEXTS: &[&str] = &["character varying", "text"];
const TIMES: &[&str] = &["timestamp with time zone", "timestamp without time zone"];
const EXPECTED: [(&str, &[&str]); 6] = [
    ("id", &["uuid"]),
    ("email", TEXTS),
    ("hashed_password", TEXTS),
    ("name", TEXTS),
    ("created_at", TIMES),
    ("updated_at", TIMES),
];

/// Converts the table `users` of the original system in place and returns the number of users.
///
/// Part of a transaction in which the first migration has run; `created` is what the others will create. If anything is in
/// the way, the error lists all of it, and the transaction must not be committed.
pub async fn adopt(conn: &mut AsyncPgConnection, created: &Created) -> anyhow::Result<usize> {
    let shape = check_shape(conn).await?;
    let mut problems = things_in_the_way(conn, created).await?;
    // Rows can be read only if the columns are there.
    let users = if shape.is_empty() {
        conn.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await?;
        let (rows, faults) = check(&from_database(conn).await?);
        problems.extend(faults);
        rows
    } else {
        Vec::new()
    };
    let problems = [shape, problems].concat();
    if !problems.is_empty() {
        bail!(list(problems));
    }
    for user in &users {
        ImportedUser::tidy(conn, user).await?;
    }
    conn.batch_execute(include_str!("adopt.sql")).await?;
    rehearse_account(conn).await.context(
        "nothing was changed: the table users refuses an account as this service writes it; drop or change the rule",
    )?;
    let applied = "INSERT INTO __diesel_schema_migrations (version) VALUES ($1)";
    diesel::sql_query(applied).bind::<Text, _>(CREATES_USERS).execute(conn).await?;
    Ok(users.len())
}

/// Creates an account, changes it and reverts that: checks, rules, triggers and policies of the table may refuse what the
/// service writes, such as a check on the length of bcrypt hashes.
async fn rehearse_account(conn: &mut AsyncPgConnection) -> anyhow::Result<()> {
    let rehearsal = conn.transaction(async |conn| {
        for statement in
            [INSERT_ACCOUNT, "UPDATE users SET hashed_password = hashed_password WHERE name = 'Rehearsal'"]
        {
            let rows = diesel::sql_query(statement).execute(conn).await?;
            ensure!(rows > 0, "a rule or trigger drops the row");
        }
        Err::<(), _>(anyhow::Error::from(diesel::result::Error::RollbackTransaction))
    });
    match rehearsal.await {
        Err(error) if matches!(error.downcast_ref(), Some(diesel::result::Error::RollbackTransaction)) => {
            Ok(())
        }
        result => result,
    }
}

/// Lists objects that adoption would fail on or break.
async fn things_in_the_way(conn: &mut AsyncPgConnection, created: &Created) -> anyhow::Result<Vec<String>> {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        text: String,
    }
    // Adoption keeps these.
    let kept = |name: &&String| name.as_str() != "users" && name.as_str() != "users_pkey";
    let relations: Vec<&String> = created.relations.iter().filter(kept).collect();
    let lines: Vec<Line> = diesel::sql_query(include_str!("in_the_way.sql"))
        .bind::<Array<Text>, _>(relations)
        .bind::<Array<Text>, _>(&created.functions)
        .load(conn)
        .await?;
    Ok(lines.into_iter().map(|line| line.text).collect())
}

/// Lists the columns that do not fit.
async fn check_shape(conn: &mut AsyncPgConnection) -> anyhow::Result<Vec<String>> {
    let applied = "SELECT 1 FROM __diesel_schema_migrations WHERE version = $1";
    let applied = diesel::sql_query(applied).bind::<Text, _>(CREATES_USERS).execute(conn).await?;
    ensure!(applied == 0, "the table users has been adopted already");
    let columns: Vec<Column> = diesel::sql_query(COLUMNS).load(conn).await?;
    ensure!(!columns.is_empty(), "no table users to adopt; to create one: todo-api migrate run");
    let mut problems = Vec::new();
    for (name, kinds) in EXPECTED {
        match columns.iter().find(|column| column.name == name) {
            None => problems.push(format!("the column {name} is missing")),
            Some(column) if !kinds.contains(&column.kind.as_str()) => {
                problems.push(format!(
                    "the column {name} is {} instead of {}",
                    column.kind,
                    kinds.join(" or ")
                ));
            }
            Some(column) if name == "id" && !column.is_key => {
                problems.push("id is not the primary key".into());
            }
            Some(_) => {}
        }
    }
    let known = |column: &&Column| EXPECTED.iter().any(|(name, _)| *name == column.name);
    let unknown = columns.iter().filter(|column| column.is_required && !known(column));
    problems.extend(
        unknown.map(|column| {
            format!("the column {} is required, and this service does not know it", column.name)
        }),
    );
    Ok(problems)
}
