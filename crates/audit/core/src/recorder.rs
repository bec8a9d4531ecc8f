//! The state machine.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{Hash, PrincipalName, Span, Timestamp};
use portcullis_wire::messages::Checkpoint;
use portcullis_wire::{Refusal, SKEW_MAX, Text};

use crate::bus::{Bus, BusPlace};
use crate::chain::{Chain, fact_digest};
use crate::input::{Alert, Effects, Fact, Fault, Input, Path};
use crate::ledger::{Ledger, is_wanted};
use crate::limiter::Limiter;
use crate::line::{Held, LINES_MAX, MISSING_MAX, Recent, Source};
use crate::own::Own;
use crate::position::Place;
use crate::recovery::{Recovery, RecoveryError};
use crate::silence::Silence;

/// While the stream still brings facts, a hole may wait so many times longer: the stream either
/// fills it or passes it.
const PATIENCE: u64 = 12;
/// More sources than there can be services.
const SOURCES_MAX: usize = 64;

/// The bounds of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So many facts of one source are held back at most; the stream brings the rest.
    pub held_facts_max: usize,
    /// And so many bytes of them.
    pub held_bytes_max: usize,
    /// A hole that neither path fills in this time is recorded as a gap.
    pub hole_timeout: Span,
    /// A source of which nothing was recorded for so long is silent.
    pub silence_timeout: Span,
    /// A checkpoint is due this long after the last one, if the log grew.
    pub checkpoint_interval: Span,
    /// So many violations a second are recorded one by one, and as many denials of the bus server.
    pub violations_each_second: u32,
}

/// What the core counted; gaps, violations and denials since the log began, the rest since this start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries in the log, on disk or about to be.
    pub entries: u64,
    /// Entries on disk.
    pub durable: u64,
    /// Facts recorded.
    pub facts: u64,
    /// Facts that came again.
    pub duplicates: u64,
    /// Gaps recorded.
    pub gaps: u64,
    /// Facts that came after they were recorded as missing.
    pub late: u64,
    /// Violations, recorded one by one or in a count.
    pub violations: u64,
    /// Denials of the bus server, recorded one by one or in a count.
    pub bus_denied: u64,
    /// Sources that are silent now.
    pub silent: u64,
    /// Facts that are held back now.
    pub held: u64,
    /// Facts from the bus that were left to the stream, because too many were held back.
    pub left_to_stream: u64,
    /// Receipts given.
    pub receipts: u64,
}

/// The state of the recorder.
#[derive(Clone, Debug)]
pub struct Core {
    settings: Settings,
    ledger: Ledger,
    sources: BTreeMap<PrincipalName, Source>,
    limiter: Limiter,
    bus: Bus,
    silence: Silence,
    counts: Counts,
    /// When the stream last brought anything.
    stream_at: Timestamp,
    checkpoint_at: Timestamp,
    checkpoint_size: u64,
    /// The key that the log names for its checkpoints.
    key: Option<Hash>,
}

impl Core {
    /// Continues the log that `recovery` followed to the end of `chain`.
    ///
    /// # Errors
    /// [`RecoveryError`] when `boot` is not above every earlier start of audit.
    pub fn new(
        settings: Settings,
        me: PrincipalName,
        boot: u64,
        chain: Chain,
        mut recovery: Recovery,
    ) -> Result<Self, RecoveryError> {
        let (gaps, violations, key) = (recovery.gaps, recovery.violations, recovery.key);
        let each_second = settings.violations_each_second;
        let silence = core::mem::take(&mut recovery.silence);
        let silence = silence.listening(settings.silence_timeout);
        let bus = Bus::new(each_second, recovery.bus_place, recovery.bus_denied);
        // An earlier start may have stated all of it already, and a size is stated once only.
        let checkpoint_size = chain.size();
        Ok(Self {
            settings,
            sources: recovery.into_sources(me, boot)?,
            ledger: Ledger::new(me, boot, chain),
            limiter: Limiter::new(each_second),
            bus,
            silence,
            counts: Counts {
                gaps,
                violations,
                ..Counts::default()
            },
            stream_at: Timestamp(0),
            checkpoint_at: Timestamp(0),
            checkpoint_size,
            key,
        })
    }

