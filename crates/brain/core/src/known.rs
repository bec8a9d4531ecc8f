//! What the brain knows of the others, and whether it still counts.

use alloc::collections::BTreeMap;

use portcullis_domain::{Book, Hash, KillState, Price, Reason, Side, Span, Symbol, Timestamp};
use portcullis_wire::Verified;
use portcullis_wire::messages::{ExecutionStatus, Heartbeat};
use portcullis_wire::subjects::ORDER_LIFETIME;

/// The prices that sizing needs of a book.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    pub mid: Price,
    pub best_bid: Price,
    known_at: Timestamp,
    issued_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    kill: KillState,
    policy: Hash,
    known_at: Timestamp,
    issued_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    kill: KillState,
    policy: Hash,
    known_at: Timestamp,
    issued_at: Timestamp,
}

/// The last of everything. The age of a message counts from when it was sealed, or from its arrival
/// if its sender's clock is ahead.
#[derive(Debug, Default)]
pub struct Known {
    quotes: BTreeMap<Symbol, Quote>,
    beat: Option<Beat>,
    account: Option<Account>,
}

impl Known {
    /// Takes a book of an instrument that the policy lists.
    pub fn book(&mut self, now: Timestamp, book: &Verified<Book>) {
        let symbol = book.message().symbol();
        let issued_at = book.header().issued_at;
        if self
            .quotes
            .get(&symbol)
            .is_some_and(|quote| issued_at < quote.issued_at)
        {
            return;
        }
        let known_at = issued_at.min(now);
        match (book.message().mid(), book.message().best_for(Side::Sell)) {
            (Some(mid), Some(best_bid)) => {
                self.quotes.insert(
                    symbol,
                    Quote {
                        mid,
                        best_bid,
                        known_at,
                        issued_at,
                    },
                );
            }
            // A book without prices is news too: the old one no longer holds.
            (None, _) | (_, None) => {
                self.quotes.remove(&symbol);
            }
        }
    }

    /// Takes a heartbeat, unless it was overtaken on the way: whether it was taken.
    pub fn heartbeat(&mut self, now: Timestamp, beat: &Verified<Heartbeat>) -> bool {
        let issued_at = beat.header().issued_at;
        if self.beat.is_some_and(|last| issued_at < last.issued_at) {
            return false;
        }
        let Heartbeat {
            kill,
            policy,
            posture: _,
        } = *beat.message();
        self.beat = Some(Beat {
            kill,
            policy,
            known_at: issued_at.min(now),
            issued_at,
        });
        true
    }

    /// Takes an account whose exposures were taken over already.
    pub fn account(&mut self, now: Timestamp, status: &Verified<ExecutionStatus>) {
        let issued_at = status.header().issued_at;
        let ExecutionStatus { kill, policy, .. } = *status.message();
        self.account = Some(Account {
            kill,
            policy,
            known_at: issued_at.min(now),
            issued_at,
        });
    }

    /// Whether the guard is there and would let anything pass.
    pub fn check_guard(&self, now: Timestamp, policy: Hash) -> Result<(), Reason> {
        let beat = self
            .beat
            .filter(|beat| now.since(beat.known_at) <= Heartbeat::AGE_MAX);
        let beat = beat.ok_or(Reason::GuardSilent)?;
        if !beat.kill.may_trade() {
            return Err(Reason::KillSwitch);
        }
        if beat.policy == policy {
            Ok(())
        } else {
            Err(Reason::PolicyMismatch)
        }
    }

    /// Whether positions are known, and include all that an earlier run of this brain passed on.
    pub fn check_account(
        &self,
        now: Timestamp,
        policy: Hash,
        started_at: Timestamp,
    ) -> Result<(), Reason> {
        let account = self
            .account
            .filter(|last| now.since(last.known_at) <= ExecutionStatus::AGE_MAX);
        let account = account.ok_or(Reason::PositionUnknown)?;
        if !account.kill.may_trade() {
            return Err(Reason::KillSwitch);
        }
        if account.policy != policy {
            return Err(Reason::PolicyMismatch);
        }
        let includes_all = account.issued_at >= started_at.plus(ORDER_LIFETIME);
        if includes_all {
            Ok(())
        } else {
            Err(Reason::WarmingUp)
        }
    }

    /// The prices of an instrument, if they are young enough.
    pub fn quote(&self, now: Timestamp, symbol: Symbol, age_max: Span) -> Result<Quote, Reason> {
        let quote = self.quotes.get(&symbol).ok_or(Reason::NoMarketData)?;
        if now.since(quote.known_at) > age_max {
            Err(Reason::StaleMarketData)
        } else {
            Ok(*quote)
        }
    }
}

impl Quote {
    #[cfg(test)]
    pub fn of(mid: &str, best_bid: &str) -> Self {
        Self {
            mid: mid.parse().unwrap(),
            best_bid: best_bid.parse().unwrap(),
            known_at: Timestamp(0),
            issued_at: Timestamp(0),
        }
    }
}
