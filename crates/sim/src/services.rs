//! The shells of brain, risk-guard and signer, and the principals without a core.

use portcullis_domain::{KillCause, KillState, Timestamp};
use portcullis_venue::bybit::Authority;
use portcullis_wire::messages::{Kill, Message, Notice, Outcome, SignAction, SignResponse};
use portcullis_wire::principal::Principal;
use portcullis_wire::subjects::{
    BOOK, BRAIN_NOTICE, CLOSES, DECISION, EXECUTION_STATUS, HEARTBEAT, KILL, ORDER, PERMIT,
    PROPOSAL, REPORT, RISK_GUARD_NOTICE, SIGN, SIGNATURE, SIGNED, SIGNER_NOTICE, Subject, TRADE,
    VERDICT,
};
use portcullis_wire::{Received, Text};
use signer_core::{Answer, Decision, EnclosedPermit};

use crate::cast::Who;
use crate::faults::{JournalPoint, Point};
use crate::settings::{
    QUIET_MAX, READING_SECRET, TRADING_SECRET, policy, reading_key, registry, strategies,
    trading_key,
};
use crate::venue::sign;
use crate::world::World;

/// A signer's answer that waits for its record to be on disk.
#[derive(Debug)]
pub struct Pending {
    pub answer: Answer,
    /// How many records must be synced.
    pub after: usize,
}

impl World {
    pub(crate) fn open<P: Principal, M: Message>(
        &mut self,
        who: Who,
        subject: &Subject<P, M>,
        arrived_on: &str,
        frame: &[u8],
    ) -> Option<Received<M>> {
        let now = self.clock(who);
        match self
            .seat(who)
            .verifier
            .open(subject, arrived_on, frame, now)
        {
            Ok(received) => {
                if matches!(received, Received::Duplicate(_)) {
                    self.trace.count("duplicate recognised");
                }
                Some(received)
            }
            Err(refusal) => {
                self.refused(who, arrived_on, refusal);
                None
            }
        }
    }

    pub(crate) fn start_brain(&mut self, started_at: Timestamp) {
        let settings = brain_core::Settings {
            policy: policy(self.plan.daily_loss_max, self.plan.breakers),
            policy_hash: self.policy,
            strategies: registry(),
            orders_pending_max: 500,
            started_at,
        };
        self.brain = Some(brain_core::Brain::new(settings));
        self.notice_of(
            Who::Brain,
            Notice::Started {
                version: Text::lossy("sim"),
                policy: Some(self.policy),
                kill: None,
            },
        );
    }

    pub(crate) fn start_guard(&mut self, started_at: Timestamp) {
        let settings = risk_guard_core::Settings {
            policy: policy(self.plan.daily_loss_max, self.plan.breakers),
            policy_hash: self.policy,
            strategies: strategies(),
            orders_per_second_max: 100,
            orders_pending_max: 500,
            orders_remembered_max: 5_000,
            kill: self.guard_latch,
            started_at,
        };
        let mut guard = risk_guard_core::RiskGuard::new(settings);
        for record in &self.guard_disk.entries {
            guard.restore(record);
        }
        let anew = guard.restored(started_at, true);
        self.guard_keeps(anew, true);
        self.guard = Some(guard);
        self.notice_of(
            Who::Guard,
            Notice::Started {
                version: Text::lossy("sim"),
                policy: Some(self.policy),
                kill: Some(self.guard_latch),
            },
        );
    }

    pub(crate) fn start_signer(&mut self) {
        let operators = self.deployment.operators();
        let config = signer_core::Config {
            realm: self.deployment.realm(),
            operators,
            trading_key: trading_key(),
            reading_key: reading_key(),
            orders_per_second_max: 200,
            orders_max: 100_000,
        };
        let engine = signer_core::Engine::new(config, self.signer_latch, &self.signer_disk.entries);
        match engine {
            Ok(engine) => self.signer = Some(engine),
            Err(fault) => self.violated(format!("signer does not read its journal: {fault:?}")),
        }
        self.notice_of(
            Who::Signer,
            Notice::Started {
                version: Text::lossy("sim"),
                policy: None,
                kill: Some(self.signer_latch),
            },
        );
    }

