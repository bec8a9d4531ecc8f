//! Makes the identities of a whole deployment for development: every key beside what it opens. The
//! key store, [`super::store`], does the work and says what lies where.

use std::path::Path;

use super::store::{Facts, Options, Store};
use crate::nats_config::{Credentials, Roster};
use crate::{Clock, config};

pub use super::store::{Made, StoreError as MakeError};

/// What the server may be called when its deployment says nothing else.
pub const SERVER_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1", "nats"];

/// Makes every identity of a roster, for a server called any of [`SERVER_NAMES`].
///
/// # Errors
/// [`MakeError`]; an existing folder is never written to.
pub fn make(folder: &Path, roster: &Roster) -> Result<Made, MakeError> {
    make_for(folder, roster, SERVER_NAMES)
}

/// As [`make`], for a server that is called any of `server_names` (DNS names or IP addresses).
///
/// # Errors
/// [`MakeError`].
pub fn make_for(folder: &Path, roster: &Roster, server_names: &[&str]) -> Result<Made, MakeError> {
    Store::init(folder, roster, server_names, &Options::default())
}

/// What admits each principal at present, for the server's configuration: two identities while one
/// is exchanged for the other, none of one that was revoked.
///
/// # Errors
/// [`config::ConfigError`] when there is no such set of identities.
pub fn public_nkeys(folder: &Path) -> Result<Credentials, config::ConfigError> {
    Ok(Facts::read(folder)?.credentials(Clock::system().now()))
}
