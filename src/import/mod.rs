//! Imports the users of the original system: all or none, repeatably.

mod adopt;
mod source;

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use uuid::Uuid;

pub use adopt::adopt;
pub use source::{from_csv, from_database};

use crate::auth::PasswordHasher;
use crate::domain::{Email, Name};
use crate::models::ImportedUser;

/// A user of the original system.
#[derive(Clone, Debug)]
pub struct SourceUser {
    /// Line of the file; `None` for a row of a database.
    pub line: Option<u64>,
    /// Identifier.
    pub id: Uuid,
    /// Email address, not yet normalised.
    pub email: String,
    /// bcrypt hash of the password.
    pub hashed_password: String,
    /// Name, which was optional there.
    pub name: Option<String>,
    /// Creation time of the account.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
}

/// Numbers of users in an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// New users.
    pub imported: usize,
    /// Users of an earlier import, which are left unchanged.
    pub existing: usize,
}

/// Problems that are listed at most; there may be millions of rows.
const MAX_PROBLEMS: usize = 100;
/// Length of the column `hashed_password`, in characters.
const MAX_HASH: usize = 255;
/// Rows per statement.
const CHUNK: usize = 1000;

impl fmt::Display for SourceUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "user {}", self.id)
    }
}

/// Imports users in one transaction. If any of them is invalid, nothing is imported and the error lists the problems.
pub async fn import(conn: &mut AsyncPgConnection, users: &[SourceUser]) -> anyhow::Result<Summary> {
    let (rows, problems) = check(users);
    if !problems.is_empty() {
        bail!(list(problems));
    }
    conn.transaction(async |conn| {
        let new = without_present(conn, &rows).await?;
        let mut taken = Vec::new();
        for chunk in new.chunks(CHUNK) {
            taken.extend(ImportedUser::find_taken(conn, chunk).await?);
        }
        if !taken.is_empty() {
            let source: HashMap<_, _> = users.iter().map(|user| (user.id, user)).collect();
            let describe = |(id, email, owner): &(Uuid, String, Uuid)| {
                let row = source.get(id).map(ToString::to_string).unwrap_or_default();
                format!("{row}: {email} already belongs to user {owner}")
            };
            bail!(list(taken.iter().map(describe).collect()));
        }
        for chunk in new.chunks(CHUNK) {
            ImportedUser::insert(conn, chunk).await.context("nothing was imported")?;
        }
        Ok(Summary { imported: new.len(), existing: rows.len() - new.len() })
    })
    .await
}

/// Leaves out the users that exist already.
async fn without_present(
    conn: &mut AsyncPgConnection,
    users: &[ImportedUser],
) -> anyhow::Result<Vec<ImportedUser>> {
    let mut present = HashSet::new();
    for chunk in users.chunks(CHUNK) {
        present.extend(ImportedUser::find_present(conn, chunk).await?);
    }
    Ok(users.iter().filter(|user| !present.contains(&user.id)).cloned().collect())
}

/// Converts users to rows; lists the problems of all of them.
fn check(users: &[SourceUser]) -> (Vec<ImportedUser>, Vec<String>) {
    let mut rows = Vec::with_capacity(users.len());
    let mut problems = Vec::new();
    let mut emails: HashMap<String, &SourceUser> = HashMap::new();
    let mut ids: HashMap<Uuid, &SourceUser> = HashMap::new();
    for user in users {
        if let Some(other) = ids.insert(user.id, user) {
            problems.push(format!("{user}: has the same identifier as {other}"));
            continue;
        }
        match convert(user) {
            Ok(row) => {
                if let Some(other) = emails.insert(row.email.to_lowercase(), user) {
                    problems.push(format!(
                        "{user}: has the same email address as {other} once both are normalised"
                    ));
                }
                rows.push(row);
            }
            Err(problem) => problems.push(format!("{user}: {problem}")),
        }
    }
    (rows, problems)
}

fn convert(user: &SourceUser) -> Result<ImportedUser, String> {
    let email = Email::parse(&user.email).map_err(|problem| format!("email address: {}", problem.message))?;
    if !PasswordHasher::can_verify(&user.hashed_password) {
        return Err("the password hash is not bcrypt or argon2 with a usual cost".into());
    }
    if user.hashed_password.chars().count() > MAX_HASH {
        return Err(format!("the password hash has more than {MAX_HASH} characters"));
    }
    let given = user.name.as_deref().filter(|name| !name.trim().is_empty());
    // Users without a name get the local part of the address, which they can change.
    let local = email.as_str().split('@').next().unwrap_or_default();
    let name = Name::parse(given.unwrap_or(local)).map_err(|problem| format!("name: {}", problem.message))?;
    Ok(ImportedUser {
        id: user.id,
        email: email.as_str().to_owned(),
        hashed_password: user.hashed_password.clone(),
        name: name.as_str().to_owned(),
        created_at: user.created_at,
        updated_at: user.updated_at,
    })
}

fn list(mut problems: Vec<String>) -> String {
    let count = problems.len();
    problems.truncate(MAX_PROBLEMS);
    let more =
        if count > MAX_PROBLEMS { format!("\n... and {} more", count - MAX_PROBLEMS) } else { String::new() };
    format!("nothing was changed because of {count} problem(s):\n{}{more}", problems.join("\n"))
}
