//! The bearer token (RFC 6750).

use std::{env, fmt, io, path::Path};

use blake3::Hash;
use http::HeaderValue;
use thiserror::Error;

use super::TOKEN_VARIABLE;

/// A token that can be guessed is none.
const SHORTEST: usize = 16;

/// The secret that opens the admin listener. Only its hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Hash);

/// Why a token cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It is shorter than 16 bytes, or holds something that no header field can.
    #[error("the admin token must have at least {SHORTEST} characters, all visible ASCII")]
    Unfit,
    /// Its file cannot be read.
    #[error("cannot read the admin token from {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Token {
    /// Takes a token; blanks and line ends around it do not count.
    ///
    /// # Errors
    /// It is too short or cannot be sent in a header field.
    pub fn new(secret: &str) -> Result<Self, TokenError> {
        Ok(Self(blake3::hash(trimmed(secret)?.as_bytes())))
    }

    /// Takes the token from a file, as secrets are mounted.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it will not do.
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        Self::new(&read(path)?)
    }

    /// Whether `presented` is the token. Hashes are compared, in constant time: how long it takes
    /// tells nothing of where the two differ.
    pub(super) fn matches(&self, presented: &[u8]) -> bool {
        self.0 == blake3::hash(presented)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The secret in this file, or else the one in the environment, if there is one.
pub(crate) fn secret(file: Option<&Path>) -> Result<Option<String>, TokenError> {
    match (file, env::var_os(TOKEN_VARIABLE)) {
        (Some(file), _) => read(file).map(Some),
        // One that is no text must not open the listener to everybody.
        (None, Some(secret)) if !secret.is_empty() => Ok(Some(secret.to_string_lossy().into_owned())),
        (None, _) => Ok(None),
    }
}

/// The value of `Authorization` that presents a secret.
pub(super) fn credentials(secret: &str) -> Result<HeaderValue, TokenError> {
    let text = format!("Bearer {}", trimmed(secret)?);
    let mut value = HeaderValue::try_from(text).map_err(|_| TokenError::Unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path) -> Result<String, TokenError> {
    std::fs::read_to_string(path)
        .map_err(|source| TokenError::File { path: path.display().to_string(), source })
}

/// Without blanks and line ends around it.
fn trimmed(secret: &str) -> Result<&str, TokenError> {
    let secret = secret.trim();
    let fits = secret.len() >= SHORTEST && secret.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(secret) } else { Err(TokenError::Unfit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_matches() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.matches(b"0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef "] {
            assert!(!token.matches(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn one_byte_off_is_as_wrong_as_any_other() {
        let secret: Vec<u8> = (0..60).map(|n| b'A' + n).collect();
        let token = Token::new(std::str::from_utf8(&secret).unwrap()).unwrap();
        let others = (0..secret.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte)));
        let others = others.filter(|(at, byte)| secret[*at] != *byte);
        let mut tried = 0;
        for (at, byte) in others {
            let mut wrong = secret.clone();
            wrong[at] = byte;
            assert!(!token.matches(&wrong), "{at}: {byte}");
            tried += 1;
        }
        assert!(tried > 10_000 && token.matches(&secret));
    }

    #[test]
    fn a_token_that_protects_nothing_is_refused() {
        for unfit in ["", " ", "short", "0123456789 abcdef", "0123456789abcdéf"] {
            assert!(Token::new(unfit).is_err(), "{unfit:?}");
        }
    }

    #[test]
    fn is_read_from_a_file_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let token = Token::from_file(file.path()).unwrap();
        assert_eq!(token, Token::new("0123456789abcdef").unwrap());
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert!(Token::from_file(Path::new("/no/such/file")).is_err());
    }
}
