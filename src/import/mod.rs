//! Takes over the users of the original system: all of them or none, and as often as one likes.

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

/// A user as the original system has it.
#[derive(Clone, Debug)]
pub struct SourceUser {
    /// Identifier.
    pub id: Uuid,
    /// Email address, as it was stored there.
    pub email: String,
    /// bcrypt hash of the password.
    pub hashed_password: String,
    /// Name, which was optional there.
    pub name: Option<String>,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Users who were not there before.
    pub imported: usize,
    /// Users who were there already, from an earlier import; they stay as they are.
    pub already_there: usize,
}

/// The most problems that are listed; there may be millions of rows.
const MAX_PROBLEMS: usize = 100;
/// Rows of one statement.
const CHUNK: usize = 1000;

/// Imports users in one transaction. If anything is wrong with any of them, the error lists it and nothing is done.
pub async fn import(conn: &mut AsyncPgConnection, users: &[SourceUser]) -> anyhow::Result<Report> {
    let users = check(users)?;
    conn.transaction(async |conn| {
        let mut report = Report { imported: 0, already_there: 0 };
        for chunk in users.chunks(CHUNK) {
            let there = ImportedUser::find_present(conn, chunk).await?;
            let new: Vec<_> = chunk.iter().filter(|user| !there.contains(&user.id)).cloned().collect();
            let taken = ImportedUser::find_taken(conn, &new).await?;
            if !taken.is_empty() {
                let describe =
                    |(email, id): &(String, Uuid)| format!("{email}: is the address of user {id} already");
                bail!(list(taken.iter().map(describe).collect()));
            }
            ImportedUser::insert(conn, &new).await.context("nothing was imported")?;
            report.imported += new.len();
            report.already_there += there.len();
        }
        Ok(report)
    })
    .await
}

/// Makes rows of ours of the original's, or says what is wrong with them.
pub(crate) fn check(users: &[SourceUser]) -> anyhow::Result<Vec<ImportedUser>> {
    let (mut rows, mut problems) = (Vec::with_capacity(users.len()), Vec::new());
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
        return Err("the password hash is none of bcrypt or argon2 with usual costs".into());
    }
    let given = user.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    // Who has no name is called by the part before the @, and can change that.
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
    format!("nothing was done, as there are {count} problem(s):\n{}{more}", problems.join("\n"))
}
