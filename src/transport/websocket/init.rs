use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Payload of `connection_init`; clients send the token under one of these names, in it or in its `headers`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct InitPayload {
    #[serde(rename = "Authorization")]
    capital: Option<String>,
    authorization: Option<String>,
    token: Option<String>,
    auth_token: Option<String>,
    access_token: Option<String>,
    /// Names in any case, as of HTTP headers.
    headers: Option<BTreeMap<String, Value>>,
}

impl InitPayload {
    /// Returns the value of an equivalent `Authorization` header; blank if the client sends no token.
    pub(super) fn authorization(self) -> Option<String> {
        let headers = self.headers.unwrap_or_default();
        // Several names can differ in case alone.
        let header = |name: &'static str| {
            let named = headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
            named.filter_map(|(_, value)| Some(value.as_str()?.to_owned()))
        };
        let fields = [
            self.capital,
            self.authorization,
            self.token.map(with_scheme),
            self.auth_token.map(with_scheme),
            self.access_token.map(with_scheme),
        ];
        let tokens = ["token", "authToken", "accessToken"].into_iter().flat_map(header).map(with_scheme);
        let mut sent = fields.into_iter().flatten().chain(header("authorization")).chain(tokens).peekable();
        let is_any_sent = sent.peek().is_some();
        sent.find(|text| is_given(text)).or_else(|| is_any_sent.then(String::new))
    }
}

/// Adds the scheme, which some clients leave out.
fn with_scheme(token: String) -> String {
    if token.contains(' ') || !is_given(&token) { token } else { format!("Bearer {token}") }
}

fn is_given(text: &str) -> bool {
    !text.trim().is_empty()
}
