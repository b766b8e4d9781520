//! The SQLSTATE of a refused login, which is the same in every language.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::tls::Tls;
use super::url::{DatabaseUrl, SslMode};

/// Logs in once more and returns the SQLSTATE of the refusal; `None` if the server accepts the login or does not answer.
pub async fn sqlstate(url: &DatabaseUrl, limit: Duration) -> Option<String> {
    let error = timeout(limit, Box::pin(refuse(url))).await.ok().flatten()?;
    error.code().map(|code| code.code().to_owned())
}

async fn refuse(url: &DatabaseUrl) -> Option<tokio_postgres::Error> {
    if url.ssl_mode() != SslMode::Disable {
        let tls = Tls::new(url).ok()?;
        let error = url.config().connect(tls.last()).await.err()?;
        if url.ssl_mode() != SslMode::Prefer || error.as_db_error().is_some() {
            return Some(error);
        }
    }
    url.config().connect(NoTls).await.err()
}
