//! Audit's log as it grows, read from its files alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use audit::verify::{OwnedEntry, read_unsealed};
use audit_core::{Entry, HASHES_LENGTH, Kind, RECORD_HEAD_LENGTH, RECORD_LENGTH_MAX};
use portcullis_domain::{Hash, Order, OrderId, Price, Side};
use portcullis_wire::messages::{Outcome, Permit, PermitTaken, Verdict};
use portcullis_wire::subjects::{PERMIT_TAKEN, VERDICT};

/// Follows the log. The chain is checked once, at the end of everything.
pub struct Tail {
    folder: PathBuf,
    file: Option<(PathBuf, File)>,
    offset: u64,
    entries: Vec<Arc<OwnedEntry>>,
    permits: BTreeMap<OrderId, Permitted>,
}

/// What a fact says was permitted.
#[derive(Clone, Debug)]
pub struct Permitted {
    /// The order; where execution took the permit, at the permit's worst price.
    pub order: Order,
    /// Whether execution took the permit. Risk-guard's verdict alone does not say its worst price.
    pub is_taken: bool,
}

impl Permitted {
    /// Whether an order at this price is what was permitted.
    #[must_use]
    pub fn allows(&self, price: Price) -> bool {
        let limit = self.order.limit_price;
        match self.order.side {
            _ if self.is_taken => price == limit,
            Side::Buy => price <= limit,
            Side::Sell => price >= limit,
        }
    }
}

impl Tail {
    /// From the first entry on.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            file: None,
            offset: 0,
            entries: Vec::new(),
            permits: BTreeMap::new(),
        }
    }

    /// How many entries were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries from one on.
    #[must_use]
    pub fn from(&self, first: usize) -> &[Arc<OwnedEntry>] {
        self.entries.get(first..).unwrap_or_default()
    }

    /// Every order that audit has a permit for.
    #[must_use]
    pub const fn permits(&self) -> &BTreeMap<OrderId, Permitted> {
        &self.permits
    }

    /// Reads what was written since.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn follow(&mut self) -> Result<()> {
        loop {
            while let Some(payload) = self.record()? {
                let Some(end) = payload.len().checked_sub(HASHES_LENGTH) else {
                    return Ok(());
                };
                let entry = payload.get(..end).and_then(Entry::read);
                self.take(&entry.context("read an entry of audit's log")?);
            }
            if !self.next_file()? {
                return Ok(());
            }
        }
    }

    fn take(&mut self, entry: &Entry<'_>) {
        if entry.kind == Kind::Fact
            && let Some(permitted) = permitted_by(entry)
        {
            let known = self.permits.entry(permitted.order.id);
            let known = known.or_insert_with(|| permitted.clone());
            if permitted.is_taken {
                *known = permitted;
            }
        }
        self.entries.push(Arc::new(OwnedEntry {
            index: entry.index,
            hash: Hash([0; 32]),
            received_at: entry.received_at,
            kind: entry.kind,
            subject: entry.subject.into(),
            source: entry.source,
            boot: entry.boot,
            seq: entry.seq,
            id: entry.id,
            content: entry.content.into(),
        }));
    }

    /// The payload of the next whole record.
    fn record(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((_, file)) = &self.file else {
            return Ok(None);
        };
        let mut head = [0; RECORD_HEAD_LENGTH];
        if file.read_at(&mut head, self.offset)? < RECORD_HEAD_LENGTH {
            return Ok(None);
        }
        let [a, b, c, d, ..] = head;
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
        if size == 0 || size > RECORD_LENGTH_MAX {
            return Ok(None);
        }
        let mut payload = vec![0; size];
        let at = self.offset.saturating_add(RECORD_HEAD_LENGTH as u64);
        if file.read_at(&mut payload, at)? < size {
            return Ok(None);
        }
        // A write that is under way: its hashes, at the end, are still zeroes.
        if payload.iter().rev().take(32).all(|byte| *byte == 0) {
            return Ok(None);
        }
        self.offset = at.saturating_add(size as u64);
        Ok(Some(payload))
    }

    /// Goes on to the next segment, if there is one.
    fn next_file(&mut self) -> Result<bool> {
        let listed = std::fs::read_dir(&self.folder).context("list audit's log")?;
        let mut segments: Vec<PathBuf> = listed
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| is_segment(path))
            .collect();
        segments.sort();
        let here = self.file.as_ref().map(|(path, _)| path);
        let later = |path: &PathBuf| here.is_none_or(|here| path > here);
        let Some(next) = segments.into_iter().find(later) else {
            return Ok(false);
        };
        let file = File::open(&next).context("open audit's log")?;
        self.file = Some((next, file));
        self.offset = 0;
        Ok(true)
    }
}

fn is_segment(path: &std::path::Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("segment-") && name.ends_with(".log"))
}

/// The order that a fact says was permitted: risk-guard with its verdict, or execution with the permit
/// that it took.
fn permitted_by(fact: &Entry<'_>) -> Option<Permitted> {
    if fact.subject == PERMIT_TAKEN.row.pattern {
        let order = permitted(fact.content)?;
        let is_taken = true;
        return Some(Permitted { order, is_taken });
    }
    if !VERDICT.row.matches(fact.subject) {
        return None;
    }
    let (_, verdict) = read_unsealed::<Verdict>(fact.content).ok()?;
    let passed = verdict.outcome == Outcome::Passed;
    let order = passed.then_some(verdict.order_frame)?;
    let (_, order) = read_unsealed::<Order>(&order).ok()?;
    let is_taken = false;
    Some(Permitted { order, is_taken })
}

/// The order inside the permit inside execution's fact that it took it, at the permit's worst price.
#[must_use]
pub fn permitted(fact: &[u8]) -> Option<Order> {
    let (_, taken) = read_unsealed::<PermitTaken>(fact).ok()?;
    let (_, permit) = read_unsealed::<Permit>(&taken.permit).ok()?;
    let (_, order) = read_unsealed::<Order>(&permit.order).ok()?;
    permit.tighten(&order).ok()
}
