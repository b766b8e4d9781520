//! Imports the users of the original system: all or none, repeatably.

mod adopt;
mod source;

use std::collections::HashMap;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use uuid::Uuid;

pub use adopt::adopt;
pub use source::{from_csv, from_database};

use crate::auth::PasswordHasher;
use crate::domain::Email;
use crate::models::ImportedUser;

/// A user of the original system.
#[derive(Clone, Debug)]
pub struct SourceUser {
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
/// Rows per statement.
const CHUNK: usize = 1000;

/// Imports users in one transaction. If any of them is invalid, nothing is imported and the error lists the problems.
pub async fn import(conn: &mut AsyncPgConnection, users: &[SourceUser]) -> anyhow::Result<Summary> {
    let users = check(users)?;
    conn.transaction(async |conn| {
        let mut summary = Summary { imported: 0, existing: 0 };
        for chunk in users.chunks(CHUNK) {
            let existing = ImportedUser::find_present(conn, chunk).await?;
            let new: Vec<_> = chunk.iter().filter(|user| !existing.contains(&user.id)).cloned().collect();
            let taken = ImportedUser::find_taken(conn, &new).await?;
            if !taken.is_empty() {
                let describe =
                    |(email, id): &(String, Uuid)| format!("{email}: already belongs to user {id}");
                bail!(list(taken.iter().map(describe).collect()));
            }
            ImportedUser::insert(conn, &new).await.context("nothing was imported")?;
            summary.imported += new.len();
            summary.existing += existing.len();
        }
        Ok(summary)
    })
    .await
}

/// Converts users to rows; the error lists the problems of all of them.
pub(crate) fn check(users: &[SourceUser]) -> anyhow::Result<Vec<ImportedUser>> {
    let mut rows = Vec::with_capacity(users.len());
    let mut problems = Vec::new();
    let mut seen: HashMap<String, Uuid> = HashMap::new();
    for user in users {
        match convert(user) {
            Ok(row) => {
                if let Some(other) = seen.insert(row.email.to_lowercase(), row.id) {
                    let message = format!("user {}: has the same email address as user {other}", row.id);
                    problems.push(message + " once both are normalised");
                }
                rows.push(row);
            }
            Err(problem) => problems.push(format!("user {}: {problem}", user.id)),
        }
    }
    if problems.is_empty() { Ok(rows) } else { bail!(list(problems)) }
}

fn convert(user: &SourceUser) -> Result<ImportedUser, String> {
    let email = Email::parse(&user.email).map_err(|problem| format!("email address: {}", problem.message))?;
    if !PasswordHasher::can_verify(&user.hashed_password) {
        return Err("the password hash is not bcrypt or argon2 with a usual cost".into());
    }
    let given = user.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    // Users without a name get the local part of the address, which they can change.
    let local = email.as_str().split('@').next().unwrap_or_default();
    let name = given.unwrap_or(local);
    if name.chars().count() > 255 {
        return Err("the name has more than 255 characters".into());
    }
    Ok(ImportedUser {
        id: user.id,
        email: email.as_str().to_owned(),
        hashed_password: user.hashed_password.clone(),
        name: name.to_owned(),
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
