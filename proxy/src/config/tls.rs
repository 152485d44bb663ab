//! `tls`: the certificates that listeners present.

use std::path::PathBuf;

use super::{
    keys::{Absent, Key, Keys, Kind, Text},
    problem::Wrong,
    reader::{At, Reader},
};
use crate::address::TlsPair;

/// Pairs that are looked through on each handshake.
const MAX_PAIRS: usize = 64;

const WANTED: &str = "{ cert: /path/of/cert.pem, key: /path/of/key.pem } or a list of them";

const PATH: Text = Text { is: "the path of a file in PEM form", like: "/.+", bare: false };

pub(super) const PAIRS: Kind = Kind::Maps { of: &KEYS, least: 1, most: MAX_PAIRS };

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "cert",
            Absent::Refused,
            Kind::Text(&PATH),
            "the file of the certificate in PEM form, with those that lead to an authority after it",
        ),
        Key::new("key", Absent::Refused, Kind::Text(&PATH), "the file of its key in PEM form, not encrypted"),
    ],
    foreign: &[
        ("certificate", "did you mean `cert`?"),
        ("certificate_file", "did you mean `cert`?"),
        ("cert_file", "did you mean `cert`?"),
        ("crt", "did you mean `cert`?"),
        ("chain", "write the certificates of the chain into the file of `cert`, the server's own first"),
        ("fullchain", "did you mean `cert`?"),
        ("key_file", "did you mean `key`?"),
        ("private_key", "did you mean `key`?"),
        ("password", "a key that is encrypted cannot be read: decrypt it into a file that only we may read"),
        ("domain", "each certificate serves the names that are in it"),
        ("host", "each certificate serves the names that are in it"),
        ("hosts", "each certificate serves the names that are in it"),
        ("names", "each certificate serves the names that are in it"),
        ("listen", "write listen: tls://[::]:8443 beside"),
        ("port", "write listen: tls://[::]:8443 beside"),
        ("ca", "clients are not asked for certificates"),
        ("client_ca", "clients are not asked for certificates"),
        ("acme", "certificates are read from files: let certbot or the like write them"),
        ("min_version", "TLS 1.2 and 1.3 are spoken"),
        ("versions", "TLS 1.2 and 1.3 are spoken"),
        ("ciphers", "TLS 1.2 and 1.3 are spoken, with what is safe of them"),
    ],
};

/// Reads it; empty is none.
pub(super) fn tls(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<TlsPair>> {
    if at.is_null() {
        return None;
    }
    let items = at.items().unwrap_or_else(|| vec![at.clone()]);
    if items.is_empty() || items.len() > MAX_PAIRS {
        let message = if items.is_empty() { "an empty list has no certificate" } else { "too many" };
        reader.wrong(at, Wrong::new(message, format!("write 1 to {MAX_PAIRS} of {WANTED}")));
        return None;
    }
    let pairs: Vec<_> = items.iter().map(|item| pair(reader, item)).collect();
    pairs.into_iter().collect()
}

fn pair(reader: &mut Reader<'_>, at: &At<'_>) -> Option<TlsPair> {
    let entries = reader.entries(at, WANTED, &KEYS)?;
    let cert = reader.require(&entries, "cert", "add cert: /path/of/cert.pem");
    let key = reader.require(&entries, "key", "add key: /path/of/key.pem");
    let mut file = |at: Option<At<'_>>| reader.scalar(&at?, PATH.is, path);
    let (cert, key) = (file(cert), file(key));
    Some(TlsPair { cert: cert?, key: key? })
}

fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.starts_with("-----BEGIN") {
        return Err(Wrong::new("this is what belongs in the file", "write the path of a file that holds it"));
    }
    if !text.starts_with('/') || text.len() == 1 || text.contains('\0') {
        return Err(Wrong::new("not the absolute path of a file", "write /run/secrets/cert.pem or the like"));
    }
    Ok(text.into())
}
