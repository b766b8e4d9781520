use super::origins::distinct_sites;
use super::{AuthSettings, HttpSettings, SameSite};

/// Returns a warning if pages of an allowed origin may not get the cookie of browser mode.
///
/// The service does not know under which host browsers reach it, so it asks for the setting unless it is given.
pub(super) fn same_site(auth: &AuthSettings, http: &HttpSettings) -> Option<String> {
    // These two are never trusted with the cookie.
    let named = http.cors_allowed_origins.iter().filter(|origin| *origin != "*" && *origin != "null");
    let mut origins = named.peekable();
    if !auth.refresh_token_cookie.is_on()
        || auth.refresh_token_cookie_same_site == Some(SameSite::None)
        || origins.peek().is_none()
    {
        return None;
    }
    let sites = distinct_sites(origins);
    if sites.len() > 1 {
        let sites = sites.into_iter().collect::<Vec<_>>().join(", ");
        return Some(format!(
            "CORS_ALLOWED_ORIGINS are on different sites ({sites}), but browsers send the refresh token's cookie only from \
             pages of the service's own site: sessions can't be refreshed from the others. Set \
             REFRESH_TOKEN_COOKIE_SAME_SITE=none for them."
        ));
    }
    auth.refresh_token_cookie_same_site.is_none().then(|| {
        "browsers send the refresh token's cookie only from pages of the service's own site: sessions can't be refreshed from \
         CORS_ALLOWED_ORIGINS on another site. Set REFRESH_TOKEN_COOKIE_SAME_SITE=none if they are, or \
         REFRESH_TOKEN_COOKIE_SAME_SITE=lax if they are not."
            .into()
    })
}
