use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The media types of GraphQL answers
/// (<https://graphql.github.io/graphql-over-http/draft/#sec-Media-Types>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status says how it went.
    GraphqlResponse,
    /// `application/json`: the status is 200 for whatever is a GraphQL answer.
    Json,
}

impl MediaType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }

    /// The type to answer with, if one is wanted that there is. Without a wish, and where the wish names neither
    /// of the two, it is JSON: what clients expect that know nothing of the newer one.
    pub(super) fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut quality = [None::<(Specificity, f32)>; 2];
        let mut wishes =
            headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut any = false;
        for wish in wishes.by_ref().filter_map(|wish| std::str::from_utf8(wish).ok()) {
            let mut parts = wish.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default().to_ascii_lowercase();
            if range.is_empty() {
                continue;
            }
            any = true;
            let (mut q, mut charset) = (1.0, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => q = value.trim().parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0),
                    "charset" => charset = value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"),
                    _ => {}
                }
            }
            for (place, name) in
                quality.iter_mut().zip(["application/graphql-response+json", "application/json"])
            {
                let specificity = match range.as_str() {
                    "*/*" => Specificity::Anything,
                    "application/*" => Specificity::Application,
                    range if range == name && charset => Specificity::Exact,
                    _ => continue,
                };
                if place.is_none_or(|(known, _)| specificity > known) {
                    *place = Some((specificity, q));
                }
            }
        }
        if !any {
            return Some(Self::Json);
        }
        let [response, json] = quality.map(|wish| wish.filter(|(_, q)| *q > 0.0));
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

/// How exactly a wish names a type; the most exact one counts (RFC 9110, section 12.5.1).
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
