use std::time::Duration;

use diesel::QueryResult;
use diesel::result::Error as DieselError;
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::effects::Change;
use super::events::SecurityEntry;
use super::password::{NewHash, PasswordMatch};
use super::sessions::NewlyOpened;
use super::throttle::{Admission, Attempt};
use super::{Auth, Client, OpenedSession};
use crate::db;
use crate::domain::{Email, Name, Password, Problem};
use crate::error::{AccountField, AppError};
use crate::metrics::LoginOutcome;
use crate::models::{NewUser, SecurityEventKind, User};

/// Time after which a failed login is answered, for each form of the password, counted from its start.
///
/// An argon2id hash takes some 20 ms, a bcrypt hash of the original system some 250. A constant time keeps that difference
/// from telling which addresses have an account, and is no hardship for a person.
const FAILURE_TIME: Duration = Duration::from_millis(500);

/// Attempts at a login whose password hash is replaced concurrently.
const LOGIN_TRIES: usize = 2;

/// Input of a registration.
pub struct Registration {
    /// Email address.
    pub email: String,
    /// Password.
    pub password: String,
    /// Name.
    pub name: String,
}

/// Input of a login.
pub struct Credentials {
    /// Email address.
    pub email: String,
    /// Password.
    pub password: String,
}

impl Auth {
    /// Creates an account and opens its first session.
    ///
    /// Reports plainly that an address is taken: hiding it would need a confirmation by email first.
    pub async fn register(&self, client: &Client, input: Registration) -> Result<OpenedSession, AppError> {
        self.admit(Attempt::register(client)).await?;
        let account = self.prepare_account(input).await?;
        let session = NewlyOpened::new(self);
        let user = self.transaction(None, async |conn| {
            let insert = async |conn: &AsyncPgConnection| account.insert(conn).await;
            let kind = SecurityEventKind::Registered;
            let (user, ended) = session.insert(self, conn, account.id, client, kind, insert).await?;
            Ok(Change::sessions(user.id, ended, user))
        });
        let user = user.await.map_err(refused_user)?;
        session.issue(self, user)
    }

    /// Creates an account without a session, for an operator.
    pub async fn create_account(&self, client: &Client, input: Registration) -> Result<User, AppError> {
        let account = self.prepare_account(input).await?;
        let user = self.transaction(None, async |conn| {
            let user = account.insert(conn).await?;
            SecurityEntry::new(SecurityEventKind::Registered, client).for_user(user.id).record(conn).await?;
            Ok(Change::sessions(user.id, Vec::new(), user))
        });
        user.await.map_err(refused_user)
    }

    /// Opens a session for the owner of an account.
    pub async fn login(&self, client: &Client, input: Credentials) -> Result<OpenedSession, AppError> {
        let started = Instant::now();
        let email = Email::parse(&input.email);
        let password = Password::parse(input.password);
        let (Ok(email), Ok(password)) = (&email, &password) else {
            return Err(invalid([
                (AccountField::Email, email.err()),
                (AccountField::Password, password.err()),
            ]));
        };
        let forms = u32::try_from(password.forms().len()).unwrap_or(1);
        let attempt = match self.count_attempt(Attempt::login(client, email)).await? {
            Admission::Admitted(attempt) => attempt,
            Admission::Refused { wait, is_notable } => {
                self.metrics.logins.get(LoginOutcome::Throttled).inc();
                if is_notable {
                    self.record_failed_login(client, SecurityEventKind::LoginThrottled, email).await?;
                }
                return Err(AppError::RateLimited { wait });
            }
        };
        // A second try if the hash was replaced meanwhile, as by a concurrent login of a user of the original system.
        for _ in 0..LOGIN_TRIES {
            match self.verify_and_open(client, email, password, &attempt).await? {
                LoginTry::Opened(session) => {
                    self.metrics.logins.get(LoginOutcome::Succeeded).inc();
                    return Ok(*session);
                }
                LoginTry::WrongPassword => break,
                LoginTry::PasswordChanged => {}
            }
        }
        self.metrics.logins.get(LoginOutcome::Failed).inc();
        self.record_failed_login(client, SecurityEventKind::LoginFailed, email).await?;
        sleep_until(started + FAILURE_TIME * forms).await;
        Err(AppError::InvalidCredentials)
    }