    /// A sign of life where nothing else was put on record for a while: execution's by way of its
    /// journal, audit's not at all.
    pub(crate) fn show_life(&mut self, who: Who) {
        let now = self.now;
        let seat = self.seat(who);
        let due = seat.up && seat.outbox.is_empty() && now - seat.spoke_at >= QUIET_MAX;
        if !due || who == Who::Audit {
            return;
        }
        seat.spoke_at = now;
        self.trace.count("sign of life");
        match who {
            Who::Execution => self.execution_notice(Notice::Alive),
            _ => self.notice_of(who, Notice::Alive),
        }
    }

    fn notice_of(&mut self, who: Who, notice: Notice) {
        match who {
            Who::Brain => self.fact(who, &BRAIN_NOTICE, None, &notice, None),
            Who::Guard => self.fact(who, &RISK_GUARD_NOTICE, None, &notice, None),
            _ => self.fact(who, &SIGNER_NOTICE, None, &notice, None),
        }
    }

    // --- brain ---------------------------------------------------------------------------------

    pub(crate) fn brain_receives(&mut self, subject: &str, frame: &[u8]) {
        use brain_core::Input;
        let who = Who::Brain;
        macro_rules! fresh {
            ($row:ident, $input:path) => {
                if $row.row.matches(subject) {
                    if let Some(message) = self
                        .open(who, &$row, subject, frame)
                        .and_then(Received::fresh)
                    {
                        self.brain_step($input(message));
                    }
                    return;
                }
            };
        }
        fresh!(PROPOSAL, Input::Proposal);
        fresh!(BOOK, Input::Book);
        fresh!(EXECUTION_STATUS, Input::Status);
        fresh!(REPORT, Input::Report);
        fresh!(VERDICT, Input::Verdict);
        fresh!(HEARTBEAT, Input::Heartbeat);
    }

    pub(crate) fn brain_step(&mut self, input: brain_core::Input) {
        let now = self.clock(Who::Brain);
        let Some(brain) = self.brain.as_mut() else {
            return;
        };
        let effects = match brain.step(now, input) {
            Ok(effects) => effects,
            Err(brain_core::Fault::TimeReversed(_)) if self.plan.jumps => {
                return self.watchdog(Who::Brain);
            }
            Err(fault) => return self.violated(format!("brain: {fault}")),
        };
        for notice in effects.notices {
            self.notice_of(Who::Brain, notice);
        }
        let Some(decided) = effects.decided else {
            return;
        };
        let cause = decided.proposal.header().clone();
        match decided.decision.outcome {
            Outcome::Passed => self.trace.count("proposal passed"),
            Outcome::Refused(reason) => {
                self.trace.count("proposal refused");
                self.say(format_args!(
                    "brain refuses {}: {reason}",
                    decided.decision.order
                ));
            }
        }
        if let Some(order) = &decided.order {
            self.publish(Who::Brain, &ORDER, None, order, Some(&cause));
        }
        if self.crash_point(Who::Brain, Point::AfterSending) {
            return;
        }
        let name = decided.strategy.to_string();
        self.fact(
            Who::Brain,
            &DECISION,
            Some(&name),
            &decided.decision,
            Some(&cause),
        );
    }

    // --- risk-guard ----------------------------------------------------------------------------

    pub(crate) fn guard_receives(&mut self, subject: &str, frame: &[u8]) {
        use risk_guard_core::Input;
        let who = Who::Guard;
        macro_rules! fresh {
            ($row:ident, $input:path) => {
                if $row.row.matches(subject) {
                    if let Some(message) = self
                        .open(who, &$row, subject, frame)
                        .and_then(Received::fresh)
                    {
                        self.guard_step($input(message));
                    }
                    return;
                }
            };
        }
        fresh!(ORDER, Input::Order);
        fresh!(BOOK, Input::Book);
        fresh!(TRADE, Input::Trade);
        fresh!(CLOSES, Input::Closes);
        fresh!(EXECUTION_STATUS, Input::Status);
        fresh!(REPORT, Input::Report);
        if KILL.row.matches(subject)
            && let Some(command) = self.open(who, &KILL, subject, frame)
            && self.kill_holds(&command.either())
        {
            self.guard_killed();
        }
    }

