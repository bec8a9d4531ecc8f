//! What the bus server itself says: whom it denied what, and when it was started, reloaded or ended.
//!
//! The server publishes no event for a denial, and the client that was denied is the attacker, so
//! its log is the only witness. Every entry about it carries the place of its line. A restarted audit
//! goes on behind the last place that its own log has: nothing is lost and nothing recorded twice,
//! however it ended, because place and entry are one record.

use alloc::vec::Vec;

use portcullis_domain::{Hash, PrincipalName, Timestamp};
use portcullis_wire::Text;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::input::{Alert, Effects, Fault};
use crate::ledger::Ledger;
use crate::limiter::{Limiter, Suppressed};
use crate::own::Own;

/// How far the log of the bus server is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusPlace {
    /// When the file begins, by the server's clock.
    pub began: Timestamp,
    /// SHA-256 of the file's first line, which tells it from every other, whatever it is called.
    pub file: Hash,
    /// The byte behind the last line that is recorded.
    pub end: u64,
}

impl BusPlace {
    /// The beginning of the file with this first line.
    #[must_use]
    pub fn first(began: Timestamp, line: &[u8]) -> Self {
        Self {
            began,
            file: Hash(Sha256::digest(line).into()),
            end: 0,
        }
    }

    /// Whether a line that ends here was recorded when everything up to `other` is.
    fn is_within(&self, other: &Self) -> bool {
        self.file == other.file && self.end <= other.end
    }
}

/// Whom the server denied something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BusClient {
    /// Somebody who had proven its NKey.
    Principal {
        /// Whose account the key is in, by the server's configuration.
        name: PrincipalName,
        /// The public key.
        nkey: Text,
    },
    /// Somebody who named a key and did not prove it.
    Claimed {
        /// The public key that it named.
        nkey: Text,
    },
    /// Somebody who had named no key.
    Stranger,
}

/// What was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusDenial {
    /// To publish on a subject.
    Publish,
    /// To subscribe to a subject, or to a subject with a queue.
    Subscribe,
    /// To log in.
    Login,
    /// To connect at all: no certificate, or one of another authority.
    Handshake,
    /// One connection more.
    Connections,
    /// One subscription more.
    Subscriptions,
    /// A message as large as this.
    Payload,
    /// Something that is not the protocol.
    Protocol,
    /// To be served on: it did not read what it had asked for.
    SlowConsumer,
    /// Something that this version does not know.
    Other,
}

impl BusDenial {
    /// Its name, as it stands in metrics and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Login => "login",
            Self::Handshake => "handshake",
            Self::Connections => "connections",
            Self::Subscriptions => "subscriptions",
            Self::Payload => "payload",
            Self::Protocol => "protocol",
            Self::SlowConsumer => "slow_consumer",
            Self::Other => "other",
        }
    }
}

/// What happened to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusEvent {
    /// It started.
    Started,
    /// It took a configuration while it ran.
    Reloaded,
    /// It refused a configuration and kept the one it had.
    ReloadRefused,
    /// It was asked to end.
    Stopped,
}

/// How the log of the server is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusFollowing {
    /// From here on, for the first time.
    Begins,
    /// The server began another file, and everything before it was read.
    NextFile,
    /// Lines between the last place and this one are gone: truncated, or deleted before they were read.
    Lost,
}

/// One line of the server's log, or the file itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusSaid {
    /// Somebody was denied something.
    Denied {
        /// Who.
        who: BusClient,
        /// What.
        what: BusDenial,
        /// On which subject, as the server spelled it; otherwise what the server said.
        subject: Text,
        /// The network address.
        from: Text,
        /// When, by the server's clock.
        at: Timestamp,
    },
    /// Something happened to the server.
    Server {
        /// What.
        event: BusEvent,
        /// SHA-256 of the configuration, where the server says it.
        config: Option<Hash>,
        /// When, by the server's clock.
        at: Timestamp,
    },
    /// How the log is followed.
    Following(BusFollowing),
}

/// How far the server's log is recorded, and what of it is only counted so far.
#[derive(Clone, Debug)]
pub struct Bus {
    place: Option<BusPlace>,
    limiter: Limiter,
    /// The last line that was counted and not recorded yet.
    counted: Option<BusPlace>,
    /// Denials, recorded one by one or in a count.
    pub denied: u64,
}

impl Bus {
    pub const fn new(each_second: u32, place: Option<BusPlace>, denied: u64) -> Self {
        Self {
            place,
            limiter: Limiter::new(each_second),
            counted: None,
            denied,
        }
    }

    /// How far the server's log is recorded.
    pub const fn place(&self) -> Option<BusPlace> {
        self.place
    }

    /// Takes the next line.
    pub fn take(
        &mut self,
        now: Timestamp,
        said: BusSaid,
        place: BusPlace,
        ledger: &mut Ledger,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let taken = self.counted.or(self.place);
        if taken.is_some_and(|taken| place.is_within(&taken))
            && !matches!(said, BusSaid::Following(_))
        {
            return Ok(());
        }
        let own = match said {
            BusSaid::Denied {
                who,
                what,
                subject,
                from,
                at,
            } => {
                self.denied = self.denied.saturating_add(1);
                if !self.limiter.admit(now, None) {
                    self.counted = Some(place);
                    return Ok(());
                }
                effects.alerts.push(Alert::BusDenied {
                    who: who.clone(),
                    what,
                    subject: subject.clone(),
                    from: from.clone(),
                });
                Own::BusDenied {
                    who,
                    what,
                    subject,
                    from,
                    at,
                    place,
                }
            }
            BusSaid::Server { event, config, at } => {
                effects.alerts.push(Alert::BusServer { event });
                Own::BusServer {
                    event,
                    config,
                    at,
                    place,
                }
            }
            BusSaid::Following(following) => {
                if following == BusFollowing::Lost {
                    effects.alerts.push(Alert::BusLogLost);
                }
                Own::BusLog { following, place }
            }
        };
        // In the order of the lines, so that the last place in the log covers all before it.
        if let Some(suppressed) = self.limiter.flush() {
            self.state_count(now, suppressed, ledger, effects)?;
        }
        self.place = Some(place);
        ledger.append_own(now, &own, Vec::new(), effects)
    }

    /// States what was counted for a second or longer.
    pub fn tick(
        &mut self,
        now: Timestamp,
        ledger: &mut Ledger,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        match self.limiter.overdue(now) {
            Some(suppressed) => self.state_count(now, suppressed, ledger, effects),
            None => Ok(()),
        }
    }

    fn state_count(
        &mut self,
        now: Timestamp,
        suppressed: Suppressed,
        ledger: &mut Ledger,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let Some(place) = self.counted.take() else {
            return Ok(());
        };
        self.place = Some(place);
        let Suppressed { count, since, .. } = suppressed;
        effects.alerts.push(Alert::BusSuppressed { count });
        let own = Own::BusSuppressed {
            count,
            since,
            place,
        };
        ledger.append_own(now, &own, Vec::new(), effects)
    }
}
