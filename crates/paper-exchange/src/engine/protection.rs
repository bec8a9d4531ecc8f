//! What happens to an account's orders when its last watching socket is gone (the venue calls it
//! DCP, disconnection protect): the window is set by the account, the sockets are the hub's, and here
//! is how long they have been gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::order::Ending;
use super::refusal::Refusal;
use super::{Effects, Engine, Event};
use crate::clock::TimeMs;

/// Shortest and longest window, in seconds (the venue's page `order/dcp`).
const WINDOW_S_MIN: u16 = 3;
const WINDOW_S_MAX: u16 = 300;

/// Since when accounts with a window have no watching socket. It is measured by the machine's steady
/// clock, which no fault can skew.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    accounts: BTreeMap<String, Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Watched,
    /// Since this moment.
    Gone(Instant),
    /// Gone for so long that its orders were cancelled: nothing more until a socket watches again.
    Struck,
}

impl Watch {
    /// Accounts with a window begin as gone: an exchange that starts again has lost every socket.
    pub(crate) fn after_start(engine: &Engine, now: Instant) -> Self {
        let protected = engine
            .accounts()
            .filter(|(_, held)| held.window_s.is_some());
        let accounts = protected
            .map(|(name, _)| (name.clone(), Standing::Gone(now)))
            .collect();
        Self { accounts }
    }

    /// A socket of an account begins to watch; it counts however soon it is gone again.
    pub(crate) fn begin(&mut self, account: &str) {
        self.accounts.insert(account.to_owned(), Standing::Watched);
    }

    /// Takes note of who is watched; answers the accounts whose time is over, each once.
    pub(crate) fn look(
        &mut self,
        engine: &Engine,
        watched: impl Fn(&str) -> bool,
        now: Instant,
    ) -> Vec<String> {
        let mut struck = Vec::new();
        for (name, held) in engine.accounts() {
            let Some(window_s) = held.window_s else {
                continue;
            };
            if watched(name) {
                self.accounts.insert(name.clone(), Standing::Watched);
                continue;
            }
            // Who never watched is not protected.
            let Some(standing) = self.accounts.get_mut(name) else {
                continue;
            };
            *standing = match *standing {
                Standing::Watched => Standing::Gone(now),
                Standing::Gone(since) => {
                    let window = Duration::from_secs(u64::from(window_s));
                    if now.saturating_duration_since(since) < window {
                        Standing::Gone(since)
                    } else {
                        struck.push(name.clone());
                        Standing::Struck
                    }
                }
                Standing::Struck => Standing::Struck,
            };
        }
        struck
    }
}

impl Engine {
    /// Sets after how many seconds without a watching socket an account's orders are cancelled.
    pub(crate) fn protect(
        &mut self,
        account: &str,
        window_s: i64,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let window_s = u16::try_from(window_s)
            .ok()
            .filter(|window_s| (WINDOW_S_MIN..=WINDOW_S_MAX).contains(window_s))
            .ok_or(Refusal::Parameter("timeWindow"))?;
        let held = self.accounts.get(account).ok_or(Refusal::ApiKey)?;
        if held.window_s != Some(window_s) {
            self.emit(
                Event::Protected {
                    account: account.to_owned(),
                    window_s,
                },
                effects,
            );
        }
        Ok(())
    }

    /// Cancels every open order of an account that is gone; answers how many.
    pub(crate) fn cancel_unwatched(
        &mut self,
        now: TimeMs,
        account: &str,
        effects: &mut Effects,
    ) -> usize {
        let Some(held) = self.accounts.get(account) else {
            return 0;
        };
        let open: Vec<u64> = held.open.iter().copied().collect();
        for seq in &open {
            self.cancel_resting(now, *seq, Ending::ByDisconnection, effects);
        }
        open.len()
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::engine::Rules;

    fn engine() -> (Engine, Effects) {
        let rules = Rules {
            maker_fee: Decimal::ZERO,
            taker_fee: Decimal::ZERO,
            market_cap_ratio: Decimal::ONE,
            open_orders_max: 10,
        };
        let mut engine = Engine::new(rules, Vec::new());
        let mut effects = Effects::default();
        engine.open_account("desk", Decimal::ONE, &mut effects);
        (engine, effects)
    }

    #[test]
    fn strikes_once_after_the_window_and_not_when_a_socket_is_back_in_time() {
        let (mut engine, mut effects) = engine();
        engine.protect("desk", 3, &mut effects).unwrap();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut watch = Watch::default();
        let mut look = |ms: u64, watched: bool| {
            let struck = watch.look(&engine, |_| watched, at(ms));
            struck.len()
        };
        assert_eq!(look(0, false), 0, "nobody ever watched");
        assert_eq!(look(9_000, false), 0, "nobody ever watched");
        assert_eq!(look(10_000, true), 0);
        assert_eq!(look(11_000, false), 0);
        assert_eq!(look(13_999, false), 0);
        assert_eq!(look(13_999, true), 0, "back in time");
        assert_eq!(look(20_000, false), 0, "the time starts anew");
        assert_eq!(look(22_999, false), 0);
        assert_eq!(look(23_000, false), 1);
        assert_eq!(look(99_000, false), 0, "once");
        assert_eq!(look(99_001, true), 0);
        assert_eq!(look(99_002, false), 0);
        assert_eq!(look(102_002, false), 1);
    }

    #[test]
    fn a_start_counts_as_a_loss_of_every_socket() {
        let (mut engine, mut effects) = engine();
        engine.protect("desk", 3, &mut effects).unwrap();
        let start = Instant::now();
        let mut watch = Watch::after_start(&engine, start);
        let late = start + Duration::from_secs(3);
        assert_eq!(watch.look(&engine, |_| false, late), ["desk"]);
    }

    #[test]
    fn the_window_has_bounds_and_is_journaled_when_it_changes() {
        let (mut engine, mut effects) = engine();
        for bad in [i64::MIN, -1, 0, 2, 301, i64::MAX] {
            let refused = engine.protect("desk", bad, &mut effects);
            assert_eq!(refused, Err(Refusal::Parameter("timeWindow")), "{bad}");
        }
        let before = effects.events.len();
        for good in [3, 300, 300] {
            engine.protect("desk", good, &mut effects).unwrap();
        }
        assert_eq!(effects.events.len() - before, 2);
        assert_eq!(engine.account("desk").unwrap().window_s, Some(300));
    }
}