    /// As the shell: stopped at once, on disk a moment later, acknowledged then.
    fn guard_killed(&mut self) {
        let killed = risk_guard_core::Input::Kill(KillState::Triggered);
        self.guard_step(killed);
        if self.crash_point(Who::Guard, Point::BeforeLatch) {
            return;
        }
        self.guard_latch = KillState::Triggered;
        self.oracle.guard_killed = true;
        self.trace.count("kill acknowledged by risk-guard");
        self.notice_of(Who::Guard, killed_notice());
    }

    /// What lets more through is on disk before it has an effect; the rest at the next tick.
    fn guard_keeps(&mut self, records: Vec<risk_guard_core::Record>, is_sync: bool) {
        for record in &records {
            if let risk_guard_core::Record::Breaker { .. } = record {
                self.trace.count("breaker on record");
            }
        }
        self.guard_disk.entries.extend(records);
        if is_sync {
            self.guard_disk.synced = self.guard_disk.entries.len();
        }
    }

    pub(crate) fn guard_step(&mut self, input: risk_guard_core::Input) {
        let now = self.clock(Who::Guard);
        let Some(guard) = self.guard.as_mut() else {
            return;
        };
        let is_tick = matches!(input, risk_guard_core::Input::Tick);
        let effects = match guard.step(now, input) {
            Ok(effects) => effects,
            Err(risk_guard_core::Fault::TimeReversed(_)) if self.plan.jumps => {
                return self.watchdog(Who::Guard);
            }
            Err(fault) => return self.violated(format!("risk-guard: {fault}")),
        };
        let keeps = !effects.records.is_empty();
        if keeps && self.journal_point(Who::Guard, JournalPoint::BeforeAppend) {
            return;
        }
        self.guard_keeps(effects.records, effects.is_sync || is_tick);
        if keeps && self.journal_point(Who::Guard, JournalPoint::Appended) {
            return;
        }
        if effects.kill.is_some() {
            self.trace.count("breakers pulled the switch");
            self.guard_killed();
        }
        if let Some(heartbeat) = effects.heartbeat {
            self.publish(Who::Guard, &HEARTBEAT, None, &heartbeat, None);
        }
        for notice in effects.notices {
            self.notice_of(Who::Guard, notice);
        }
        let Some(judgement) = effects.judgement else {
            return;
        };
        let cause = judgement.order.header().clone();
        if let Outcome::Refused(reason) = judgement.verdict.outcome {
            self.trace.count("order refused by risk-guard");
            self.say(format_args!(
                "risk-guard refuses {}: {reason}",
                judgement.verdict.order
            ));
        }
        if let Some(permit) = &judgement.permit {
            self.trace.count("permit given");
            if self.oracle.guard_killed {
                self.violated("risk-guard permits after it acknowledged the kill");
            }
            self.publish(Who::Guard, &PERMIT, None, permit, Some(&cause));
        }
        if self.crash_point(Who::Guard, Point::AfterSending) {
            return;
        }
        let name = judgement.order.message().strategy.to_string();
        self.fact(
            Who::Guard,
            &VERDICT,
            Some(&name),
            &judgement.verdict,
            Some(&cause),
        );
    }

    /// What the real shells check of a kill command.
    pub(crate) fn kill_holds(
        &self,
        command: &portcullis_wire::Verified<portcullis_wire::Signed<Kill>>,
    ) -> bool {
        let operators = self.deployment.operators();
        portcullis_wire::command::verify(command, self.deployment.realm(), &operators).is_ok()
    }

    // --- signer --------------------------------------------------------------------------------

