//! By what bytes in Redis prove that they are as one of ours wrote them.
//!
//! A checksum proves that nothing was damaged by accident. Who may write to Redis can make one as well as we
//! can; a code that is made with a secret key (HMAC with SHA-256, RFC 2104), only who has the key.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{HMAC_SHA256, Key, sign},
};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use super::Corrupt;

/// What is written beside the bytes it stands for. A code is cut to half its length (RFC 2104 §5).
pub(super) type Proof = [u8; SIZE];
/// Bytes of it.
pub(super) const SIZE: usize = 16;

/// What an entry begins with: whether it has a checksum or a code, and the version.
const SUMMED: [u8; MAGIC] = *b"SCE\x06";
const CODED: [u8; MAGIC] = *b"SCH\x06";
/// What the entries of all versions begin with.
const FAMILY: [u8; 2] = *b"SC";
/// Bytes by which an entry is known as one.
pub(super) const MAGIC: usize = 4;

/// Bytes that a key must have: as many as the hash gives (RFC 2104 §3).
const SHORTEST: usize = 32;
/// Keys that a file may hold: one that is used, and others that were or will be.
const MOST: usize = 16;

/// How bytes are proven. By default with a checksum.
#[derive(Clone, Default)]
pub struct Seal(Option<Arc<Keys>>);

struct Keys {
    /// With which codes are made.
    first: Key,
    /// With which they were made too, or will be.
    others: Vec<Key>,
}

/// Why there are no keys in a text. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Blank lines are no keys.
    #[error("holds no key")]
    Empty,
    /// Easily guessed.
    #[error("line {0}: a key has {SHORTEST} bytes or more")]
    Short(usize),
    /// Every entry that is none of ours would be tried with all.
    #[error("holds more than {MOST} keys")]
    Many,
}

impl Seal {
    /// With a key in each line of this text: codes are made with the first, and those that were made with any
    /// are believed.
    ///
    /// # Errors
    /// [`SealError`], if a line is too short to be a key, or there are none or too many.
    pub fn with_keys(text: &[u8]) -> Result<Self, SealError> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        let mut keys = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            if line.len() < SHORTEST {
                return Err(SealError::Short(number + 1));
            }
            keys.push(Key::new(HMAC_SHA256, line));
        }
        if keys.len() > MOST {
            return Err(SealError::Many);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(SealError::Empty)?;
        Ok(Self(Some(Arc::new(Keys { first, others: keys.collect() }))))
    }

    /// What an entry that is proven so begins with.
    pub(super) fn magic(&self) -> [u8; MAGIC] {
        if self.0.is_some() { CODED } else { SUMMED }
    }

    pub(super) fn prove(&self, bytes: &[u8]) -> Proof {
        match &self.0 {
            None => xxh3_128(bytes).to_le_bytes(),
            Some(keys) => code(&keys.first, bytes),
        }
    }

    pub(super) fn proves(&self, bytes: &[u8], proof: &Proof) -> bool {
        match &self.0 {
            None => xxh3_128(bytes).to_le_bytes() == *proof,
            Some(keys) => keys.all().any(|key| verify_slices_are_equal(&code(key, bytes), proof).is_ok()),
        }
    }

    /// What is wrong with an entry that is not proven.
    pub(super) fn denied(&self) -> Corrupt {
        if self.0.is_some() { Corrupt::Foreign } else { Corrupt::Proof }
    }
}

/// What is wrong with what does not begin as ours do.
pub(super) fn stranger(bytes: &[u8]) -> Corrupt {
    if bytes.starts_with(&FAMILY) { Corrupt::Foreign } else { Corrupt::Magic }
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

fn code(key: &Key, bytes: &[u8]) -> Proof {
    let whole = sign(key, bytes);
    whole.as_ref().first_chunk().copied().unwrap_or_default()
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.as_ref().map(|keys| keys.all().count());
        f.debug_struct("Seal").field("keys", &keys).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"0123456789abcdef0123456789abcdef";
    const OTHER: &[u8] = b"fedcba9876543210fedcba9876543210";

    fn seal(lines: &[&[u8]]) -> Seal {
        Seal::with_keys(&lines.join(&b"\r\n"[..])).unwrap()
    }

    #[test]
    fn a_code_is_that_of_rfc_4231() {
        // Test case 4 of its section 4.5 has a key of 25 bytes, test case 6 (4.7) one of 131: this one.
        let key = [0xaa; 131];
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let code = Seal::with_keys(&key).unwrap().prove(text);
        assert_eq!(
            code,
            [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26, 0xaa, 0xcb, 0xf5, 0xb7, 0x7f]
        );
    }

    #[test]
    fn the_first_key_makes_what_any_proves() {
        let (old, both, new) = (seal(&[ONE]), seal(&[OTHER, ONE]), seal(&[OTHER]));
        let (by_old, by_both) = (old.prove(b"bytes"), both.prove(b"bytes"));
        assert!(both.proves(b"bytes", &by_old) && both.proves(b"bytes", &by_both));
        assert!(new.proves(b"bytes", &by_both) && !new.proves(b"bytes", &by_old));
        assert!(!old.proves(b"byte", &by_old) && !Seal::default().proves(b"bytes", &by_old));
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        let error = |text: &[u8]| Seal::with_keys(text).unwrap_err();
        assert_eq!(error(b"\n  \r\n"), SealError::Empty);
        assert_eq!(error(&[ONE, b"canary"].join(&b"\n"[..])), SealError::Short(2));
        assert_eq!(error(&[ONE; 17].join(&b"\n"[..])), SealError::Many);
        assert_eq!(
            format!("{:?} {:?}", seal(&[ONE, OTHER]), Seal::default()),
            "Seal { keys: Some(2) } Seal { keys: None }"
        );
    }
}
