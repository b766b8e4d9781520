use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

use super::format::StreamFormat;

/// Names of the media types of JSON responses.
const JSON_TYPES: [&str; 2] = ["application/graphql-response+json", "application/json"];

/// Media types of JSON responses
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

    /// Selects the type with the higher quality.
    fn choose([response, json]: [Option<(Specificity, f32)>; 2]) -> Option<Self> {
        let [response, json] = [response, json].map(|range| range.filter(|(_, q)| *q > 0.0));
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

/// Media types that a client accepts; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    json: Option<MediaType>,
    /// Format of a subscription, if `Accept` names one: `*/*` does not ask for a stream.
    pub(super) stream: Option<StreamFormat>,
}

impl Accepted {
    /// JSON alone: the default, as older clients expect it.
    pub(super) const JSON: Self = Self { json: Some(MediaType::Json), stream: None };

    /// Returns the type of JSON responses. Errors are sent as JSON even to clients that accept streams alone.
    pub(super) fn json(self) -> MediaType {
        self.json.unwrap_or(MediaType::Json)
    }

    /// Returns true if queries and mutations, too, are answered by an event stream.
    pub(super) fn is_event_stream_only(self) -> bool {
        self.json.is_none() && self.stream == Some(StreamFormat::EventStream)
    }

    /// Selects the types to respond with; `None` if `Accept` allows none.
    pub(super) fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut json = [None; 2];
        let mut stream = None::<(StreamFormat, f32)>;
        let mut has_ranges = false;
        for range in parse_ranges(headers) {
            has_ranges = true;
            // Of equal quality, the first one wins.
            if let Some(format) = range.stream_format()
                && range.quality > stream.map_or(0.0, |(_, best)| best)
            {
                stream = Some((format, range.quality));
            }
            for (best, name) in json.iter_mut().zip(JSON_TYPES) {
                range.match_type(name, best);
            }
        }
        if !has_ranges {
            return Some(Self::JSON);
        }
        let accepted = Self { json: MediaType::choose(json), stream: stream.map(|(format, _)| format) };
        (accepted.json.is_some() || accepted.stream.is_some()).then_some(accepted)
    }
}

/// Returns true if a client prefers HTML to JSON, as a browser does that opens an address.
pub(crate) fn prefers_html(headers: &HeaderMap) -> bool {
    let quality = |name| {
        let mut best = None;
        parse_ranges(headers).for_each(|range| range.match_type(name, &mut best));
        best.map_or(0.0, |(_, quality)| quality)
    };
    quality("text/html") > JSON_TYPES.map(quality).into_iter().fold(0.0, f32::max)
}

/// A range of `Accept` (RFC 9110, section 12.5.1).
struct MediaRange {
    /// Media type or wildcard in lower case, without parameters.
    name: String,
    quality: f32,
    /// True unless it asks for another charset than UTF-8.
    is_utf8: bool,
    /// True with the parameter `subscriptionSpec=1.0`.
    is_subscription: bool,
}

/// Parses the ranges of all `Accept` headers.
fn parse_ranges(headers: &HeaderMap) -> impl Iterator<Item = MediaRange> {
    let lines = headers.get_all(ACCEPT).iter().map(HeaderValue::as_bytes);
    // Split before decoding: bytes beyond ASCII spoil their own range alone.
    let ranges = lines.flat_map(|line| {
        let mut is_comma = unquoted(',');
        line.split(move |byte| is_comma(char::from(*byte)))
    });
    ranges.filter_map(|range| MediaRange::parse(std::str::from_utf8(range).ok()?))
}

impl MediaRange {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(unquoted(';')).map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        let mut range = Self { name, quality: 1.0, is_utf8: true, is_subscription: false };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = value.trim().parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0),
                "charset" => range.is_utf8 = is_utf8(value),
                "subscriptionspec" => range.is_subscription = value.trim().trim_matches('"') == "1.0",
                _ => {}
            }
        }
        Some(range)
    }

    /// Replaces the best range for a media type if this one is more specific.
    fn match_type(&self, name: &str, best: &mut Option<(Specificity, f32)>) {
        let is_prefix = |prefix: &str| prefix.ends_with('/') && name.starts_with(prefix);
        let specificity = match self.name.strip_suffix('*') {
            None if self.name == name && self.is_utf8 => Specificity::Exact,
            Some("*/") => Specificity::Anything,
            Some(prefix) if is_prefix(prefix) => Specificity::Subtypes,
            _ => return,
        };
        if best.is_none_or(|(known, _)| specificity > known) {
            *best = Some((specificity, self.quality));
        }
    }

    fn stream_format(&self) -> Option<StreamFormat> {
        match self.name.as_str() {
            "text/event-stream" if self.is_utf8 => Some(StreamFormat::EventStream),
            "multipart/mixed" if self.is_subscription => Some(StreamFormat::Multipart),
            _ => None,
        }
    }
}

