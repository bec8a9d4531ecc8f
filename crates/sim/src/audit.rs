//! The stream of facts, and audit's shell.

use std::collections::{BTreeMap, BTreeSet};

use audit_core::{ChainKey, Core, Fact, Follower, Input, Path, Recovery};
use portcullis_domain::{EnvelopeId, Timestamp};
use portcullis_wire::subjects::{
    BRAIN_NOTICE, CHECKPOINT, DECISION, EXECUTION_NOTICE, FILL, PERMIT_TAKEN, RECEIPT, REPORT,
    RISK_GUARD_NOTICE, SIGNED, SIGNER_NOTICE, VERDICT,
};
use portcullis_wire::{Refusal, Sealed, Text};

use crate::cast::{Seat, Who};
use crate::faults::{JournalPoint, Point};
use crate::log::payloads;
use crate::planted::Bug;
use crate::settings::{CHAIN_KEY, audit_settings};
use crate::sure;
use crate::world::{Event, MS, World};

/// How often audit asks the stream for more.
const PULL_EVERY: u64 = 20 * MS;
/// So much of the stream may be under way without acknowledgement.
const UNACKNOWLEDGED_MAX: usize = 64;
/// What is not acknowledged by then comes again.
const AGAIN_AFTER: u64 = 2_000 * MS;

/// The stream: everything once, in the order it came, for ever.
#[derive(Debug, Default)]
pub struct Stream {
    pub entries: Vec<(String, Vec<u8>)>,
    ids: BTreeSet<EnvelopeId>,
    /// Everything before is acknowledged.
    pub floor: usize,
    beyond: BTreeSet<usize>,
}

impl Stream {
    /// Stores a fact; `false` when it was there already.
    pub fn store(&mut self, sealed: &Sealed) -> bool {
        let new = self.ids.insert(sealed.id);
        if new {
            self.entries
                .push((sealed.subject.clone(), sealed.frame.clone()));
        }
        new
    }

    fn acknowledge(&mut self, index: usize) {
        if index >= self.floor {
            self.beyond.insert(index);
        }
        while self.beyond.remove(&self.floor) {
            self.floor += 1;
        }
    }
}

/// One life of audit.
#[derive(Debug)]
pub struct AuditLife {
    pub core: Core,
    tokens: BTreeMap<u64, usize>,
    given: BTreeMap<usize, u64>,
    token: u64,
}

fn open_fact(seat: &Seat, subject: &str, frame: &[u8]) -> Result<Fact, Refusal> {
    macro_rules! facts {
        ($($row:ident: $make:path),*) => {
            $(if $row.row.matches(subject) {
                return seat.verifier.open_fact(&$row, subject, frame).map($make);
            })*
        };
    }
    facts!(
        PERMIT_TAKEN: Fact::permit_taken,
        DECISION: Fact::new,
        VERDICT: Fact::new,
        REPORT: Fact::new,
        FILL: Fact::new,
        SIGNED: Fact::new,
        BRAIN_NOTICE: Fact::notice,
        RISK_GUARD_NOTICE: Fact::notice,
        EXECUTION_NOTICE: Fact::notice,
        SIGNER_NOTICE: Fact::notice
    );
    Err(Refusal::Subject)
}

impl World {
    pub(crate) fn start_audit(&mut self, _started_at: Timestamp) {
        let key = sure(ChainKey::from_bytes(&CHAIN_KEY), "a key");
        let mut follower = Follower::new(Some(key.clone()));
        let mut recovery = Recovery::default();
        let mut broken = None;
        for payload in &self.audit_disk.entries {
            match follower.follow(payload) {
                Ok((entry, hash)) => {
                    if let Err(misplaced) = recovery.observe(&entry, hash) {
                        broken = Some(format!("{misplaced:?}"));
                    }
                }
                Err(error) => broken = Some(error.to_string()),
            }
        }
        if let Some(broken) = broken {
            return self.violated(format!("audit's log does not hold: {broken}"));
        }
        let boot = self.seat(Who::Audit).boot;
        let chain = follower.into_chain(key);
        let core = Core::new(audit_settings(), Who::Audit.name(), boot, chain, recovery);
        match core {
            Ok(core) => {
                self.audit = Some(AuditLife {
                    core,
                    tokens: BTreeMap::new(),
                    given: BTreeMap::new(),
                    token: 0,
                });
            }
            Err(error) => return self.violated(format!("audit does not start: {error}")),
        }
        self.check_receipts();
        self.audit_step(Input::Started {
            version: Text::lossy("sim"),
            cut: 0,
        });
        self.schedule(PULL_EVERY, Event::Pull(boot));
    }

