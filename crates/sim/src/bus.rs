//! The bus: sealed messages on their way, and facts on theirs to the stream.

use portcullis_wire::messages::Message;
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{Delivery, Row, Subject};
use portcullis_wire::{ContentKey, Context, Header, Refusal, Sealed};

use crate::cast::{Outgoing, Who};
use crate::planted::Bug;
use crate::sure;
use crate::world::{Event, MS, World};

impl World {
    pub(crate) fn seal<P: Principal, M: Message>(
        &mut self,
        from: Who,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
    ) -> Sealed {
        let (now, id) = (self.clock(from), self.fresh_id());
        let mut context = match cause {
            Some(cause) => Context::caused_by(now, id, cause),
            None => Context::first(now, id),
        };
        // Different for every message, as a random one would be, and the same in every replay.
        let mut secret = [0xc0; 32];
        secret[..16].copy_from_slice(&id.0);
        context.content_key = Some(ContentKey::from_random(secret));
        let sealed = self.seat(from).sealer.seal(subject, name, message, context);
        sure(sealed, "seal")
    }

    /// Seals a message and sends it, once, now.
    pub(crate) fn publish<P: Principal, M: Message>(
        &mut self,
        from: Who,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
    ) -> Sealed {
        let sealed = self.seal(from, subject, name, message, cause);
        self.send(from, subject.row, &sealed);
        sealed
    }

    /// Seals a fact and hands it to the outbox.
    pub(crate) fn fact<P: Principal, M: Message>(
        &mut self,
        from: Who,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
    ) {
        let sealed = self.seal(from, subject, name, message, cause);
        self.hand_over(from, None, sealed);
    }

    /// Hands a sealed fact to the outbox, which tells the bus at once and the stream for sure.
    pub(crate) fn hand_over(&mut self, from: Who, number: Option<u64>, sealed: Sealed) {
        if let Some(row) = row_of(&sealed.subject) {
            self.send(from, row, &sealed);
        }
        let now = self.now;
        let seat = self.seat(from);
        let boot = seat.boot;
        seat.spoke_at = now;
        seat.outbox.push_back(Outgoing { number, sealed });
        let after = self.random.between(100, 3_000);
        self.schedule(after, Event::Pump(from, boot));
    }

    /// Core delivery: now, to whoever listens; one lane for each subject keeps its order.
    pub(crate) fn send(&mut self, from: Who, row: &Row, sealed: &Sealed) {
        if self.isolated(from) {
            self.trace.count("fault: nothing sent while cut off");
            return;
        }
        for to in Who::CORES {
            let reads =
                row.subscribers.contains(&role(to)) && row.may_read(&to.name(), &sealed.subject);
            let unheard = from == Who::Alice && to != Who::Execution && self.has(Bug::ForgetsKill);
            if !reads || unheard || !self.seat(to).up {
                continue;
            }
            if self.chaos() && self.random.chance(self.plan.drop) {
                self.trace.count("fault: message lost");
                continue;
            }
            let again = self.chaos() && self.random.chance(self.plan.duplicate);
            let delay = self.delay(to);
            let lane = (from, to, sealed.subject.clone());
            let earliest = self.lanes.get(&lane).copied().unwrap_or(0);
            let at = (self.now + delay).max(earliest);
            self.lanes.insert(lane, if again { at + 200 } else { at });
            let boot = self.seat(to).boot;
            for after in [Some(0), again.then_some(200)].into_iter().flatten() {
                let event = Event::Deliver {
                    from,
                    to,
                    boot,
                    subject: sealed.subject.clone(),
                    frame: sealed.frame.clone(),
                };
                self.schedule(at - self.now + after, event);
            }
            if again {
                self.trace.count("fault: message repeated");
            }
        }
    }