/// Returns a predicate that finds a separator outside of quoted strings (RFC 9110, section 5.6.4) in the characters of a header,
/// called with each in order.
pub(super) fn unquoted(separator: char) -> impl FnMut(char) -> bool {
    let mut is_quoted = false;
    let mut is_escaped = false;
    move |c| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => return c == separator && !is_quoted,
        }
        false
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
    Subtypes,
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
            ("application/json; profile=\"a, text/html;q=0.1\"", Some(Json)),
            ("application/json; profile=\"a;charset=utf-16;q=0\"; charset=utf-8", Some(Json)),
            ("text/html; title=\"application/json\"", None),
            ("text/html; title=\"a\\\",application/json;b=\"", None),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("text/html, */*;q=0.1", Some(Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("", Some(Json)),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            let accepted = Accepted::negotiate(&headers);
            assert_eq!(accepted.and_then(|accepted| accepted.json), expected, "{accept}");
            assert_eq!(accepted.and_then(|accepted| accepted.stream), None, "{accept}");
        }
        assert_eq!(Accepted::negotiate(&HeaderMap::new()), Some(Accepted::JSON));
    }

    #[test]
    fn streams_are_sent_to_clients_that_name_them() {
        use MediaType::{GraphqlResponse, Json};
        use StreamFormat::{EventStream, Multipart};

        for (accept, stream, json) in [
            // Apollo Client, Apollo Kotlin and iOS, the router's documentation.
            (
                "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9",
                Some(Multipart),
                Some(GraphqlResponse),
            ),
            (
                "multipart/mixed;subscriptionSpec=1.0, application/graphql-response+json, application/json",
                Some(Multipart),
                Some(GraphqlResponse),
            ),
            (
                "multipart/mixed; boundary=\"graphql\"; subscriptionSpec=1.0, application/json",
                Some(Multipart),
                Some(Json),
            ),
            ("multipart/mixed;subscriptionSpec=\"1.0\", application/json", Some(Multipart), Some(Json)),
            ("multipart/mixed;boundary=\"a,b\";subscriptionSpec=1.0", Some(Multipart), None),
            (
                "multipart/mixed;boundary=\"a;b\\\"\";subscriptionSpec=1.0, application/json",
                Some(Multipart),
                Some(Json),
            ),
            (
                "application/json, Multipart/Mixed; SubscriptionSpec = 1.0 ;boundary=x",
                Some(Multipart),
                Some(Json),
            ),
            ("multipart/mixed;subscriptionSpec=1.0", Some(Multipart), None),
            // graphql-sse and EventSource, urql.
            ("text/event-stream", Some(EventStream), None),
            ("text/event-stream, multipart/mixed", Some(EventStream), None),
            ("application/json, text/event-stream, multipart/mixed", Some(EventStream), Some(Json)),
            ("Text/Event-Stream; charset=utf-8", Some(EventStream), None),
            // The highest quality, then the first.
            ("text/event-stream, multipart/mixed;subscriptionSpec=1.0", Some(EventStream), None),
            ("multipart/mixed;subscriptionSpec=1.0, text/event-stream", Some(Multipart), None),
            ("multipart/mixed;subscriptionSpec=1.0;q=0.5, text/event-stream;q=0.6", Some(EventStream), None),
            ("multipart/mixed;q=0;subscriptionSpec=1.0, */*", None, Some(Json)),
            ("text/event-stream;q=0, application/json", None, Some(Json)),
            // Other protocols of multipart responses, and no protocol.
            ("multipart/mixed;deferSpec=20220824, application/json", None, Some(Json)),
            ("multipart/mixed;subscriptionSpec=2.0, application/json", None, Some(Json)),
            ("multipart/mixed, application/json", None, Some(Json)),
            ("*/*", None, Some(Json)),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Accepted::negotiate(&headers), Some(Accepted { json, stream }), "{accept}");
        }
        for accept in ["multipart/mixed", "multipart/*", "text/*", "text/event-stream;q=0", "text/html"] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Accepted::negotiate(&headers), None, "{accept}");
        }
    }

    #[test]
    fn browsers_prefer_html_and_programs_do_not() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("TEXT/HTML;Q=0.9, application/json;q=0.5", true),
            ("text/*", true),
            ("*/*", false),
            ("", false),
            ("application/json", false),
            ("application/json, text/html", false),
            ("text/html;q=0.5, application/graphql-response+json", false),
            ("application/json, text/plain, */*", false),
            ("text/html;q=0, */*", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(prefers_html(&headers), expected, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }
}
