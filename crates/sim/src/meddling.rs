//! What others do to the account and to the settings while the services run.

use portcullis_domain::Hash;

use crate::cast::Who;
use crate::settings::POLICY;
use crate::world::{CHAOS_UNTIL, Event, MS, World};

/// A policy that brain and risk-guard run for a while, and execution does not.
const OTHER_POLICY: Hash = Hash([8; 32]);

impl World {
    /// Something that execution did not order happens at the venue.
    pub(crate) fn meddle(&mut self) {
        let index = self.random.between(0, self.markets.len() as u64 - 1) as usize;
        let Some(listing) = self.markets.get(index).map(|market| market.listing) else {
            return;
        };
        let symbol = listing.symbol();
        let until = self.now + self.random.between(2_000, 12_000) * MS;
        let after = until.min(CHAOS_UNTIL) - self.now;
        match self.random.between(0, 5) {
            0..=2 => {
                let steps = self.random.between(1, 40) as i64;
                let by = listing.quantity(steps).get();
                let by = if self.random.chance(500) { by } else { -by };
                self.trace.count("fault: traded by hand");
                self.say(format_args!("somebody trades {by} {symbol} by hand"));
                self.venue.shift(symbol, by);
                self.meddled += 1;
                self.schedule(after, Event::TradedBack(symbol, by));
            }
            3 => {
                self.trace.count("fault: foreign order");
                self.say(format_args!("somebody else's order rests in {symbol}"));
                self.venue.place_foreign(symbol);
                self.meddled += 1;
                self.schedule(after, Event::ForeignGone(symbol));
            }
            4 => {
                if let Some(order) = self.venue.end_one(&mut self.random) {
                    self.trace.count("fault: order ended by the venue");
                    self.say(format_args!("the venue cancels {order} by itself"));
                    self.push_stream();
                }
            }
            _ => {
                let now = self.venue_clock();
                if let Some(order) = self.venue.fill_late(now, &mut self.random) {
                    self.trace.count("fault: fill after the end");
                    self.say(format_args!("{order} fills although it was cancelled"));
                    self.push_stream();
                }
            }
        }
    }

    /// Somebody changes an order at the venue, and cancels it after a while.
    pub(crate) fn alter_order(&mut self, again: bool) {
        let next = self.now + self.random.between(500, 4_000) * MS;
        if self.now >= CHAOS_UNTIL {
            return;
        }
        if again && next < CHAOS_UNTIL {
            self.schedule(next - self.now, Event::Alter(true));
        }
        if let Some((order, symbol)) = self.venue.alter(&mut self.random) {
            self.trace.count("fault: order altered");
            self.say(format_args!("somebody alters {order} in {symbol}"));
            self.meddled += 1;
            let until = self.now + self.random.between(500, 6_000) * MS;
            let after = until.min(CHAOS_UNTIL) - self.now;
            self.schedule(after, Event::AlteredGone(order));
        }
        self.push_stream();
    }

    /// Brain and risk-guard are started with another policy, or with the right one again.
    pub(crate) fn change_policy(&mut self, other: bool) {
        if other {
            self.trace.count("fault: another policy");
        }
        self.policy = if other { OTHER_POLICY } else { POLICY };
        let policy = self.policy;
        self.say(format_args!("brain and risk-guard get policy {policy}"));
        self.crash(Who::Brain);
        self.crash(Who::Guard);
    }
}