    pub(crate) fn signer_receives(&mut self, subject: &str, frame: &[u8]) {
        use signer_core::Input;
        let who = Who::Signer;
        if HEARTBEAT.row.matches(subject) {
            if let Some(beat) = self
                .open(who, &HEARTBEAT, subject, frame)
                .and_then(Received::fresh)
            {
                self.signer_step(Input::Heartbeat(beat));
            }
        } else if KILL.row.matches(subject) {
            if let Some(command) = self.open(who, &KILL, subject, frame) {
                self.signer_step(Input::Kill(command.either()));
            }
        } else if SIGN.row.matches(subject)
            && let Some(request) = self.open(who, &SIGN, subject, frame)
        {
            let (Received::Fresh(verified) | Received::Duplicate(verified)) = &request;
            let permit = match &verified.message().action {
                SignAction::Place { permit } => {
                    let (now, permit) = (self.clock(who), permit.clone());
                    match self.seat(who).verifier.open_permit(&permit, now) {
                        Ok((permit, order)) => Some(Box::new(EnclosedPermit {
                            permit: permit.either(),
                            order: order.either(),
                        })),
                        Err(refusal) => {
                            self.refused(who, "enclosed permit", refusal);
                            None
                        }
                    }
                }
                _ => None,
            };
            self.signer_step(Input::Request { request, permit });
        }
    }

    fn signer_step(&mut self, input: signer_core::Input) {
        let now = self.clock(Who::Signer);
        let Some(signer) = self.signer.as_mut() else {
            return;
        };
        let effects = match signer.step(now, input) {
            Ok(effects) => effects,
            Err(signer_core::Fault::TimeReversed(_)) if self.plan.jumps => {
                return self.watchdog(Who::Signer);
            }
            Err(fault) => return self.violated(format!("signer: {fault}")),
        };
        if effects.trigger.is_some() {
            if self.crash_point(Who::Signer, Point::BeforeLatch) {
                return;
            }
            self.signer_latch = KillState::Triggered;
            self.oracle.signer_killed = true;
            self.trace.count("kill acknowledged by signer");
        }
        for notice in effects.notices {
            self.notice_of(Who::Signer, notice);
        }
        let records = effects.records;
        if !records.is_empty() {
            if self.journal_point(Who::Signer, JournalPoint::BeforeAppend) {
                return;
            }
            self.signer_disk.entries.extend(records);
            self.sync_later(Who::Signer);
            if self.crash_point(Who::Signer, Point::BeforeSync)
                || self.journal_point(Who::Signer, JournalPoint::Appended)
            {
                return;
            }
        }
        if let Some(answer) = effects.answer {
            let after = self.signer_disk.entries.len();
            self.signer_pending.push_back(Pending { answer, after });
            self.release_signatures();
        }
    }

    /// Answers leave in the order of the decisions, each once its record is on disk.
    pub(crate) fn release_signatures(&mut self) {
        while let Some(pending) = self.signer_pending.front()
            && pending.after <= self.signer_disk.synced
        {
            let Some(Pending { answer, .. }) = self.signer_pending.pop_front() else {
                return;
            };
            self.give_signature(answer);
            if self.signer.is_none() {
                return;
            }
        }
    }

    fn give_signature(&mut self, answer: Answer) {
        let Answer {
            request,
            decision,
            mut fact,
        } = answer;
        let response = match decision {
            Decision::Sign { places: true, .. } if !self.signer_latch.may_trade() => {
                SignResponse::Refused {
                    reason: portcullis_domain::Reason::KillSwitch,
                }
            }
            Decision::Sign {
                authority,
                text,
                places,
            } => {
                if places {
                    self.trace.count("order signed");
                }
                let (api_key, secret) = match authority {
                    Authority::Trading => (trading_key(), TRADING_SECRET),
                    Authority::Reading => (reading_key(), READING_SECRET),
                };
                let signature = sign(secret, &text);
                SignResponse::Signed { api_key, signature }
            }
            Decision::Refuse(reason) => {
                self.trace.count("signature refused");
                self.say(format_args!("signer refuses {:?} {reason}", fact.action));
                SignResponse::Refused { reason }
            }
        };
        fact.outcome = match &response {
            SignResponse::Signed { .. } => Outcome::Passed,
            SignResponse::Refused { reason } => Outcome::Refused(*reason),
        };
        self.fact(Who::Signer, &SIGNED, None, &fact, Some(&request));
        if self.crash_point(Who::Signer, Point::BeforeAnswer) {
            return;
        }
        self.publish(Who::Signer, &SIGNATURE, None, &response, Some(&request));
    }
}

pub fn killed_notice() -> Notice {
    Notice::KillSwitch {
        state: KillState::Triggered,
        cause: KillCause::Operator,
        detail: Text::lossy("simulated"),
    }
}
