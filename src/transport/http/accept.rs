use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// Media types of responses
/// (<https://graphql.github.io/graphql-over-http/draft/#sec-Media-Types>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status tells success from failure.
    GraphqlResponse,
    /// `application/json`: the status is 200 for every GraphQL response.
    Json,
}

impl MediaType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }

    /// Selects the type to respond with; `None` if `Accept` allows neither. JSON is the default, as older clients expect it.
    pub(super) fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut quality = [None::<(Specificity, f32)>; 2];
        let mut ranges =
            headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut has_ranges = false;
        for range in ranges.by_ref().filter_map(|range| std::str::from_utf8(range).ok()) {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default().to_ascii_lowercase();
            if range.is_empty() {
                continue;
            }
            has_ranges = true;
            let mut q = 1.0;
            let mut charset = true;
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => q = value.trim().parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0),
                    "charset" => charset = is_utf8(value),
                    _ => {}
                }
            }
            for (best, name) in
                quality.iter_mut().zip(["application/graphql-response+json", "application/json"])
            {
                let specificity = match range.as_str() {
                    "*/*" => Specificity::Anything,
                    "application/*" => Specificity::Application,
                    range if range == name && charset => Specificity::Exact,
                    _ => continue,
                };
                if best.is_none_or(|(known, _)| specificity > known) {
                    *best = Some((specificity, q));
                }
            }
        }
        if !has_ranges {
            return Some(Self::Json);
        }
        let [response, json] = quality.map(|range| range.filter(|(_, q)| *q > 0.0));
        match (response, json) {
            (None, None) => None,
            (Some((how, q)), json)
                if json.is_none_or(|(_, other)| q > other || (q >= other && how == Specificity::Exact)) =>
            {
                Some(Self::GraphqlResponse)
            }
            _ => Some(Self::Json),
        }
    }
}

/// Returns true if the value of a `charset` parameter means UTF-8. Clients also write the label `utf8`, which the WHATWG's
/// Encoding Standard knows, but IANA's registry does not.
pub(super) fn is_utf8(charset: &str) -> bool {
    let name = charset.trim().trim_matches('"');
    ["utf-8", "utf8"].iter().any(|label| name.eq_ignore_ascii_case(label))
}

/// Specificity of a media range; the most specific one decides (RFC 9110, section 12.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Specificity {
    Anything,
    Application,
    Exact,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wanted_type_is_given() {
        use MediaType::{GraphqlResponse, Json};

        for (accept, expected) in [
            ("application/json", Some(Json)),
            ("application/graphql-response+json", Some(GraphqlResponse)),
            ("application/graphql-response+json, application/json;q=0.9", Some(GraphqlResponse)),
            ("application/graphql-response+json, application/json", Some(GraphqlResponse)),
            ("application/json, application/graphql-response+json;q=0.9", Some(Json)),
            ("application/graphql-response+json;q=0.5, */*", Some(Json)),
            ("application/json;q=0, */*", Some(GraphqlResponse)),
            ("Application/JSON; charset=UTF-8", Some(Json)),
            ("application/json; charset=utf-16", None),
            ("application/json; charset=\"utf8\"", Some(Json)),
            ("application/json; charset=utf-8-sig", None),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("text/html, */*;q=0.1", Some(Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("", Some(Json)),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(MediaType::negotiate(&headers), expected, "{accept}");
        }
        assert_eq!(MediaType::negotiate(&HeaderMap::new()), Some(Json));
    }
}
