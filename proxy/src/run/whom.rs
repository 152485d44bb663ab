//! Which sidecar the commands ask: the one that is named, or else the one whose file is at hand.

use std::path::Path;

use super::{RunError, environment};
use crate::{cli::DEFAULT_CONFIG, config, wrap::probe::Address};

/// Where `admin` of the README's file is, for who has no file at hand.
const DEFAULT_ADMIN: (&str, u16) = ("127.0.0.1", 9090);

/// The listener to ask. Of a file only what it says of that is read: an edit that is refused, or a variable that only
/// the sidecar has, keeps nobody from asking.
pub(super) fn whom(named: Option<&Address>, file: Option<&Path>) -> Result<Address, RunError> {
    let usual = Path::new(DEFAULT_CONFIG);
    match (named, file) {
        (Some(address), _) => Ok(address.clone()),
        (None, None) if !usual.exists() => {
            let (host, port) = DEFAULT_ADMIN;
            Ok(Address::Tcp { host: host.to_owned(), port })
        }
        (None, file) => {
            let file = file.unwrap_or(usual);
            let admin = config::admin(file, &environment).map_err(RunError::Whom)?;
            Ok((&admin.ok_or_else(|| RunError::NoAdmin(file.to_owned()))?).into())
        }
    }
}
