//! The matching engine: pure and deterministic. Time comes in as an argument, ids come from
//! counters, and every change of an account is an [`Event`] that the journal can replay.
//!
//! ```text
//!  request ──▶ check ──▶ Accepted ──▶ match ──▶ Filled … ──▶ Closed, or rest in the queue
//!  book update ─────────────────────▶ match resting orders that it crosses
//! ```

pub(crate) mod account;
mod apply;
pub(crate) mod book;
mod cancel;
pub(crate) mod market;
mod matching;
pub(crate) mod movement;
pub(crate) mod order;
mod place;
pub(crate) mod position;
pub(crate) mod protection;
pub(crate) mod refusal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::clock::TimeMs;
use crate::instrument::Instrument;
use account::Account;
use book::BookUpdate;
use market::{Market, Past};
use movement::Movement;
use order::{Ending, Fill, Order, PublicTrade, Side, Status};
use refusal::Refusal;

pub(crate) use cancel::{Amend, CancelAll, OrderRef};
pub(crate) use place::{PlaceFaults, PlaceRequest};

/// Most orders one exchange keeps; their client ids are unique for ever, so none is forgotten.
const ORDERS_MAX: usize = 2_000_000;

/// What the engine is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Fee of resting orders, as a ratio.
    pub maker_fee: Decimal,
    /// Fee of taking orders, as a ratio.
    pub taker_fee: Decimal,
    /// How far a market order may go from the mark price, as a ratio.
    pub market_cap_ratio: Decimal,
    /// Most open orders an account may have of one symbol.
    pub open_orders_max: usize,
}

/// One change of an account. Replaying all of them gives the same accounts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Opened {
        account: String,
        #[serde(with = "rust_decimal::serde::str")]
        balance: Decimal,
    },
    Accepted {
        order: Box<Order>,
    },
    Filled {
        fill: Box<Fill>,
    },
    Closed {
        order_seq: u64,
        status: Status,
        ending: Ending,
        time_ms: TimeMs,
    },
    Amended {
        order_seq: u64,
        #[serde(with = "rust_decimal::serde::str")]
        price: Decimal,
        #[serde(with = "rust_decimal::serde::str")]
        qty: Decimal,
        priority: u64,
        time_ms: TimeMs,
    },
    Moved {
        movement: Box<Movement>,
    },
    Protected {
        account: String,
        window_s: u16,
    },
    Leverage {
        account: String,
        symbol: String,
        #[serde(with = "rust_decimal::serde::str")]
        leverage: Decimal,
    },
}

/// Something to tell the streams, in the order it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The order as it was at that moment.
    Order(Box<Order>),
    Fill(Box<Fill>),
    /// A position and the wallet changed.
    Position {
        account: String,
        symbol: String,
    },
    /// Only the wallet changed.
    Wallet {
        account: String,
    },
    Trade(Box<PublicTrade>),
    Book {
        symbol: String,
    },
}

/// What a request did: events to journal, notices to publish afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub events: Vec<Event>,
    pub notices: Vec<Notice>,
}

/// All accounts and markets.
#[derive(Debug)]
pub(crate) struct Engine {
    rules: Rules,
    markets: BTreeMap<String, Market>,
    accounts: BTreeMap<String, Account>,
    orders: BTreeMap<u64, Order>,
    by_order_id: BTreeMap<String, u64>,
    by_link_id: BTreeMap<(String, String), u64>,
    fills: BTreeMap<u64, Fill>,
    order_seq: u64,
    priority: u64,
    fill_seq: u64,
    movement_seq: u64,
    trade_seq: u64,
    cross_seq: u64,
}

impl Engine {
    pub(crate) fn new(rules: Rules, instruments: Vec<Instrument>) -> Self {
        let markets = instruments
            .into_iter()
            .map(|instrument| (instrument.symbol.clone(), Market::new(instrument)))
            .collect();
        Self {
            rules,
            markets,
            accounts: BTreeMap::new(),
            orders: BTreeMap::new(),
            by_order_id: BTreeMap::new(),
            by_link_id: BTreeMap::new(),
            fills: BTreeMap::new(),
            order_seq: 0,
            priority: 0,
            fill_seq: 0,
            movement_seq: 0,
            trade_seq: 0,
            cross_seq: 0,
        }
    }

    /// Opens an account that does not exist yet; an existing one keeps its balance.
    pub(crate) fn open_account(&mut self, account: &str, balance: Decimal, effects: &mut Effects) {
        if !self.accounts.contains_key(account) {
            self.emit(
                Event::Opened {
                    account: account.to_owned(),
                    balance,
                },
                effects,
            );
        }
    }

    /// Sets the leverage of a symbol.
    pub(crate) fn set_leverage(
        &mut self,
        account: &str,
        symbol: &str,
        leverage: Decimal,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let market = self
            .markets
            .get(symbol)
            .ok_or(Refusal::Parameter("symbol invalid"))?;
        if leverage < Decimal::ONE || leverage.normalize().scale() > 2 {
            return Err(Refusal::Parameter("leverage invalid"));
        }
        if leverage > market.instrument.max_leverage {
            return Err(Refusal::LeverageTooHigh);
        }
        let held = self.accounts.get(account).ok_or(Refusal::ApiKey)?;
        let position = held.positions.get(symbol).cloned().unwrap_or_default();
        if position.leverage == leverage {
            return Err(Refusal::LeverageUnchanged);
        }
        let mut changed = position.clone();
        changed.leverage = leverage;
        let more = changed.initial_margin() + changed.order_margin()
            - position.initial_margin()
            - position.order_margin();
        if more > Decimal::ZERO && more > self.available(held) {
            return Err(Refusal::InsufficientBalance);
        }
        self.emit(
            Event::Leverage {
                account: account.to_owned(),
                symbol: symbol.to_owned(),
                leverage,
            },
            effects,
        );
        effects.notices.push(Notice::Position {
            account: account.to_owned(),
            symbol: symbol.to_owned(),
        });
        Ok(())
    }

