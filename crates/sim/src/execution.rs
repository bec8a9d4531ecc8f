//! Execution's shell: the same order of journal, facts, signer and venue as the real one.

use std::collections::{BTreeMap, VecDeque};

use execution_core::{Effect, Effects, Execution, Input, Kept, Record, Requests};
use portcullis_domain::{EnvelopeId, KillCause, KillState, OrderId, Reason, Timestamp};
use portcullis_wire::messages::{Notice, PermitTaken, Receipt};
use portcullis_wire::subjects::{
    BOOK, EXECUTION_NOTICE, EXECUTION_STATUS, FILL, HEARTBEAT, KILL, PERMIT, PERMIT_TAKEN, RECEIPT,
    REPORT, SIGNATURE, TRADE,
};
use portcullis_wire::{Header, Received, Sealed, Text, codec};

use crate::accounts::Reading;
use crate::cast::{Outgoing, Who};
use crate::clocks::MEASURE_EVERY;
use crate::faults::{JournalPoint, Point};
use crate::journal::Entry;
use crate::planted::Bug;
use crate::recovery::{Acknowledgements, History};
use crate::requests::Call;
use crate::settings::execution_settings;
use crate::sure;
use crate::world::{Event, MS, World};

/// How often time passes for the core.
pub const TICK: u64 = 50 * MS;

/// Who waits for a signature.
#[derive(Debug)]
pub enum Waiting {
    Order { order: OrderId, timestamp_ms: u64 },
    Call(u64),
}

/// Something that waits for the disk.
#[derive(Debug)]
struct Written {
    after: usize,
    facts: Vec<(u64, Sealed)>,
    prepared: Vec<OrderId>,
}

/// One life of the process.
#[derive(Debug)]
pub struct ExecutionLife {
    pub core: Execution,
    stories: BTreeMap<OrderId, Header>,
    pub waiting: BTreeMap<EnvelopeId, Waiting>,
    pub calls: BTreeMap<u64, Call>,
    pub requests: Requests,
    pub facts: u64,
    written: VecDeque<Written>,
    pub reading: Option<Reading>,
    pub acknowledgements: Acknowledgements,
    /// Whether the journal is to be begun anew.
    pub wants_anew: bool,
    ticks: u64,
    pub stopping: bool,
    /// The venue's clock minus execution's, as it was measured last, in microseconds.
    pub venue_offset: i64,
    /// Sealed permits, where a bug gave the core other ones.
    permits: BTreeMap<OrderId, Vec<u8>>,
}

impl ExecutionLife {
    /// An order that is over waits for no signature; where its time ran out, the signer was late.
    fn forget(&mut self, over: OrderId, reason: Option<Reason>) {
        let ran_out = matches!(
            reason,
            Some(Reason::NoSignature | Reason::NoReceipt | Reason::JournalUnwritable)
        );
        let failed = &mut self.requests.signer.failed;
        self.waiting.retain(|_, waiting| {
            let waits = matches!(waiting, Waiting::Order { order, .. } if *order == over);
            *failed += u64::from(waits && ran_out);
            !waits
        });
    }
}

/// What a shell replays that loosens the limit.
fn forget_limits(records: &mut Vec<Record>) {
    records.retain(|record| !matches!(record, Record::LimitSeen(_)));
    for record in records {
        if let Record::Kept(Kept::Day { limit, .. }) = record {
            *limit = None;
        }
    }
}

fn pretended_receipt(order: OrderId, fact: portcullis_domain::Hash) -> Receipt {
    Receipt {
        fact,
        order,
        index: 1,
        entry: portcullis_domain::Hash([9; 32]),
    }
}