    async fn verify_and_open(
        &self,
        client: &Client,
        email: &Email,
        password: &Password,
        attempt: &Attempt,
    ) -> Result<LoginTry, AppError> {
        // The connection returns to the pool while the password is verified, which takes far longer than a query.
        let found = self.database.read(async |conn| User::find_for_login(conn, email).await).await?;
        let (user, hash) = found.unzip();
        let verified = self.passwords.verify(password.clone(), hash.clone()).await?;
        let (Some(user), Some(hash), false) = (user, hash, matches!(verified, PasswordMatch::Wrong)) else {
            return Ok(LoginTry::WrongPassword);
        };
        let session = NewlyOpened::new(self);
        let opened = self.transaction(Some(user.id), async |conn| {
            attempt.forgive(conn).await?;
            let lock = async |conn: &AsyncPgConnection| {
                let unchanged = match &verified {
                    PasswordMatch::Outdated(new) => {
                        User::set_password(conn, user.id, Some(&hash), new).await?
                    }
                    _ => User::lock_password(conn, user.id, &hash).await?,
                };
                if unchanged { Ok(()) } else { Err(DieselError::RollbackTransaction) }
            };
            let kind = SecurityEventKind::LoginSucceeded;
            let ((), ended) = session.insert(self, conn, user.id, client, kind, lock).await?;
            Ok(match &verified {
                PasswordMatch::Outdated(_) => Change::user(user.id, ended, ()),
                _ => Change::sessions(user.id, ended, ()),
            })
        });
        match opened.await {
            Ok(()) => Ok(LoginTry::Opened(Box::new(session.issue(self, user)?))),
            Err(db::Error::RolledBack) => Ok(LoginTry::PasswordChanged),
            Err(error) => Err(error.into()),
        }
    }

    /// Records a login that did not succeed, without its input: users type passwords into the wrong field.
    async fn record_failed_login(
        &self,
        client: &Client,
        kind: SecurityEventKind,
        email: &Email,
    ) -> Result<(), AppError> {
        let recorded = self.database.write(async |conn| {
            let user = User::find_for_login(conn, email).await?;
            let event = SecurityEntry::new(kind, client);
            let event = if let Some((user, _)) = user { event.for_user(user.id) } else { event };
            event.record(conn).await
        });
        match recorded.await {
            // The account was deleted between the two statements, with its events.
            Ok(()) | Err(db::Error::ForeignKeyViolation) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses an address that another user than `owner` holds under an alias, which the unique index can't see. Rows under
    /// an alias are older than this rule; no new ones appear.
    pub(super) async fn require_free_aliases(
        &self,
        email: &Email,
        owner: Option<Uuid>,
    ) -> Result<(), AppError> {
        if email.aliases().is_empty() {
            return Ok(());
        }
        let holder = self.database.read(async |conn| User::find_by_alias(conn, email).await).await?;
        if holder.is_some_and(|id| owner != Some(id)) { Err(AppError::EmailTaken) } else { Ok(()) }
    }

    /// Checks all fields and reports all problems at once; hashes the password only if the others have none.
    async fn prepare_account(&self, input: Registration) -> Result<ValidAccount, AppError> {
        let email = Email::parse(&input.email);
        let name = Name::parse(&input.name);
        let password = Password::parse(input.password);
        let context = vec![input.email, input.name];
        match (email, name, password) {
            (Ok(email), Ok(name), Ok(password)) => {
                self.require_free_aliases(&email, None).await?;
                match self.passwords.hash_new(password, context).await? {
                    NewHash::Hashed(hashed_password) => {
                        Ok(ValidAccount { id: Uuid::new_v4(), email, name, hashed_password })
                    }
                    NewHash::TooWeak(problem) => Err(invalid([(AccountField::Password, Some(problem))])),
                }
            }
            (email, name, password) => {
                let problem = match password {
                    Ok(password) => self.passwords.judge(password, context).await?,
                    Err(problem) => Some(problem),
                };
                Err(invalid([
                    (AccountField::Email, email.err()),
                    (AccountField::Password, problem),
                    (AccountField::Name, name.err()),
                ]))
            }
        }
    }
}

/// Outcome of one try at a login.
enum LoginTry {
    Opened(Box<OpenedSession>),
    WrongPassword,
    /// The password was right, but its hash has been replaced since.
    PasswordChanged,
}

struct ValidAccount {
    id: Uuid,
    email: Email,
    name: Name,
    hashed_password: SecretString,
}

impl ValidAccount {
    async fn insert(&self, conn: &AsyncPgConnection) -> QueryResult<User> {
        let Self { id, email, name, hashed_password } = self;
        NewUser { id: *id, email, name, hashed_password }.insert(conn).await
    }
}

/// Collects the problems of several fields into one error.
pub(super) fn invalid<const N: usize>(fields: [(AccountField, Option<Problem>); N]) -> AppError {
    let problems = fields.into_iter().filter_map(|(field, problem)| Some((field, problem?)));
    AppError::InvalidAccount(problems.collect())
}

/// Interprets the database's refusal of a user; it alone decides whether an address is taken.
pub(super) fn refused_user(error: db::Error) -> AppError {
    match error {
        // A table that was taken over may have further unique rules on the address.
        db::Error::UniqueViolation { table, .. } if table == NewUser::TABLE => AppError::EmailTaken,
        // PostgreSQL's Unicode tables may be newer than ours.
        db::Error::CheckViolation { constraint } if constraint == NewUser::EMAIL_CHECK => {
            let problem = Problem {
                code: "INVALID",
                message: "Enter an email address without unusual characters.".into(),
            };
            invalid([(AccountField::Email, Some(problem))])
        }
        error => error.into(),
    }
}
