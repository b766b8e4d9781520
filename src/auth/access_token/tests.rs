use chrono::TimeDelta;

use super::*;
use crate::crypto;

fn tokens() -> AccessTokens {
    crypto::install_provider();
    let key = SigningKey::from_secret(&vec![7; SigningKey::MIN_SECRET_BYTES].into()).unwrap();
    let keys = SigningKeys { first: key, others: Vec::new() };
    AccessTokens::new(keys, "issuer", "audience", Duration::from_mins(15)).unwrap()
}

fn issue(tokens: &AccessTokens, user_id: Uuid) -> String {
    let issued = tokens.issue(user_id, Uuid::new_v4(), DateTime::UNIX_EPOCH, Duration::MAX);
    issued.unwrap().0.expose_secret().to_owned()
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

#[test]
fn an_accepted_token_is_cached_and_still_expires() {
    let tokens = tokens();
    let user_id = Uuid::new_v4();
    let token = issue(&tokens, user_id);
    assert_eq!(tokens.verify(token.as_bytes(), at(0)).unwrap().sub, user_id);
    assert!(tokens.verified.get(token.as_bytes()).is_some());
    assert_eq!(tokens.verify(token.as_bytes(), at(899)).unwrap().sub, user_id);
    assert_eq!(tokens.verify(token.as_bytes(), at(900)), Err(UnauthenticatedReason::Expired));
}

#[test]
fn a_cached_token_is_refused_before_nbf_if_the_clock_is_set_back() {
    let tokens = tokens();
    let id = Uuid::new_v4();
    let claims = serde_json::json!({
        "sub": id, "sid": id, "iss": "issuer", "aud": "audience", "iat": 0, "exp": 900, "nbf": 60, "jti": id,
    });
    let token = encode(&Header::default(), &claims, &tokens.signing.key.encoding).unwrap();
    assert!(tokens.verify(token.as_bytes(), at(60)).is_ok());
    assert_eq!(tokens.verify(token.as_bytes(), at(59)), Err(UnauthenticatedReason::Malformed));
}

#[test]
fn a_refused_token_is_not_cached() {
    let tokens = tokens();
    let token = issue(&tokens, Uuid::new_v4());
    let truncated = token.get(..token.len() - 1).unwrap();
    assert_eq!(tokens.verify(token.as_bytes(), at(900)), Err(UnauthenticatedReason::Expired));
    assert_eq!(tokens.verify(truncated.as_bytes(), at(0)), Err(UnauthenticatedReason::Malformed));
    assert!([token.as_str(), truncated].iter().all(|token| tokens.verified.get(token.as_bytes()).is_none()));
}

#[test]
fn parts_of_cached_tokens_do_not_make_a_valid_token() {
    let tokens = tokens();
    let [first, second] = [(); 2].map(|()| issue(&tokens, Uuid::new_v4()));
    for token in [&first, &second] {
        tokens.verify(token.as_bytes(), at(0)).unwrap();
    }
    let (claims, _) = first.rsplit_once('.').unwrap();
    let (_, signature) = second.rsplit_once('.').unwrap();
    for forged in [format!("{claims}.{signature}"), format!("{claims}."), format!("{first} ")] {
        assert_eq!(
            tokens.verify(forged.as_bytes(), at(0)),
            Err(UnauthenticatedReason::Malformed),
            "{forged}"
        );
    }
}