impl World {
    pub(crate) fn start_execution(&mut self, started_at: Timestamp) {
        let who = Who::Execution;
        let mut settings = execution_settings(self.plan.daily_loss_max);
        if self.has(Bug::LoosensLimitOnRestart) && !self.execution_disk.entries.is_empty() {
            settings = execution_settings(self.plan.daily_loss_max * 100);
        }
        self.recover_journal();
        let mut core = Execution::new(settings, self.execution_latch, started_at);
        let History {
            mut records,
            unacknowledged,
            facts,
        } = History::read(&self.execution_disk.entries);
        self.oracle.restart(self.now);
        self.oracle.watch.killed_at = (!self.execution_latch.may_trade()).then_some(self.now);
        if self.has(Bug::LoosensLimitOnRestart) {
            forget_limits(&mut records);
        }
        self.follow_history();
        if self.has(Bug::ResetsDayOnRestart) {
            records = self.day_begun_again(&core, &records);
            records.iter().for_each(|record| self.oracle.record(record));
        }
        for record in &records {
            if let Err(fault) = core.replay(record) {
                return self.violated(format!("execution does not replay its journal: {fault}"));
            }
        }
        self.execution = Some(ExecutionLife {
            core,
            stories: BTreeMap::new(),
            waiting: BTreeMap::new(),
            calls: BTreeMap::new(),
            requests: Requests::default(),
            facts,
            written: VecDeque::new(),
            reading: None,
            acknowledgements: Acknowledgements::new(unacknowledged.iter()),
            wants_anew: false,
            ticks: 0,
            stopping: false,
            venue_offset: 0,
            permits: BTreeMap::new(),
        });
        self.measure_venue_clock();
        if !unacknowledged.is_empty() {
            self.trace.count("facts said again after a restart");
        }
        for (number, sealed) in unacknowledged {
            self.hand_over(who, Some(number), sealed);
        }
        let started = Notice::Started {
            version: Text::lossy("sim"),
            policy: Some(crate::settings::POLICY),
            kill: Some(self.execution_latch),
        };
        self.execution_notice(started);
        let resumed = self
            .execution
            .as_mut()
            .map(|life| life.core.resume(started_at));
        match resumed {
            Some(Ok(effects)) => {
                for record in &effects.records {
                    self.recorded(record);
                }
                if !effects.records.is_empty() {
                    self.trace.count("orders in doubt after a restart");
                }
                self.perform(effects);
            }
            Some(Err(fault)) => self.violated(format!("execution does not resume: {fault}")),
            None => {}
        }
        let boot = self.seat(who).boot;
        self.schedule(20 * MS, Event::Login(boot));
    }

    pub(crate) fn execution_notice(&mut self, notice: Notice) {
        let effects = vec![Effect::Notice(notice)];
        self.perform(Effects {
            records: Vec::new(),
            effects,
        });
    }

    pub(crate) fn execution_receives(&mut self, subject: &str, frame: &[u8]) {
        let who = Who::Execution;
        if PERMIT.row.matches(subject) {
            let now = self.clock(who);
            match self.seat(who).verifier.open_permit(frame, now) {
                Ok((Received::Fresh(permit), Received::Fresh(order))) => {
                    let story = permit.header().clone();
                    if let Some(life) = self.execution.as_mut() {
                        life.stories.entry(order.message().id).or_insert(story);
                    }
                    let (frame, id) = (permit.frame().to_vec(), order.message().id);
                    let (permit, order) = self.resealed_permit(permit, order);
                    if let Some(life) = self.execution.as_mut()
                        && permit.frame() != frame
                    {
                        life.permits.insert(id, frame);
                    }
                    self.execution_step(Input::Permit { permit, order });
                }
                Ok(_) => self.trace.count("duplicate recognised"),
                Err(refusal) => self.refused(who, subject, refusal),
            }
        } else if SIGNATURE.row.matches(subject) {
            let opened = self.open(who, &SIGNATURE, subject, frame);
            let Some(verified) = opened.and_then(Received::fresh) else {
                return;
            };
            if let Some(request) = verified.header().causation {
                self.signature(request, verified.message().clone());
            }
        } else if RECEIPT.row.matches(subject) {
            let opened = self.open(who, &RECEIPT, subject, frame);
            let Some(verified) = opened.and_then(Received::fresh) else {
                return;
            };
            let key = self.deployment.verifying("audit");
            match verified.message().verify(&key) {
                Ok(receipt) => self.execution_step(Input::Receipt(receipt)),
                Err(error) => self.violated(format!("execution got a receipt of nobody: {error}")),
            }
        } else if HEARTBEAT.row.matches(subject) {
            let opened = self.open(who, &HEARTBEAT, subject, frame);
            let Some(beat) = opened.and_then(Received::fresh) else {
                return;
            };
            let issued_at = beat.header().issued_at;
            self.oracle.heartbeat = Some((*beat.message(), issued_at, self.clock(who)));
            self.oracle.watch.heard_at = self.now;
            let beat = if self.has(Bug::IgnoresPolicyHash) {
                self.resealed_heartbeat(*beat.message())
            } else {
                beat
            };
            self.execution_step(Input::Heartbeat(beat));
        } else if KILL.row.matches(subject) {
            if let Some(command) = self.open(who, &KILL, subject, frame)
                && self.kill_holds(&command.either())
            {
                self.pull(KillCause::Operator, Text::lossy("simulated"));
            }
        } else if BOOK.row.matches(subject) {
            let opened = self.open(who, &BOOK, subject, frame);
            let Some(book) = opened.and_then(Received::fresh) else {
                return;
            };
            self.oracle.book(&book);
            self.execution_step(Input::Book(book));
        } else if TRADE.row.matches(subject)
            && let Some(trade) = self
                .open(who, &TRADE, subject, frame)
                .and_then(Received::fresh)
        {
            self.oracle.trade(&trade);
            self.execution_step(Input::Trade(trade));
        }
    }