    pub(crate) fn audit_receives(&mut self, subject: &str, frame: &[u8]) {
        self.audit_fact(subject, frame, Path::Live);
    }

    fn audit_fact(&mut self, subject: &str, frame: &[u8], path: Path) {
        match open_fact(self.seat(Who::Audit), subject, frame) {
            Ok(fact) => self.audit_step(Input::Fact { fact, path }),
            Err(refusal) => self.refused(Who::Audit, subject, refusal),
        }
    }

    /// What is due of the stream, in its order, and again what was not acknowledged.
    pub(crate) fn pull_facts(&mut self) {
        let boot = self.seat(Who::Audit).boot;
        self.schedule(PULL_EVERY, Event::Pull(boot));
        if self.isolated(Who::Audit) {
            return;
        }
        let (floor, now) = (self.stream.floor, self.now);
        let end = self.stream.entries.len().min(floor + UNACKNOWLEDGED_MAX);
        for index in floor..end {
            if self.stream.beyond.contains(&index) {
                continue;
            }
            let Some((subject, frame)) = self.stream.entries.get(index).cloned() else {
                return;
            };
            let Some(life) = self.audit.as_mut() else {
                return;
            };
            match life.given.get(&index) {
                Some(at) if now - at < AGAIN_AFTER => continue,
                Some(_) => self.trace.count("stream brings a fact again"),
                None => {}
            }
            life.given.insert(index, now);
            life.token += 1;
            let token = life.token;
            life.tokens.insert(token, index);
            self.audit_fact(&subject, &frame, Path::Stream { token });
            if !self.lives(Who::Audit, boot) {
                return;
            }
        }
    }

    pub(crate) fn audit_step(&mut self, input: Input) {
        let now = self.clock(Who::Audit);
        let Some(life) = self.audit.as_mut() else {
            return;
        };
        let effects = match life.core.step(now, input) {
            Ok(effects) => effects,
            Err(fault) => return self.violated(format!("audit: {fault}")),
        };
        if !effects.records.is_empty() {
            if self.journal_point(Who::Audit, JournalPoint::BeforeAppend) {
                return;
            }
            self.audit_disk.entries.extend(payloads(&effects.records));
            self.sync_later(Who::Audit);
            if self.crash_point(Who::Audit, Point::BeforeSync)
                || self.journal_point(Who::Audit, JournalPoint::Appended)
            {
                return;
            }
        }
        for due in effects.receipts {
            if self.has(Bug::ForgesReceipts) {
                break;
            }
            self.oracle.receipts.push(due.receipt);
            self.check_receipt(&due.receipt);
            let signed = self.deployment.signed("audit", &due.receipt);
            self.publish(Who::Audit, &RECEIPT, None, &signed, Some(&due.cause));
            self.trace.count("receipt given");
        }
        if self.crash_point(Who::Audit, Point::BeforeAnswer) {
            return;
        }
        for token in effects.acknowledge {
            let index = self
                .audit
                .as_mut()
                .and_then(|life| life.tokens.remove(&token));
            if let Some(index) = index {
                // The acknowledgement may be lost like everything else.
                if self.chaos() && self.random.chance(self.plan.drop) {
                    self.trace.count("fault: acknowledgement lost");
                } else {
                    self.stream.acknowledge(index);
                }
            }
        }
        if let Some(checkpoint) = effects.checkpoint {
            let signed = self.deployment.signed("audit", &checkpoint);
            self.publish(Who::Audit, &CHECKPOINT, None, &signed, None);
        }
        for alert in effects.alerts {
            self.say(format_args!("audit: {alert:?}"));
            self.alerted(&alert);
        }
    }
}
