//! Files with keys, and what is usually wrong with them.

use anyhow::{bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pem::Pem;

const TO_PEM: &str = "convert it: openssl pkey -inform DER -in key.der -out key.pem";
/// Ends the error about a file that holds something else.
pub(super) const EXPECTED: &str = "expected a private key for Ed25519 or P-256 in PKCS#8 as PEM, as written by: todo-api keys \
    generate, openssl genpkey -algorithm ed25519";

/// Object identifiers of keys that can't be used, as in their DER.
const OTHER_KINDS: [(&[u8], &str); 7] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01], "an RSA key"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "a key for P-384"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "a key for P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "a key for secp256k1"),
    (&[0x2b, 0x65, 0x71], "a key for Ed448"),
    (&[0x2b, 0x65, 0x6e], "a key for X25519"),
    (&[0x2b, 0x65, 0x6f], "a key for X448"),
];

/// The content of a key file.
pub(super) enum KeyFile<'a> {
    /// A private key in PEM.
    Pem(&'a [u8]),
    /// A secret for HS256.
    Secret(&'a [u8]),
}

/// Tells a private key from a secret; refuses what is neither, although its bytes would do for a secret.
pub(super) fn classify(content: &[u8]) -> anyhow::Result<KeyFile<'_>> {
    let text = content.trim_ascii();
    ensure!(!text.is_empty(), "is empty");
    if is_pem(text) {
        check_pem(text)?;
        return Ok(KeyFile::Pem(text));
    }
    ensure!(!is_der(content), "holds DER, the binary form; {TO_PEM}");
    let decoded = STANDARD.decode(text.split(u8::is_ascii_whitespace).collect::<Vec<_>>().concat());
    let is_bare = decoded.is_ok_and(|bytes| is_der(&bytes));
    ensure!(!is_bare, "holds Base64 without the lines BEGIN and END; {EXPECTED}");
    ensure!(!(text.starts_with(b"{") && contains(text, b"\"kty\"")), "holds a JWK; {EXPECTED}");
    let is_public = [&b"ssh-"[..], b"ecdsa-sha2-"].iter().any(|start| text.starts_with(start));
    ensure!(!is_public, "holds a public key of SSH; {EXPECTED}");
    Ok(KeyFile::Secret(text))
}

/// True if a text has PEM in it, perhaps below other lines.
pub(super) fn is_pem(text: &[u8]) -> bool {
    contains(text, b"-----BEGIN")
}

/// Names what a file holds instead of one private key.
fn check_pem(text: &[u8]) -> anyhow::Result<()> {
    let Ok(mut blocks) = pem::parse_many(text) else { bail!("holds damaged PEM; {EXPECTED}") };
    // `openssl ecparam -genkey` writes these first.
    blocks.retain(|block| block.tag() != "EC PARAMETERS");
    let block = match blocks.as_slice() {
        [] => bail!("holds damaged PEM; {EXPECTED}"),
        [block] => block,
        blocks => {
            let tags: Vec<_> = blocks.iter().map(Pem::tag).collect();
            bail!(
                "holds {} keys or certificates ({}); a file holds one private key, and JWT_KEY_FILES names several files",
                blocks.len(),
                tags.join(", ")
            )
        }
    };
    let is_encrypted = block.headers().get("Proc-Type").is_some_and(|value| value.contains("ENCRYPTED"));
    match block.tag() {
        tag if tag.starts_with("ENCRYPTED") || is_encrypted => {
            bail!("holds an encrypted key; decrypt it: openssl pkey -in key.pem -out plain.pem")
        }
        "EC PRIVATE KEY" => {
            bail!("holds a key that is not PKCS#8; convert it: openssl pkey -in key.pem -out new.pem")
        }
        "PRIVATE KEY" => {}
        tag if tag.ends_with("PUBLIC KEY") => bail!("holds a public key; {EXPECTED}"),
        tag if tag.contains("CERTIFICATE") => bail!("holds a certificate; {EXPECTED}"),
        "RSA PRIVATE KEY" => bail!("holds an RSA key; {EXPECTED}"),
        tag => bail!("holds {tag}; {EXPECTED}"),
    }
    // The algorithm stands at the beginning, before the key itself.
    let algorithm = block.contents().get(..40).unwrap_or_default();
    match OTHER_KINDS.iter().find(|(identifier, _)| contains(algorithm, identifier)) {
        Some((_, kind)) => bail!("holds {kind}; {EXPECTED}"),
        None => Ok(()),
    }
}

/// True for a DER sequence that fills the bytes and begins with an integer or a sequence, as keys and certificates do.
fn is_der(bytes: &[u8]) -> bool {
    let (length, rest) = match bytes {
        [0x30, 0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x30, 0x81, length, rest @ ..] | [0x30, length @ ..=0x7f, rest @ ..] => (usize::from(*length), rest),
        _ => return false,
    };
    rest.len() == length && matches!(rest, [0x02 | 0x30, ..])
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