    /// Latches on disk, then lets the core act on it: only that is an acknowledgement.
    fn pull(&mut self, cause: KillCause, detail: Text) {
        if self.crash_point(Who::Execution, Point::BeforeLatch) {
            return;
        }
        if cause == KillCause::Inconsistent && self.options.bug.is_none() {
            let detail = detail.as_str();
            self.violated(format!("execution contradicts an honest venue: {detail}"));
        }
        self.trace.count(match cause {
            KillCause::HardLoss => "hard loss limit pulled the switch",
            _ => "kill acknowledged by execution",
        });
        if !self.has(Bug::ForgetsKill) {
            self.execution_latch = KillState::Triggered;
        }
        self.oracle.execution_killed = true;
        self.oracle.watch.killed_at.get_or_insert(self.now);
        self.execution_step(Input::Killed { cause, detail });
    }

    pub(crate) fn execution_step(&mut self, input: Input) {
        let now = self.clock(Who::Execution);
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        match life.core.step(now, input) {
            Ok(effects) => {
                for record in &effects.records {
                    self.recorded(record);
                }
                self.perform(effects);
            }
            Err(fault) => self.violated(format!("execution: {fault}")),
        }
    }

    fn perform(&mut self, step: Effects) {
        let who = Who::Execution;
        let boot = self.seat(who).boot;
        let (mut facts, mut prepared, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        for effect in step.effects {
            match effect {
                Effect::Prepare { order, permit } => {
                    let life = self.execution.as_mut();
                    let sealed = life.and_then(|life| life.permits.remove(&order.id));
                    let permit = sealed.unwrap_or(permit);
                    let message = PermitTaken {
                        order: order.id,
                        permit: permit.clone(),
                    };
                    let cause = self.story(&order.id);
                    let sealed = self.seal(who, &PERMIT_TAKEN, None, &message, cause.as_ref());
                    let fact = audit_core::fact_digest(&sealed.frame);
                    if self.has(Bug::ForgesReceipts) {
                        self.forge_receipt(order.id, fact);
                    }
                    let sealed_input = Input::FactSealed {
                        order: order.id,
                        fact,
                    };
                    let now = self.clock(who);
                    if let Some(life) = self.execution.as_mut()
                        && let Err(fault) = life.core.step(now, sealed_input)
                    {
                        return self.violated(format!("execution: {fault}"));
                    }
                    prepared.push((facts.len(), order, permit, fact));
                    facts.push(sealed);
                }
                Effect::Report(report) => {
                    let cause = self.story(&report.order);
                    self.trace.count(match report.status {
                        portcullis_domain::OrderStatus::Accepted => "report: accepted",
                        portcullis_domain::OrderStatus::Sent => "report: sent",
                        portcullis_domain::OrderStatus::Unknown => "report: in doubt",
                        portcullis_domain::OrderStatus::Open => "report: open",
                        portcullis_domain::OrderStatus::Filled => "report: filled",
                        portcullis_domain::OrderStatus::Cancelled => "report: cancelled",
                        portcullis_domain::OrderStatus::Rejected => "report: rejected",
                        portcullis_domain::OrderStatus::Refused => "report: refused",
                    });
                    let (order, status, reason) = (report.order, report.status, report.reason);
                    if let Some(reason) = reason {
                        self.trace.count(reason.code());
                    }
                    if reason == Some(Reason::NeverArrived) {
                        self.trace.count("order that never arrived was given up");
                    }
                    self.say(format_args!("execution: order {order} {status} {reason:?}"));
                    let name = report.strategy.to_string();
                    facts.push(self.seal(who, &REPORT, Some(&name), &report, cause.as_ref()));
                    if status.is_terminal()
                        && let Some(life) = self.execution.as_mut()
                    {
                        life.stories.remove(&order);
                        life.forget(order, reason);
                    }
                }
                Effect::Fill(strategy, fill) => {
                    self.trace.count("fill booked");
                    let cause = self.story(&fill.order);
                    let name = strategy.to_string();
                    facts.push(self.seal(who, &FILL, Some(&name), &fill, cause.as_ref()));
                }
                Effect::Notice(notice) => {
                    facts.push(self.seal(who, &EXECUTION_NOTICE, None, &notice, None));
                }
                Effect::Place { .. }
                | Effect::CancelAll { .. }
                | Effect::CancelForeign { .. }
                | Effect::Query { .. }
                | Effect::Reconcile
                | Effect::Latch(..) => actions.push(effect),
            }
        }
        if !step.records.is_empty() || !facts.is_empty() {
            if self.journal_point(who, JournalPoint::BeforeAppend) {
                return;
            }
            let encode = |record: &Record| sure(codec::encode(record), "a record");
            let records = step.records.iter().map(encode).collect();
            let entry = Entry::Step {
                records,
                facts: facts.clone(),
            };
            self.execution_disk.entries.push(entry);
            let after = self.execution_disk.entries.len();
            if self.crash_point(who, Point::BeforeSync)
                || self.journal_point(who, JournalPoint::Appended)
            {
                return;
            }
            let Some(life) = self.execution.as_mut() else {
                return;
            };
            let mut numbered: Vec<(u64, Sealed)> = (life.facts..).zip(facts).collect();
            life.facts += numbered.len() as u64;
            life.acknowledgements.journaled(&numbered);
            let mut orders = Vec::new();
            for (index, order, permit, fact) in prepared.into_iter().rev() {
                let numbered = numbered.remove(index);
                self.say_early(numbered);
                orders.push(order.id);
                self.ask_for_order(&order, permit);
                if self.has(Bug::IgnoresReceipt) {
                    let receipt = pretended_receipt(order.id, fact);
                    self.execution_step(Input::Receipt(receipt));
                }
                if self.has(Bug::SendsBeforeSync) {
                    self.execution_step(Input::Durable(order.id));
                }
            }
            let written = Written {
                after,
                facts: numbered,
                prepared: orders,
            };
            if let Some(life) = self.execution.as_mut() {
                life.written.push_back(written);
            }
            self.sync_later(who);
        }
        for action in actions {
            if !self.lives(who, boot) {
                return;
            }
            match action {
                Effect::Place { order, ticket } => self.place(order, ticket),
                Effect::CancelAll { symbol } if self.does_not_cancel(symbol) => {}
                Effect::CancelAll { symbol } => self.cancel_all(symbol),
                // The settings say that foreign orders are only reported.
                Effect::CancelForeign { .. } => self.trace.count("foreign order cancelled"),
                Effect::Query { order, symbol } => self.query(order, symbol),
                Effect::Reconcile => self.read_account(),
                Effect::Latch(cause, detail) => self.pull(cause, detail),
                Effect::Prepare { .. }
                | Effect::Report(_)
                | Effect::Fill(..)
                | Effect::Notice(_) => {}
            }
        }
    }

    /// The fact of a permit does not wait for its own record to be on disk, only for its turn: facts
    /// go out in the order of their places, or audit takes those it overtook for lost.
    fn say_early(&mut self, (number, sealed): (u64, Sealed)) {
        let overtakes = self.has(Bug::OvertakesFacts);
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        match life.written.back() {
            Some(last) if !overtakes => {
                let written = Written {
                    after: last.after,
                    facts: vec![(number, sealed)],
                    prepared: Vec::new(),
                };
                life.written.push_back(written);
            }
            Some(_) | None => self.hand_over(Who::Execution, Some(number), sealed),
        }
    }

    pub(crate) fn story(&self, order: &OrderId) -> Option<Header> {
        self.execution.as_ref()?.stories.get(order).cloned()
    }

    /// What a compromised audit could do: sign for what it never recorded.
    fn forge_receipt(&mut self, order: OrderId, fact: portcullis_domain::Hash) {
        let receipt = pretended_receipt(order, fact);
        let signed = self.deployment.signed("audit", &receipt);
        self.publish(Who::Audit, &RECEIPT, None, &signed, None);
    }

    /// What is on disk now may be announced.
    pub(crate) fn execution_synced(&mut self) {
        let who = Who::Execution;
        let boot = self.seat(who).boot;
        let before = std::mem::replace(&mut self.oracle.watch.synced, self.execution_disk.synced);
        if self.journal_replaced(before) || self.journal_point(who, JournalPoint::Synced) {
            return;
        }
        loop {
            let synced = self.execution_disk.synced;
            let Some(life) = self.execution.as_mut() else {
                return;
            };
            if life
                .written
                .front()
                .is_none_or(|written| written.after > synced)
            {
                return;
            }
            let Some(written) = life.written.pop_front() else {
                return;
            };
            for (number, sealed) in written.facts {
                self.hand_over(who, Some(number), sealed);
            }
            for order in written.prepared {
                self.execution_step(Input::Durable(order));
                if !self.lives(who, boot) {
                    return;
                }
            }
        }
    }

    /// The stream has these facts.
    pub(crate) fn execution_acknowledged(&mut self, sent: &[Outgoing]) {
        if let Some(life) = self.execution.as_mut() {
            let numbers = sent.iter().filter_map(|fact| fact.number);
            life.acknowledgements.arrived(numbers);
        }
    }

    pub(crate) fn execution_tick(&mut self) {
        let (who, boot) = (Who::Execution, self.seat(Who::Execution).boot);
        if self.has(Bug::AcceptsOldHeartbeat)
            && let Some((beat, ..)) = self.oracle.heartbeat
        {
            let beat = self.resealed_heartbeat(beat);
            self.execution_step(Input::Heartbeat(beat));
        }
        self.execution_step(Input::Tick);
        if !self.lives(who, boot) {
            return;
        }
        let now = self.clock(who);
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        life.ticks += 1;
        if life.ticks.is_multiple_of(10)
            && let Some(before) = life.acknowledgements.reached()
        {
            // Lazily: the next sync takes it along.
            self.execution_disk
                .entries
                .push(Entry::Acknowledged { before });
        }
        self.begin_journal_anew();
        if !self.lives(who, boot) {
            return;
        }
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        if life.ticks.is_multiple_of(5) {
            match life.core.status(now, life.requests) {
                Ok(mut status) => {
                    self.sabotage_status(&mut status);
                    self.check_status(&status);
                    self.trace.count(match status.reason {
                        None => "execution may trade",
                        Some(reason) => reason.code(),
                    });
                    self.publish(who, &EXECUTION_STATUS, None, &status, None);
                }
                Err(fault) => self.violated(format!("execution: {fault}")),
            }
        }
        let Some(ticks) = self.execution.as_ref().map(|life| life.ticks) else {
            return;
        };
        if ticks.is_multiple_of(MEASURE_EVERY / TICK) {
            self.measure_venue_clock();
        }
        if ticks.is_multiple_of(100) {
            self.compare_with_replay();
        }
    }
}
