//! Sources that fall silent.
//!
//! A gap shows when the next fact of its source comes. Whoever keeps back that one too, and all after
//! it, makes no gap: only a silence. Every source puts a sign of life on record when it has nothing
//! else to say, and says when it ends, so that any other silence is worth an alert.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{PrincipalName, Span, Timestamp};
use portcullis_wire::messages::{Message, Notice};
use portcullis_wire::{FRAME_LENGTH_MAX, codec, inspect};

use crate::entry::Entry;
use crate::input::{Alert, Effects, Fact, Fault};
use crate::ledger::Ledger;
use crate::own::Own;

/// When each source was last heard. No more sources than the recorder admits.
#[derive(Clone, Debug, Default)]
pub struct Silence {
    limit: Span,
    sources: BTreeMap<PrincipalName, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// The newest start that spoke.
    boot: u64,
    /// None for a source that is known from the log alone, until time passes for the first time.
    spoke_at: Option<Timestamp>,
    /// This start has said that it ends.
    has_ended: bool,
    /// Its silence is recorded.
    is_silent: bool,
}

impl Silence {
    /// Begins to listen, to those who stand in the log too.
    pub fn listening(self, limit: Span) -> Self {
        Self { limit, ..self }
    }

    /// A fact that stands in the log.
    pub fn remember(&mut self, source: PrincipalName, boot: u64, is_last: bool) {
        if let Some(heard) = self.heard(source, boot) {
            heard.has_ended |= is_last;
        }
    }

    /// A fact is recorded. One that came again does not count: anybody could bring it for ever. Nor
    /// does a fact count for later than its source sealed it, or whoever keeps facts back would only
    /// have to let one through now and then; except for the first one that is heard of a source, which
    /// may come from a backlog.
    pub fn spoke(&mut self, fact: &Fact, received_at: Timestamp) {
        let (limit, header) = (self.limit, &fact.header);
        let Some(heard) = self.heard(header.source, header.boot) else {
            return;
        };
        let at = match heard.spoke_at {
            None => received_at,
            Some(before) => before.max(received_at.min(header.issued_at)),
        };
        heard.spoke_at = Some(at);
        heard.has_ended |= fact.is_last;
        heard.is_silent &= received_at.since(at) >= limit && !heard.has_ended;
    }

    /// What is known of a source; `None` when the fact belongs to an earlier start, whose end has
    /// nothing to say about the present.
    fn heard(&mut self, source: PrincipalName, boot: u64) -> Option<&mut Heard> {
        let heard = self.sources.entry(source).or_insert(Heard {
            boot,
            spoke_at: None,
            has_ended: false,
            is_silent: false,
        });
        if boot > heard.boot {
            heard.boot = boot;
            heard.has_ended = false;
        }
        (boot == heard.boot).then_some(heard)
    }

    /// Records who has fallen silent, once for each silence.
    pub fn tick(
        &mut self,
        now: Timestamp,
        ledger: &mut Ledger,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        for (&source, heard) in &mut self.sources {
            let since = *heard.spoke_at.get_or_insert(now);
            if heard.is_silent || heard.has_ended || now.since(since) < self.limit {
                continue;
            }
            heard.is_silent = true;
            let boot = heard.boot;
            let own = Own::Silence {
                source,
                boot,
                since,
            };
            ledger.append_own(now, &own, Vec::new(), effects)?;
            effects.alerts.push(Alert::Silence {
                source,
                boot,
                since,
            });
        }
        Ok(())
    }

    /// Every source that has spoken, and whether it is silent now.
    pub fn sources(&self) -> impl Iterator<Item = (PrincipalName, bool)> {
        self.sources
            .iter()
            .map(|(source, heard)| (*source, heard.is_silent))
    }
}

/// Whether a recorded fact says that its source ends. Audit verified it when it recorded it.
pub fn is_last(entry: &Entry<'_>) -> bool {
    // Of a long log only the notices are opened.
    if !entry.subject.ends_with(".notice") {
        return false;
    }
    let Ok((header, body)) = inspect(entry.content) else {
        return false;
    };
    let notice = codec::decode::<Notice>(body, FRAME_LENGTH_MAX);
    header.kind == Notice::KIND && notice.is_ok_and(|notice| notice == Notice::Stopped)
}
