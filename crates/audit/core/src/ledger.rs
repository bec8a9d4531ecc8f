//! The end of the log, and what waits for its entries to be on disk.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use portcullis_domain::{EnvelopeId, Hash, OrderId, PrincipalName, Span, Timestamp};
use portcullis_wire::Header;
use portcullis_wire::messages::Receipt;
use portcullis_wire::subjects::ORDER_LIFETIME;

use crate::chain::{Appended, Chain, entry_hash, fact_digest};
use crate::entry::{Draft, Kind};
use crate::input::{Effects, Fact, Fault, ReceiptDue};
use crate::line::Recorded;
use crate::own::Own;

/// A permit's receipt helps nobody once the order is over: its lifetime, and as much again for
/// clocks that differ. A backlog from an outage is recorded without them.
const RECEIPT_AGE_MAX: Span = Span(ORDER_LIFETIME.0.saturating_mul(2));

/// What waits for one entry.
#[derive(Clone, Debug)]
struct Pending {
    hash: Hash,
    receipt: Option<ReceiptDue>,
    tokens: Vec<u64>,
}

/// The end of the log.
#[derive(Clone, Debug)]
pub struct Ledger {
    me: PrincipalName,
    boot: u64,
    own: u64,
    chain: Chain,
    durable: u64,
    durable_head: Hash,
    /// One for each entry from number `durable` on.
    pending: VecDeque<Pending>,
    scratch: Vec<u8>,
}

impl Ledger {
    /// All that is in the chain is on disk.
    pub fn new(me: PrincipalName, boot: u64, chain: Chain) -> Self {
        let (durable, durable_head) = (chain.size(), chain.head());
        let (pending, scratch) = (VecDeque::new(), Vec::new());
        Self {
            me,
            boot,
            own: 0,
            chain,
            durable,
            durable_head,
            pending,
            scratch,
        }
    }

    pub const fn size(&self) -> u64 {
        self.chain.size()
    }

    pub const fn durable(&self) -> (u64, Hash) {
        (self.durable, self.durable_head)
    }

    pub fn append_fact(
        &mut self,
        received_at: Timestamp,
        fact: Fact,
        token: Option<u64>,
        effects: &mut Effects,
    ) -> Result<Recorded, Fault> {
        let draft = draft(&fact, received_at);
        let Appended {
            index,
            previous,
            hash,
        } = self
            .chain
            .append(&draft, &mut effects.records)
            .map_err(Fault::Append)?;
        let receipt = fact
            .order
            .map(|order| due(order, &fact.frame, index, hash, fact.header));
        self.pending.push_back(Pending {
            hash,
            receipt,
            tokens: token.into_iter().collect(),
        });
        Ok(Recorded {
            index,
            received_at,
            previous,
            hash,
        })
    }

    pub fn append_own(
        &mut self,
        now: Timestamp,
        own: &Own,
        tokens: Vec<u64>,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let content = own.write().map_err(|_| Fault::Own)?;
        self.own = self.own.saturating_add(1);
        let draft = Draft {
            received_at: now,
            kind: Kind::Own,
            subject: own.subject(),
            source: &self.me,
            boot: self.boot,
            seq: self.own,
            id: EnvelopeId([0; 16]),
            content: &content,
        };
        let appended = self
            .chain
            .append(&draft, &mut effects.records)
            .map_err(Fault::Append)?;
        self.pending.push_back(Pending {
            hash: appended.hash,
            receipt: None,
            tokens,
        });
        Ok(())
    }

    /// Whether a fact is, byte for byte, the recorded one.
    pub fn is_same(&mut self, recorded: &Recorded, fact: &Fact) -> bool {
        self.scratch.clear();
        let draft = draft(fact, recorded.received_at);
        let written = draft.write(recorded.index, &recorded.previous, &mut self.scratch);
        written.is_some() && entry_hash(&self.scratch) == recorded.hash
    }

    /// The receipt of a fact that came again, if its entry is on disk already. Otherwise the first
    /// one is still to come.
    pub fn receipt_again(&self, recorded: &Recorded, fact: Fact) -> Option<ReceiptDue> {
        let order = fact.order.filter(|_| recorded.index < self.durable)?;
        Some(due(
            order,
            &fact.frame,
            recorded.index,
            recorded.hash,
            fact.header,
        ))
    }

    /// Acknowledges once all that is appended so far is on disk.
    pub fn acknowledge(&mut self, token: Option<u64>, effects: &mut Effects) {
        match self.pending.back_mut() {
            Some(last) => last.tokens.extend(token),
            None => effects.acknowledge.extend(token),
        }
    }

    /// Releases what waited for entries that are on disk now.
    pub fn set_durable(
        &mut self,
        now: Timestamp,
        size: u64,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        if size < self.durable || size > self.chain.size() {
            let (before, appended) = (self.durable, self.chain.size());
            return Err(Fault::Durable {
                said: size,
                before,
                appended,
            });
        }
        while self.durable < size {
            let Some(pending) = self.pending.pop_front() else {
                break;
            };
            effects
                .receipts
                .extend(pending.receipt.filter(|due| is_wanted(due, now)));
            effects.acknowledge.extend(pending.tokens);
            self.durable = self.durable.saturating_add(1);
            self.durable_head = pending.hash;
        }
        Ok(())
    }
}

pub fn is_wanted(due: &ReceiptDue, now: Timestamp) -> bool {
    now.since(due.cause.issued_at) <= RECEIPT_AGE_MAX
}

fn due(order: OrderId, frame: &[u8], index: u64, entry: Hash, cause: Box<Header>) -> ReceiptDue {
    ReceiptDue {
        receipt: Receipt {
            fact: fact_digest(frame),
            order,
            index,
            entry,
        },
        cause,
    }
}

fn draft(fact: &Fact, received_at: Timestamp) -> Draft<'_> {
    Draft {
        received_at,
        kind: Kind::Fact,
        subject: &fact.header.subject,
        source: &fact.header.source,
        boot: fact.header.boot,
        seq: fact.header.seq,
        id: fact.header.id,
        content: &fact.frame,
    }
}
