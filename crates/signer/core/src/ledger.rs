//! Which text each order was signed as: one order gets at most one.
//!
//! The ledger is never pruned: a signer whose memory of what it signed was too short is one that
//! signs twice.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use portcullis_domain::{Hash, OrderId, Reason, Span, Timestamp};
use portcullis_wire::codec;
use serde::{Deserialize, Serialize};

use crate::Fault;

/// The longest record, in bytes.
const RECORD_LENGTH_MAX: usize = 256;

/// What the journal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// From here on, this order may only be signed as this text. It is on disk before the signature
    /// leaves; because HMAC is deterministic, signing the same text again gives the same signature,
    /// so nothing has to be recorded after it.
    Reserved {
        /// Which order.
        order: OrderId,
        /// SHA-256 of the exact text.
        text: Hash,
        /// When it was decided.
        at: Timestamp,
    },
}

/// What the ledger says to a text for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The order was never signed.
    New,
    /// It was signed as exactly this text.
    Same,
    /// It was signed as another text.
    Other,
}

/// The texts by order, and when the last of them were reserved.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    texts: BTreeMap<OrderId, Hash>,
    orders_max: usize,
    recent: VecDeque<Timestamp>,
    per_second_max: usize,
}

impl Ledger {
    pub(crate) fn new(orders_max: usize, per_second_max: usize) -> Self {
        Self {
            texts: BTreeMap::new(),
            orders_max,
            recent: VecDeque::new(),
            per_second_max,
        }
    }

    /// Takes the records of earlier runs. Their number is not limited here: forgetting one could
    /// mean to sign it again.
    pub(crate) fn replay(&mut self, records: &[Vec<u8>]) -> Result<(), Fault> {
        for (index, bytes) in records.iter().enumerate() {
            let record = codec::decode(bytes, RECORD_LENGTH_MAX)
                .map_err(|cause| Fault::Record { index, cause })?;
            let Record::Reserved { order, text, .. } = record;
            if self
                .texts
                .insert(order, text)
                .is_some_and(|before| before != text)
            {
                return Err(Fault::SignedTwice(order));
            }
        }
        Ok(())
    }

    pub(crate) fn orders(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.texts.len() >= self.orders_max
    }

    pub(crate) fn standing(&self, order: OrderId, text: Hash) -> Standing {
        match self.texts.get(&order) {
            None => Standing::New,
            Some(before) if *before == text => Standing::Same,
            Some(_) => Standing::Other,
        }
    }

    /// Whether one more order may be reserved now.
    pub(crate) fn room(&mut self, now: Timestamp) -> Result<(), Reason> {
        let second_ago = now.minus(Span::from_secs(1));
        while self.recent.front().is_some_and(|at| *at <= second_ago) {
            self.recent.pop_front();
        }
        if self.is_full() {
            return Err(Reason::TooManyOrders);
        }
        if self.recent.len() >= self.per_second_max {
            return Err(Reason::RateLimit);
        }
        Ok(())
    }

    pub(crate) fn reserve(&mut self, now: Timestamp, order: OrderId, text: Hash) {
        self.texts.insert(order, text);
        self.recent.push_back(now);
    }
}
