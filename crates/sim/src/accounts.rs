//! Reads the venue's whole account, of one moment: positions are the same before and after.

use execution_core::{Input, Movement, VenueOrder};
use portcullis_domain::{Exposure, Fill, Symbol, Timestamp, Usd};

use crate::cast::Who;
use crate::requests::Purpose;
use crate::venue::Reply;
use crate::world::{Event, MS, World};

/// How often it is read again when it changed meanwhile.
const TRIES: u32 = 5;

/// The questions, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Before,
    WalletBefore,
    Fills,
    Movements,
    Open,
    After,
    WalletAfter,
}

/// Positions and cash.
type Holdings = (Vec<(Symbol, Exposure)>, Usd);

/// What is read so far.
#[derive(Clone, Debug)]
pub struct Reading {
    fills_since: Timestamp,
    movements_since: Timestamp,
    asked_at: Timestamp,
    before: Holdings,
    fills: Vec<Fill>,
    movements: Vec<Movement>,
    open: Vec<VenueOrder>,
    after: Vec<(Symbol, Exposure)>,
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
        let fills_since = life.core.fills_since();
        life.reading = Some(Reading {
            fills_since,
            movements_since: life.core.movements_since(),
            asked_at,
            before: (Vec::new(), Usd::ZERO),
            fills: Vec::new(),
            movements: Vec::new(),
            open: Vec::new(),
            after: Vec::new(),
            tries: 0,
        });
        self.oracle.watch.fresh.clear();
        self.trace.count("account read");
        self.ask(Purpose::Read(Stage::Before, fills_since));
        if self.plan.alters && self.chaos() && self.random.chance(300) {
            // Perhaps just after the open orders were read: the account does not tell of it then.
            let after = self.random.between(20, 250) * MS;
            self.schedule(after, Event::Alter(false));
        }
    }

    fn tell_account(&mut self, reading: Reading) {
        let (positions, cash) = reading.before;
        let (mut open, mut fills, mut told) = (reading.open, reading.fills, positions.clone());
        let foreign: Vec<Symbol> = open
            .iter()
            .filter(|order| order.order.is_none() || self.venue.tells_of_alteration(order))
            .map(|order| order.symbol)
            .collect();
        open.iter_mut().for_each(|order| self.hear(order));
        fills.retain(|fill| !self.hides(fill));
        self.agree(&mut open, &fills, &mut told);
        let mut movements = reading.movements.iter();
        if movements.any(|movement| self.oracle.moved.contains(&movement.id)) {
            self.trace.count("movement told again");
        }
        let mut movements = reading.movements;
        self.sabotage_movements(&mut movements);
        self.execution_step(Input::Account {
            asked_at: reading.asked_at,
            open,
            fills,
            positions: told,
            cash,
            movements,
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
                reading.before.0 = positions;
                Some(Stage::WalletBefore)
            }
            (Stage::WalletBefore, Some(Reply::Cash(cash))) => {
                reading.before.1 = cash;
                Some(Stage::Fills)
            }
            (Stage::Fills, Some(Reply::Fills(fills))) => {
                reading.fills = fills;
                Some(Stage::Movements)
            }
            (Stage::Movements, Some(Reply::Movements(movements))) => {
                reading.movements = movements;
                Some(Stage::Open)
            }
            (Stage::Open, Some(Reply::Orders(open))) => {
                reading.open = open;
                Some(Stage::After)
            }
            (Stage::After, Some(Reply::Positions(positions))) => {
                reading.after = positions;
                Some(Stage::WalletAfter)
            }
            (Stage::WalletAfter, Some(Reply::Cash(cash))) => {
                let after = (std::mem::take(&mut reading.after), cash);
                if after == reading.before {
                    return self.tell_account(reading);
                }
                self.trace.count("account changed while it was read");
                reading.tries += 1;
                self.oracle.watch.fresh.clear();
                reading.asked_at = now;
                reading.before = after;
                (reading.tries < TRIES).then_some(Stage::Fills)
            }
            _ => None,
        };
        let since = match next {
            Some(Stage::Movements) => reading.movements_since,
            _ => reading.fills_since,
        };
        if let Some(next) = next
            && let Some(life) = self.execution.as_mut()
        {
            life.reading = Some(reading);
            self.ask(Purpose::Read(next, since));
        }
    }
}
