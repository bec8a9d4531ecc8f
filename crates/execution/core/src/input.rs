//! What comes in and what goes out.

use alloc::vec::Vec;

use portcullis_domain::{
    Book, Exposure, Fill, Hash, KillCause, Order, OrderId, Price, Quantity, Reason, Side,
    StrategyId, Symbol, Timestamp, Usd, VenueOrderId,
};
use portcullis_wire::messages::{
    ExecutionReport, Heartbeat, Notice, Permit, Receipt, Tally, Trade,
};
use portcullis_wire::{Text, Verified};
use serde::{Deserialize, Serialize};

use crate::Record;

/// A signature, ready to be sent with the request it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The time stamp in the request, in milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// The public name of the venue key.
    pub api_key: Text,
    /// The signature.
    pub signature: Text,
}

/// What the venue says about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueState {
    /// It rests, or is being worked on.
    Open,
    /// Wholly filled.
    Filled,
    /// Cancelled, perhaps after a part of it filled.
    Cancelled,
    /// Refused.
    Rejected,
}

/// The venue's own account of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueOrder {
    /// The client order id; `None` when it is not one of ours.
    pub order: Option<OrderId>,
    /// The venue's id.
    pub venue_order: VenueOrderId,
    /// What it trades.
    pub symbol: Symbol,
    /// Which way, as the venue has it.
    pub side: Side,
    /// How much in all, as the venue has it: somebody may have changed it there.
    pub quantity: Quantity,
    /// The limit price, as the venue has it; `None` where it has none.
    pub limit_price: Option<Price>,
    /// Where it stands.
    pub state: VenueState,
    /// How much of it filled.
    pub filled: Option<Quantity>,
    /// Why it ended, in the venue's words; may be empty.
    pub detail: Text,
}

/// A change of the wallet that no fill explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Movement {
    /// The venue's id of it: the same movement always has the same one.
    pub id: Text,
    /// What kind it is.
    pub kind: MovementKind,
    /// The instrument it is about, where it is about one.
    pub symbol: Option<Symbol>,
    /// How much; above zero it adds to the wallet.
    pub amount: Usd,
    /// When, by the venue's clock.
    pub at: Timestamp,
}

/// What kind of movement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    /// Funding of a perpetual, paid or received: it is part of a day's loss.
    Funding,
    /// Money paid in or taken out: it is nobody's gain and nobody's loss.
    Transfer,
    /// Anything else that the venue says moved the balance, such as a liquidation or interest. What is not
    /// known to be nobody's loss is a loss.
    Other,
}

/// How a request to place an order went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceOutcome {
    /// The venue took it.
    Acknowledged(VenueOrderId),
    /// The venue certainly did not take it.
    Rejected(Reason, Text),
    /// Nothing left this machine.
    NotSent(Reason, Text),
    /// Anything else: time-out, reset, server error, unreadable answer.
    Unknown(Text),
}

/// How a query for an order went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The venue has it.
    Found(VenueOrder),
    /// The venue does not know it.
    NotFound,
    /// No answer.
    Failed,
}

/// How the shell's requests went since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// To the venue: answered, or not.
    pub network: Tally,
    /// For the signatures of orders: answered in time, or not.
    pub signer: Tally,
}

/// What happened.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, from the shell's queue into step"
)]
pub enum Input {
    /// Risk-guard permits an order.
    Permit {
        /// Its verdict.
        permit: Verified<Permit>,
        /// The brain's order inside.
        order: Verified<Order>,
    },
    /// The fact that a permit was taken is sealed; this is the digest that its receipt must name.
    FactSealed {
        /// Which order.
        order: OrderId,
        /// SHA-256 of the fact's frame.
        fact: Hash,
    },
    /// The journal holds the acceptance of an order on disk.
    Durable(OrderId),
    /// Audit's receipt, its signature verified.
    Receipt(Receipt),
    /// The signer's answer for an order.
    Signed {
        /// Which order.
        order: OrderId,
        /// The signature, or why there is none.
        answer: Result<Ticket, Reason>,
    },
    /// Risk-guard is there.
    Heartbeat(Verified<Heartbeat>),
    /// The kill switch of this service was pulled, and its latch is on disk.
    Killed {
        /// By what.
        cause: KillCause,
        /// In words.
        detail: Text,
    },
    /// A new order book.
    Book(Verified<Book>),
    /// A trade of anybody.
    Trade(Verified<Trade>),
    /// How a request to place went.
    Placed {
        /// Which order.
        order: OrderId,
        /// How.
        outcome: PlaceOutcome,
    },
    /// How a query went that was asked for with [`Effect::Query`].
    Queried {
        /// Which order.
        order: OrderId,
        /// When the query left.
        asked_at: Timestamp,
        /// How.
        outcome: QueryOutcome,
    },
    /// The venue's stream says something about an order.
    Venue(VenueOrder),
    /// The venue's stream reports a fill.
    VenueFill(Fill),
    /// The venue's stream tells every event from here on.
    StreamUp,
    /// The venue's stream was lost: events may be missing until the next reconciliation.
    StreamLost,
    /// The venue's whole account, taken after `asked_at`.
    Account {
        /// When the first of the queries left.
        asked_at: Timestamp,
        /// All open orders.
        open: Vec<VenueOrder>,
        /// All fills since [`crate::Execution::fills_since`].
        fills: Vec<Fill>,
        /// All positions that are not flat; the same before and after the other queries.
        positions: Vec<(Symbol, Exposure)>,
        /// The venue's cash: its wallet balance (paid in, plus realised profit, minus fees, plus
        /// movements) less what the positions cost there, signed like them. However the venue reckons
        /// cost, buying takes price times quantity from it and selling adds it. Taken in the same
        /// window as the positions.
        cash: Usd,
        /// All movements since [`crate::Execution::movements_since`], the oldest first.
        movements: Vec<Movement>,
    },
    /// The process is about to end: nothing new leaves, and what is open is cancelled.
    Stop,
    /// Time passes.
    Tick,
}

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To be written to the journal first.
    pub records: Vec<Record>,
    /// To be done then. A fact goes out only after the records are on disk.
    pub effects: Vec<Effect>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Publish the fact that a permit was taken, ask the signer for a signature, and say when the
    /// journal is synced: all three at once.
    Prepare {
        /// The order.
        order: Order,
        /// The sealed permit.
        permit: Vec<u8>,
    },
    /// Send the order to the venue, once.
    Place {
        /// The order.
        order: Order,
        /// The signature for it.
        ticket: Ticket,
    },
    /// Cancel everything of an instrument.
    CancelAll {
        /// Which instrument.
        symbol: Symbol,
    },
    /// Cancel one open order at the venue that is not ours, or is no longer what left here.
    CancelForeign {
        /// What it trades.
        symbol: Symbol,
        /// The venue's id of it.
        venue_order: VenueOrderId,
    },
    /// Ask the venue about an order.
    Query {
        /// Which.
        order: OrderId,
        /// What it trades.
        symbol: Symbol,
    },
    /// Fetch the venue's whole account.
    Reconcile,
    /// Publish where an order stands.
    Report(ExecutionReport),
    /// Publish a fill.
    Fill(StrategyId, Fill),
    /// Publish something worth knowing.
    Notice(Notice),
    /// Pull this service's own kill switch: latch it on disk, then say so with
    /// [`Input::Killed`].
    Latch(KillCause, Text),
}