    /// What it counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let silent = self.silence.sources().filter(|(_, silent)| *silent).count();
        let held: usize = self.sources.values().map(|source| source.held).sum();
        Counts {
            entries: self.ledger.size(),
            durable: self.ledger.durable().0,
            bus_denied: self.bus.denied,
            silent: u64::try_from(silent).unwrap_or(u64::MAX),
            held: u64::try_from(held).unwrap_or(u64::MAX),
            ..self.counts
        }
    }

    /// The key that the log names for its next checkpoint.
    #[must_use]
    pub const fn key(&self) -> Option<Hash> {
        self.key
    }

    /// Every source that has spoken, and whether it is silent now.
    pub fn sources(&self) -> impl Iterator<Item = (PrincipalName, bool)> {
        self.silence.sources()
    }

    /// How far the bus server's log is recorded; `None` when it never was followed.
    #[must_use]
    pub const fn bus_place(&self) -> Option<BusPlace> {
        self.bus.place()
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`Fault`] when the core cannot trust its own state; nothing may be done any more.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Result<Effects, Fault> {
        let mut effects = Effects::default();
        match input {
            Input::Started { version, cut } => {
                let own = Own::Started { version, cut };
                self.ledger
                    .append_own(now, &own, Vec::new(), &mut effects)?;
            }
            Input::Key { key } if self.key == Some(key) => {}
            Input::Key { key } => {
                // No checkpoint before the one that covers this entry.
                self.checkpoint_size = self.ledger.size();
                let own = Own::Key { key };
                self.ledger
                    .append_own(now, &own, Vec::new(), &mut effects)?;
                self.key = Some(key);
            }
            Input::Fact { fact, path } => self.fact(now, fact, path, &mut effects)?,
            Input::Refused {
                subject,
                code,
                bytes,
                path,
            } => {
                self.note_path(now, path);
                self.violation(now, &subject, code, &bytes, token(path), &mut effects)?;
            }
            Input::Bus { said, place } => {
                self.bus
                    .take(now, said, place, &mut self.ledger, &mut effects)?;
            }
            Input::Durable { size } => self.ledger.set_durable(now, size, &mut effects)?,
            Input::Tick => self.tick(now, &mut effects)?,
            Input::Ending => self.checkpoint(now, &mut effects),
        }
        let receipts = u64::try_from(effects.receipts.len()).unwrap_or(u64::MAX);
        self.counts.receipts = self.counts.receipts.saturating_add(receipts);
        Ok(effects)
    }

    fn note_path(&mut self, now: Timestamp, path: Path) {
        if is_stream(path) {
            self.stream_at = now;
        }
    }

    fn fact(
        &mut self,
        now: Timestamp,
        fact: Fact,
        path: Path,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        self.note_path(now, path);
        let (name, boot, seq) = (fact.header.source, fact.header.boot, fact.header.seq);
        let is_new = !self.sources.contains_key(&name);
        let refused = if is_new && self.sources.len() >= SOURCES_MAX {
            Some("TOO_MANY_SOURCES")
        } else if fact.header.issued_at > now.plus(SKEW_MAX) {
            // Its start may be as far ahead, and no later one would be taken for a new one.
            Some(Refusal::Future.code())
        } else {
            let source = self.sources.entry(name).or_default();
            source.refuses(boot, is_stream(path))
        };
        if let Some(code) = refused {
            return self.conflict(now, &fact, code, path, effects);
        }
        self.open_line(now, name, boot, effects)?;
        if self.place(name, boot, seq) == Place::Ahead {
            if !is_stream(path) {
                return self.hold(now, fact, path, effects);
            }
            // The stream has all facts in the order of their places: it has passed the hole.
            self.settle(now, name, boot, seq, effects)?;
        }
        match self.place(name, boot, seq) {
            Place::Next => {
                self.record(now, fact, path, effects)?;
                self.release(now, name, boot, effects)
            }
            Place::Missing => {
                self.counts.late = self.counts.late.saturating_add(1);
                effects.alerts.push(Alert::Late {
                    source: name,
                    boot,
                    seq,
                });
                self.record(now, fact, path, effects)
            }
            Place::Past => self.again(now, fact, path, effects),
            // Settling ends at the fact itself, so that nothing is ahead any more.
            Place::Invalid | Place::Ahead => {
                self.conflict(now, &fact, "INVALID_SEQUENCE", path, effects)
            }
        }
    }

    fn place(&self, name: PrincipalName, boot: u64, seq: u64) -> Place {
        let line = self
            .sources
            .get(&name)
            .and_then(|source| source.lines.get(&boot));
        line.map_or(Place::Invalid, |line| line.position.place(seq))
    }

    /// Makes sure that the start of the source is kept track of, at the expense of the oldest.
    fn open_line(
        &mut self,
        now: Timestamp,
        name: PrincipalName,
        boot: u64,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let Some(source) = self.sources.get_mut(&name) else {
            return Ok(());
        };
        if source.lines.contains_key(&boot) {
            return Ok(());
        }
        source.lines.entry(boot).or_default().advanced_at = now;
        if source.lines.len() <= LINES_MAX {
            return Ok(());
        }
        let Some((&oldest, line)) = source.lines.first_key_value() else {
            return Ok(());
        };
        if let Some((&last, _)) = line.held.last_key_value() {
            self.settle(now, name, oldest, last.saturating_add(1), effects)?;
        }
        if let Some(source) = self.sources.get_mut(&name) {
            source.lines.remove(&oldest);
            source.forgotten = Some(oldest);
        }
        Ok(())
    }

    /// Records a fact at the place that is due or missing.
    fn record(
        &mut self,
        received_at: Timestamp,
        fact: Fact,
        path: Path,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let (name, boot, seq) = (fact.header.source, fact.header.boot, fact.header.seq);
        self.silence.spoke(&fact, received_at);
        let recorded = self
            .ledger
            .append_fact(received_at, fact, token(path), effects)?;
        self.counts.facts = self.counts.facts.saturating_add(1);
        let line = self
            .sources
            .get_mut(&name)
            .and_then(|source| source.lines.get_mut(&boot));
        if let Some(line) = line {
            line.position.record(seq);
            line.advanced_at = line.advanced_at.max(received_at);
            let stream = is_stream(path);
            line.remember(
                seq,
                Recent {
                    recorded,
                    live: !stream,
                    stream,
                },
            );
        }
        Ok(())
    }

    /// Records what was held back and is due now.
    fn release(
        &mut self,
        now: Timestamp,
        name: PrincipalName,
        boot: u64,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        while let Some(held) = self
            .sources
            .get_mut(&name)
            .and_then(|source| source.release(boot))
        {
            self.record(held.received_at, held.fact, Path::Live, effects)?;
        }
        let line = self
            .sources
            .get_mut(&name)
            .and_then(|source| source.lines.get_mut(&boot));
        if let Some(line) = line {
            line.advanced_at = now;
        }
        Ok(())
    }

    /// Records everything before place `end` that neither is recorded nor held back as missing, and
    /// releases what is held back.
    fn settle(
        &mut self,
        now: Timestamp,
        name: PrincipalName,
        boot: u64,
        end: u64,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        loop {
            self.release(now, name, boot, effects)?;
            let line = self
                .sources
                .get_mut(&name)
                .and_then(|source| source.lines.get_mut(&boot));
            let Some(line) = line else { return Ok(()) };
            let from = line.position.next();
            let held = line.held.first_key_value().map_or(end, |(seq, _)| *seq);
            let to = held.min(end).saturating_sub(1);
            // Everything before the end is recorded, or the end is no place at all.
            if from >= end || !line.position.skip(from, to) {
                return Ok(());
            }
            line.position.keep_missing(MISSING_MAX);
            self.counts.gaps = self.counts.gaps.saturating_add(1);
            let own = Own::Gap {
                source: name,
                boot,
                from,
                to,
            };
            self.ledger.append_own(now, &own, Vec::new(), effects)?;
            effects.alerts.push(Alert::Gap {
                source: name,
                boot,
                from,
                to,
            });
        }
    }

    /// Keeps a fact until its turn; the stream has it too.
    fn hold(
        &mut self,
        now: Timestamp,
        fact: Fact,
        path: Path,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let (name, boot, seq) = (fact.header.source, fact.header.boot, fact.header.seq);
        let Some(source) = self.sources.get_mut(&name) else {
            return Ok(());
        };
        let held = source.lines.get(&boot).and_then(|line| line.held.get(&seq));
        if let Some(held) = held {
            if held.fact.frame != fact.frame {
                return self.conflict(now, &fact, "SEQUENCE_CONFLICT", path, effects);
            }
            self.counts.duplicates = self.counts.duplicates.saturating_add(1);
            return Ok(());
        }
        let bytes = source.held_bytes.saturating_add(fact.frame.len());
        if source.held >= self.settings.held_facts_max || bytes > self.settings.held_bytes_max {
            self.counts.left_to_stream = self.counts.left_to_stream.saturating_add(1);
            return Ok(());
        }
        source.hold(
            boot,
            Held {
                fact,
                received_at: now,
            },
        );
        Ok(())
    }

    /// A fact at a place that is recorded.
    fn again(
        &mut self,
        now: Timestamp,
        fact: Fact,
        path: Path,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let (name, boot, seq) = (fact.header.source, fact.header.boot, fact.header.seq);
        let line = self
            .sources
            .get_mut(&name)
            .and_then(|source| source.lines.get_mut(&boot));
        let recent = line.and_then(|line| line.recent.get_mut(&seq));
        if let Some(recent) = recent {
            if !self.ledger.is_same(&recent.recorded, &fact) {
                return self.conflict(now, &fact, "SEQUENCE_CONFLICT", path, effects);
            }
            // Each path brings a fact once. On the same path again, somebody missed the receipt.
            let seen = if is_stream(path) {
                &mut recent.stream
            } else {
                &mut recent.live
            };
            let was_seen = core::mem::replace(seen, true);
            let receipt = self.ledger.receipt_again(&recent.recorded, fact);
            let wanted = receipt.filter(|due| was_seen && is_wanted(due, now));
            effects.receipts.extend(wanted);
        }
        self.counts.duplicates = self.counts.duplicates.saturating_add(1);
        self.ledger.acknowledge(token(path), effects);
        Ok(())
    }

    fn conflict(
        &mut self,
        now: Timestamp,
        fact: &Fact,
        code: &'static str,
        path: Path,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        self.violation(
            now,
            &fact.header.subject,
            code,
            &fact.frame,
            token(path),
            effects,
        )
    }

    fn violation(
        &mut self,
        now: Timestamp,
        subject: &str,
        code: &'static str,
        bytes: &[u8],
        token: Option<u64>,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        self.counts.violations = self.counts.violations.saturating_add(1);
        if !self.limiter.admit(now, token) {
            return Ok(());
        }
        let (subject, code) = (Text::lossy(subject), Text::lossy(code));
        let frame = fact_digest(bytes);
        let own = Own::Violation {
            subject: subject.clone(),
            code: code.clone(),
            frame,
        };
        self.ledger
            .append_own(now, &own, token.into_iter().collect(), effects)?;
        effects.alerts.push(Alert::Violation { subject, code });
        Ok(())
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Effects) -> Result<(), Fault> {
        if let Some(suppressed) = self.limiter.overdue(now) {
            let (count, since) = (suppressed.count, suppressed.since);
            let own = Own::Suppressed { count, since };
            self.ledger
                .append_own(now, &own, suppressed.tokens, effects)?;
            effects.alerts.push(Alert::Suppressed { count });
        }
        self.bus.tick(now, &mut self.ledger, effects)?;
        while let Some((name, boot, end)) = self.overdue_hole(now) {
            self.settle(now, name, boot, end, effects)?;
        }
        self.silence.tick(now, &mut self.ledger, effects)?;
        if now.since(self.checkpoint_at) >= self.settings.checkpoint_interval {
            self.checkpoint(now, effects);
        }
        Ok(())
    }

    /// States what is on disk, if that is more than was stated before.
    fn checkpoint(&mut self, now: Timestamp, effects: &mut Effects) {
        let (size, head) = self.ledger.durable();
        if size > self.checkpoint_size {
            effects.checkpoint = Some(Checkpoint {
                size,
                head,
                at: now,
            });
            self.checkpoint_size = size;
            self.checkpoint_at = now;
        }
    }

    /// A hole that has stood still for too long, and the fact behind it.
    fn overdue_hole(&self, now: Timestamp) -> Option<(PrincipalName, u64, u64)> {
        let timeout = self.settings.hole_timeout;
        let patience = Span(timeout.0.saturating_mul(PATIENCE));
        let stream_is_silent = now.since(self.stream_at) >= timeout;
        let allowed = if stream_is_silent { timeout } else { patience };
        self.sources
            .iter()
            .filter(|(_, source)| source.held > 0)
            .find_map(|(name, source)| {
                source.lines.iter().find_map(|(boot, line)| {
                    let (end, since) = line.hole()?;
                    (now.since(since) >= allowed).then_some((*name, *boot, end))
                })
            })
    }
}

const fn is_stream(path: Path) -> bool {
    matches!(path, Path::Stream { .. })
}

const fn token(path: Path) -> Option<u64> {
    match path {
        Path::Live => None,
        Path::Stream { token } => Some(token),
    }
}

#[cfg(test)]
impl Core {
    /// What is kept of a source.
    pub(crate) fn source(&self, name: &str) -> Source {
        self.sources
            .iter()
            .find(|(source, _)| source.as_str() == name)
            .map(|(_, source)| source.clone())
            .unwrap_or_default()
    }
}
