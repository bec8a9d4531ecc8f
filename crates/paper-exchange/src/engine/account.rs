//! One account: its wallet, positions and orders.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::movement::{Entry, Source};
use super::position::Position;

/// One account in USDT, cross margin, one-way mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Balance the account was opened with, in USDT.
    pub starting_balance: Decimal,
    /// Starting balance plus realised profit minus fees plus movements, in USDT.
    pub wallet: Decimal,
    pub positions: BTreeMap<String, Position>,
    /// Open orders, by their place among all orders.
    pub open: BTreeSet<u64>,
    /// Open orders of each symbol, counted.
    pub open_count: BTreeMap<String, usize>,
    /// Every order ever, in order of acceptance.
    pub orders: Vec<u64>,
    /// Closed orders, in order of closing.
    pub closed: Vec<u64>,
    /// Every fill ever, by its place among all fills.
    pub fills: Vec<u64>,
    /// Everything that ever changed the wallet.
    pub log: Vec<Entry>,
    /// After how many seconds without a watching socket its orders are cancelled; `None` for never.
    pub window_s: Option<u16>,
}

/// Sums over an account, all in USDT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Margins {
    pub unrealised: Decimal,
    pub position_margin: Decimal,
    pub order_margin: Decimal,
    pub maintenance_margin: Decimal,
}

impl Account {
    pub(crate) fn new(starting_balance: Decimal) -> Self {
        Self {
            starting_balance,
            wallet: starting_balance,
            positions: BTreeMap::new(),
            open: BTreeSet::new(),
            open_count: BTreeMap::new(),
            orders: Vec::new(),
            closed: Vec::new(),
            fills: Vec::new(),
            log: Vec::new(),
            window_s: None,
        }
    }

    /// The position in a symbol, empty if there never was one.
    pub(crate) fn position_mut(&mut self, symbol: &str) -> &mut Position {
        self.positions.entry(symbol.to_owned()).or_default()
    }

    /// Sums over positions, marked with `mark` (zero where the mark is unknown).
    pub(crate) fn margins(&self, mark: impl Fn(&str) -> Option<Decimal>) -> Margins {
        let mut sums = Margins::default();
        for (symbol, position) in &self.positions {
            if let Some(mark) = mark(symbol) {
                sums.unrealised += position.unrealised(mark);
            }
            sums.position_margin += position.initial_margin();
            sums.order_margin += position.order_margin();
            sums.maintenance_margin += position.maintenance_margin();
        }
        sums
    }

    /// Profit of everything closed, fees apart, in USDT.
    pub(crate) fn realised(&self) -> Decimal {
        self.positions
            .values()
            .map(|position| position.realised)
            .sum()
    }

    /// Notes what changed the wallet, once it did.
    pub(super) fn enter(&mut self, source: Source, change: Decimal) {
        self.log.push(Entry {
            number: self.log.len() as u64,
            source,
            change,
            balance: self.wallet,
        });
    }

    /// Transfers and funding together, in USDT.
    pub(crate) fn moved(&self) -> Decimal {
        let amounts = self.log.iter().map(|entry| match &entry.source {
            Source::Movement(movement) => movement.amount,
            Source::Fill(_) => Decimal::ZERO,
        });
        amounts.sum()
    }

    /// Fees paid, in USDT.
    pub(crate) fn fees(&self) -> Decimal {
        self.positions.values().map(|position| position.fees).sum()
    }
}