    fn delay(&mut self, to: Who) -> u64 {
        let usual = self.random.between(50, 1_500);
        if !self.chaos() {
            return usual;
        }
        if self.plan.slow == Some(to) {
            self.trace.count(match to {
                Who::Signer => "fault: slow signer",
                Who::Audit => "fault: slow audit",
                _ => "fault: slow service",
            });
            return self.random.between(1, 900) * MS;
        }
        if self.random.chance(self.plan.late) {
            self.trace.count("fault: message late");
            return self.random.between(5, 2_500) * MS;
        }
        usual
    }

    pub(crate) fn delivered(&mut self, from: Who, to: Who, boot: u64, subject: &str, frame: &[u8]) {
        if !self.lives(to, boot) {
            return;
        }
        if self.isolated(to) {
            self.trace.count("fault: nothing received while cut off");
            return;
        }
        if !is_noise(subject) {
            let size = frame.len();
            self.say(format_args!("{from:?} → {to:?} {subject} ({size} bytes)"));
        }
        match to {
            Who::Brain => self.brain_receives(subject, frame),
            Who::Guard => self.guard_receives(subject, frame),
            Who::Execution => self.execution_receives(subject, frame),
            Who::Signer => self.signer_receives(subject, frame),
            Who::Audit => self.audit_receives(subject, frame),
            Who::MarketData | Who::Sample | Who::Other | Who::Alice => {}
        }
    }

    /// A message that did not open. Weather is no violation; anything else is, because everybody
    /// here is honest.
    pub(crate) fn refused(&mut self, who: Who, subject: &str, refusal: Refusal) {
        self.trace.count("message refused");
        let code = refusal.code();
        self.say(format_args!("{who:?} refuses {subject}: {code}"));
        if refusal == Refusal::EarlierStart {
            self.trace.count("fact of an earlier start refused");
        }
        // Where a clock jumped, honest messages come from the future.
        let jumped = self.plan.jumps && refusal == Refusal::Future;
        if refusal.is_violation() && !jumped && self.options.bug.is_none() {
            self.violated(format!(
                "{who:?} took an honest {subject} for an attack: {code}"
            ));
        }
    }

    /// Everything in the outbox goes to the stream, in its order, which stores it and says so; the
    /// answer may be lost.
    pub(crate) fn pump(&mut self, who: Who) {
        if self.isolated(who) {
            let boot = self.seat(who).boot;
            self.schedule(50 * MS, Event::Pump(who, boot));
            return;
        }
        let waiting: Vec<Outgoing> = self.seat(who).outbox.iter().cloned().collect();
        for outgoing in &waiting {
            if !self.stream.store(&outgoing.sealed) {
                self.trace.count("fact stored once though sent again");
            }
        }
        if !waiting.is_empty() && self.chaos() && self.random.chance(self.plan.drop) {
            self.trace.count("fault: stream's answer lost");
            let boot = self.seat(who).boot;
            self.schedule(500 * MS, Event::Pump(who, boot));
            return;
        }
        self.seat(who).outbox.clear();
        if who == Who::Execution {
            self.execution_acknowledged(&waiting);
        }
    }
}

/// The line of the table that a fact's subject is of.
fn row_of(subject: &str) -> Option<&'static Row> {
    portcullis_wire::subjects::TABLE
        .iter()
        .copied()
        .find(|row| row.delivery == Delivery::Stream && row.matches(subject))
}

const fn role(who: Who) -> Role {
    match who {
        Who::Brain => Role::Brain,
        Who::Guard => Role::RiskGuard,
        Who::Execution => Role::Execution,
        Who::Signer => Role::Signer,
        Who::Audit => Role::Audit,
        Who::MarketData => Role::MarketData,
        Who::Sample | Who::Other => Role::Strategy,
        Who::Alice => Role::Operator,
    }
}

fn is_noise(subject: &str) -> bool {
    subject.starts_with("data.")
        || subject.ends_with(".heartbeat")
        || subject.ends_with(".status")
        || subject.ends_with(".checkpoint")
}
