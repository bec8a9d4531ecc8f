//! Reads the venue's whole account, of one moment: positions are the same before and after.

use execution_core::{Input, VenueOrder};
use portcullis_domain::{Exposure, Fill, Symbol, Timestamp, Usd};

use crate::cast::Who;
use crate::requests::Purpose;
use crate::venue::Reply;
use crate::world::World;

/// How often it is read again when it changed meanwhile.
const TRIES: u32 = 5;

/// The questions, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Before,
    Fills,
    Open,
    Wallet,
    After,
}

/// What is read so far.
#[derive(Clone, Debug)]
pub struct Reading {
    since: Timestamp,
    asked_at: Timestamp,
    before: Vec<(Symbol, Exposure)>,
    fills: Vec<Fill>,
    open: Vec<VenueOrder>,
    cash: Usd,
    tries: u32,
}

impl World {
    pub(crate) fn read_account(&mut self) {
        let asked_at = self.clock(Who::Execution);
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        if life.reading.is_some() {
            return;
        }
        let since = life.core.fills_since();
        life.reading = Some(Reading {
            since,
            asked_at,
            before: Vec::new(),
            fills: Vec::new(),
            open: Vec::new(),
            cash: Usd::ZERO,
            tries: 0,
        });
        self.oracle.watch.fresh.clear();
        self.trace.count("account read");
        self.ask(Purpose::Read(Stage::Before, since));
    }

    fn tell_account(&mut self, reading: Reading, positions: Vec<(Symbol, Exposure)>) {
        let (mut open, mut fills, mut told) = (reading.open, reading.fills, positions.clone());
        let foreign: Vec<Symbol> = open
            .iter()
            .filter(|order| order.order.is_none())
            .map(|order| order.symbol)
            .collect();
        fills.retain(|fill| !self.hides(fill));
        self.agree(&mut open, &fills, &mut told);
        self.execution_step(Input::Account {
            asked_at: reading.asked_at,
            open,
            fills,
            positions: told,
            cash: reading.cash,
            movements: Vec::new(),
        });
        if self.execution.is_some() {
            self.account_known(&positions, &foreign);
        }
    }

    pub(crate) fn account_read(&mut self, stage: Stage, reply: Option<Reply>) {
        let now = self.clock(Who::Execution);
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        let Some(mut reading) = life.reading.take() else {
            return;
        };
        let next = match (stage, reply) {
            (Stage::Before, Some(Reply::Positions(positions))) => {
                reading.before = positions;
                Some(Stage::Fills)
            }
            (Stage::Fills, Some(Reply::Fills(fills))) => {
                reading.fills = fills;
                Some(Stage::Open)
            }
            (Stage::Open, Some(Reply::Orders(open))) => {
                reading.open = open;
                Some(Stage::Wallet)
            }
            (Stage::Wallet, Some(Reply::Cash(cash))) => {
                reading.cash = cash;
                Some(Stage::After)
            }
            (Stage::After, Some(Reply::Positions(positions))) => {
                if positions == reading.before {
                    return self.tell_account(reading, positions);
                }
                self.trace.count("account changed while it was read");
                reading.tries += 1;
                self.oracle.watch.fresh.clear();
                reading.asked_at = now;
                reading.before = positions;
                (reading.tries < TRIES).then_some(Stage::Fills)
            }
            _ => None,
        };
        let since = reading.since;
        if let Some(next) = next
            && let Some(life) = self.execution.as_mut()
        {
            life.reading = Some(reading);
            self.ask(Purpose::Read(next, since));
        }
    }
}