    /// Takes a change of the market data and fills the resting orders that it crosses.
    pub(crate) fn update_book(
        &mut self,
        now: TimeMs,
        symbol: &str,
        update: &BookUpdate,
        effects: &mut Effects,
    ) {
        let Some(market) = self.markets.get_mut(symbol) else {
            return;
        };
        market.book.update(update);
        self.cross_seq = self.cross_seq.saturating_add(1);
        self.match_resting(now, symbol, effects);
        self.book_changed(now, symbol, effects);
    }

    /// Publishes a trade of the market data.
    pub(crate) fn market_trade(
        &mut self,
        now: TimeMs,
        symbol: &str,
        side: Side,
        price: Decimal,
        qty: Decimal,
        effects: &mut Effects,
    ) {
        self.cross_seq = self.cross_seq.saturating_add(1);
        self.public_trade(now, symbol, side, price, qty, effects);
    }

    /// Gives a market its past, unless something traded there already. Streams say nothing of it:
    /// it is long over.
    pub(crate) fn remember(&mut self, symbol: &str, past: Past) {
        let Some(market) = self
            .markets
            .get_mut(symbol)
            .filter(|known| known.has_no_past())
        else {
            return;
        };
        market.remember(past.bars);
        let mut untold = Effects::default();
        for (time_ms, side, price, qty) in past.trades {
            self.market_trade(time_ms, symbol, side, price, qty, &mut untold);
        }
    }

    /// Applies journalled events at start, before any other call.
    pub(crate) fn replay(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.apply(&event);
        }
        self.requeue();
    }

    /// Puts every open order back into its queue, after a replay.
    fn requeue(&mut self) {
        for account in self.accounts.values() {
            for seq in &account.open {
                let Some(order) = self.orders.get(seq) else {
                    continue;
                };
                if let Some(market) = self.markets.get_mut(&order.symbol) {
                    market.book.rest(
                        order.side,
                        order.price,
                        order.priority,
                        *seq,
                        order.leaves(),
                    );
                }
            }
        }
    }

    // Reads.

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn markets(&self) -> impl Iterator<Item = &Market> {
        self.markets.values()
    }

    pub(crate) fn market(&self, symbol: &str) -> Option<&Market> {
        self.markets.get(symbol)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&String, &Account)> {
        self.accounts.iter()
    }

    pub(crate) fn account(&self, account: &str) -> Option<&Account> {
        self.accounts.get(account)
    }

    pub(crate) fn order(&self, seq: u64) -> Option<&Order> {
        self.orders.get(&seq)
    }

    pub(crate) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    pub(crate) fn fill(&self, seq: u64) -> Option<&Fill> {
        self.fills.get(&seq)
    }

    pub(crate) fn fills(&self) -> impl Iterator<Item = &Fill> {
        self.fills.values()
    }

    pub(crate) fn cross_seq(&self) -> u64 {
        self.cross_seq
    }

    /// An order of an account by the venue's id or, failing that, by the client's.
    pub(crate) fn find(&self, account: &str, reference: &OrderRef) -> Option<&Order> {
        let seq = match reference {
            OrderRef::OrderId(id) => self.by_order_id.get(id),
            OrderRef::LinkId(id) => self.by_link_id.get(&(account.to_owned(), id.clone())),
        };
        seq.and_then(|seq| self.orders.get(seq))
            .filter(|order| order.account == account)
    }

    /// What an account could still bind as margin, in USDT.
    pub(crate) fn available(&self, account: &Account) -> Decimal {
        let margins = account.margins(|symbol| self.markets.get(symbol).and_then(Market::mark));
        account.wallet + margins.unrealised - margins.position_margin - margins.order_margin
    }

    fn book_changed(&mut self, now: TimeMs, symbol: &str, effects: &mut Effects) {
        if let Some(market) = self.markets.get_mut(symbol) {
            market.touched(now);
            effects.notices.push(Notice::Book {
                symbol: symbol.to_owned(),
            });
        }
    }
}

/// An id in the shape of a UUID, the same for the same kind and number. Uniqueness comes from the
/// number; the mixing only keeps clients from relying on an order.
fn uuid(kind: u64, number: u64) -> String {
    let high = mix(number ^ (kind << 56));
    let low = mix(high ^ number);
    let part = |value: u64, shift: u32, mask: u64| (value >> shift) & mask;
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        part(high, 32, 0xffff_ffff),
        part(high, 16, 0xffff),
        part(high, 0, 0x0fff),
        part(low, 48, 0x0fff),
        (number & 0xffff_ffff) | (part(low, 0, 0xffff) << 32),
    )
}

/// SplitMix64's finaliser.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
