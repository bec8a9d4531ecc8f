//! The queue of events, the clocks and the bus.

use std::collections::BTreeMap;

use portcullis_domain::{EnvelopeId, KillState, OrderId, Timestamp};
use portcullis_testkit::World as Deployment;
use portcullis_testkit::seals::NOW;
use portcullis_venue::bybit::Request;
use portcullis_wire::messages::Message;
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{Delivery, Row, Subject};
use portcullis_wire::{Context, Header, Refusal, Sealed};

use crate::audit::{AuditLife, Stream};
use crate::cast::{Outgoing, Seat, Who};
use crate::execution::{Entry, ExecutionLife};
use crate::faults::Plan;
use crate::log::Disk;
use crate::market::Market;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::requests::Await;
use crate::services::Pending;
use crate::settings::{Broken, Options};
use crate::sure;
use crate::trace::{Coverage, Trace, Violation};
use crate::venue::{Pushed, Reply, Signature, Venue};

pub const MS: u64 = 1_000;
/// Until then everything is well, so that every service gets to its feet once.
const CHAOS_FROM: u64 = 4_000 * MS;
/// From then on nothing goes wrong any more.
pub const CHAOS_UNTIL: u64 = 24_000 * MS;
/// By then all must be at rest.
const END_AT: u64 = 100_000 * MS;

/// A request on its way to the venue.
#[derive(Clone, Debug)]
pub struct Flight {
    pub boot: u64,
    pub call: u64,
    pub order: Option<OrderId>,
    pub request: Request,
    pub signature: Signature,
}

/// What happens at a moment.
pub enum Event {
    Deliver {
        from: Who,
        to: Who,
        boot: u64,
        subject: String,
        frame: Vec<u8>,
    },
    Tick(Who, u64),
    Pump(Who, u64),
    Pull(u64),
    Synced(Who, u64, usize),
    Crash(Who),
    Restart(Who),
    Market,
    Propose,
    Fault,
    Kill,
    Login(u64),
    Arrive(Flight),
    Answer(u64, u64, Reply),
    Deadline(u64, u64, Await),
    Connected(u64, u64),
    Push(u64, u64, Pushed),
    Disconnected(u64, u64),
    AskRest,
}

/// How a run ended that violated nothing.
#[derive(Clone, Debug)]
pub struct Report {
    /// The same seed gives the same number.
    pub trace_hash: u64,
    /// How many things happened.
    pub events: u64,
    /// How often what occurred.
    pub coverage: Coverage,
    /// The end of the story, or all of it.
    pub story: Vec<String>,
}

/// Everything there is in one run.
pub struct World {
    pub(crate) options: Options,
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    /// Microseconds since the run began, by nobody's clock.
    pub(crate) now: u64,
    began: Timestamp,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    ids: u64,
    pub(crate) deployment: Deployment,
    pub(crate) seats: BTreeMap<Who, Seat>,
    lanes: BTreeMap<(Who, Who, String), u64>,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) violation: Option<String>,

    pub(crate) brain: Option<brain_core::Brain>,
    pub(crate) guard: Option<risk_guard_core::RiskGuard>,
    pub(crate) guard_latch: KillState,
    pub(crate) signer: Option<signer_core::Engine>,
    pub(crate) signer_latch: KillState,
    pub(crate) signer_disk: Disk<Vec<u8>>,
    pub(crate) signer_pending: std::collections::VecDeque<Pending>,
    pub(crate) execution: Option<ExecutionLife>,
    pub(crate) execution_latch: KillState,
    pub(crate) execution_disk: Disk<Entry>,
    pub(crate) audit: Option<AuditLife>,
    pub(crate) audit_disk: Disk<Vec<u8>>,
    pub(crate) stream: Stream,
    pub(crate) markets: Vec<Market>,
    pub(crate) venue: Venue,
    /// Which connection to the venue's stream is up, if one is, and how many there were.
    pub(crate) venue_stream: Option<(u64, u64)>,
    pub(crate) venue_streams: u64,
    pub(crate) venue_lane: u64,
    /// How many orders had left when everything was at rest for the first time.
    pub(crate) placed_before_rest: Option<usize>,
}

impl World {
    /// A world as the seed decides it, before anything happened.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut random = Random::new(options.seed);
        let plan = Plan::new(&mut random, options);
        let began = plan.began(NOW);
        let deployment = Deployment::new(began);
        let seats = Who::ALL
            .iter()
            .map(|who| (*who, Seat::new(&deployment, *who, 1, began)))
            .collect();
        Self {
            options,
            random,
            plan,
            now: 0,
            began,
            events: BTreeMap::new(),
            scheduled: 0,
            ids: 0,
            deployment,
            seats,
            lanes: BTreeMap::new(),
            trace: Trace::new(options.keep_story),
            oracle: Oracle::default(),
            violation: None,
            brain: None,
            guard: None,
            guard_latch: KillState::Armed,
            signer: None,
            signer_latch: KillState::Armed,
            signer_disk: Disk::default(),
            signer_pending: std::collections::VecDeque::new(),
            execution: None,
            execution_latch: KillState::Armed,
            execution_disk: Disk::default(),
            audit: None,
            audit_disk: Disk::default(),
            stream: Stream::default(),
            markets: Market::all(),
            venue: Venue::default(),
            venue_stream: None,
            venue_streams: 0,
            venue_lane: 0,
            placed_before_rest: None,
        }
    }

    /// Lets everything happen.
    ///
    /// # Errors
    /// [`Violation`]: what must never happen did.
    pub fn run(mut self) -> Result<Report, Box<Violation>> {
        for who in Who::ALL {
            let offset = self.random.around(200_000);
            self.seat(who).offset = offset;
            self.restart(who);
        }
        self.schedule(0, Event::Market);
        self.schedule(CHAOS_FROM, Event::Fault);
        self.schedule(CHAOS_FROM, Event::Propose);
        self.schedule(CHAOS_UNTIL, Event::AskRest);
        if let Some(at) = self.plan.kill_at {
            self.schedule(at, Event::Kill);
        }
        while self.violation.is_none() {
            let Some(((at, _), event)) = self.events.pop_first() else {
                break;
            };
            if at > END_AT {
                self.violated("the system does not come to rest");
                break;
            }
            self.now = at;
            if self.happen(event) {
                break;
            }
        }
        let (trace_hash, events) = (self.trace.hash(), self.trace.events());
        let (story, coverage) = self.trace.into_parts();
        match self.violation {
            Some(what) => Err(Box::new(Violation {
                seed: self.options.seed,
                what,
                story,
            })),
            None => Ok(Report {
                trace_hash,
                events,
                coverage,
                story,
            }),
        }
    }

    /// One event; whether it was the last.
    fn happen(&mut self, event: Event) -> bool {
        match event {
            Event::Deliver {
                from,
                to,
                boot,
                subject,
                frame,
            } => self.delivered(from, to, boot, &subject, &frame),
            Event::Tick(who, boot) => {
                if self.lives(who, boot) {
                    self.tick(who);
                }
            }
            Event::Pump(who, boot) => {
                if self.lives(who, boot) {
                    self.pump(who);
                }
            }
            Event::Pull(boot) => {
                if self.lives(Who::Audit, boot) {
                    self.pull_facts();
                }
            }
            Event::Synced(who, boot, upto) => {
                if self.lives(who, boot) {
                    self.synced(who, upto);
                }
            }
            Event::Crash(who) => self.crash(who),
            Event::Restart(who) => {
                if !self.seat(who).up {
                    self.restart(who);
                }
            }
            Event::Market => self.market(),
            Event::Propose => self.propose(),
            Event::Fault => self.fault(),
            Event::Kill => self.kill(),
            Event::Login(boot) => {
                if self.lives(Who::Execution, boot) {
                    self.log_in();
                }
            }
            Event::Arrive(flight) => self.arrive(&flight),
            Event::Answer(boot, call, reply) => {
                if self.lives(Who::Execution, boot) {
                    self.answered(call, Some(reply));
                }
            }
            Event::Deadline(boot, call, awaited) => {
                if self.lives(Who::Execution, boot) {
                    self.too_late(call, awaited);
                }
            }
            Event::Connected(boot, stream) => self.stream_connected(boot, stream),
            Event::Push(boot, stream, pushed) => self.stream_pushed(boot, stream, pushed),
            Event::Disconnected(boot, stream) => self.stream_disconnected(boot, stream),
            Event::AskRest => return self.is_at_rest(),
        }
        false
    }

    /// Whether anything still goes wrong.
    pub(crate) const fn chaos(&self) -> bool {
        self.options.faults && self.now >= CHAOS_FROM && self.now < CHAOS_UNTIL
    }

    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.say(format_args!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    pub(crate) fn say(&mut self, what: std::fmt::Arguments<'_>) {
        let (seconds, micros) = (self.now / 1_000_000, self.now % 1_000_000);
        self.trace.say(format!("{seconds:>3}.{micros:06} {what}"));
    }

    pub(crate) fn schedule(&mut self, after: u64, event: Event) {
        self.scheduled += 1;
        self.events
            .insert((self.now + after, self.scheduled), event);
    }

    pub(crate) fn seat(&mut self, who: Who) -> &mut Seat {
        sure(self.seats.get_mut(&who).ok_or(who), "a seat")
    }

    /// Whether this life of a process goes on.
    pub(crate) fn lives(&mut self, who: Who, boot: u64) -> bool {
        let seat = self.seat(who);
        seat.up && seat.boot == boot
    }

    /// What time it is, for somebody.
    pub(crate) fn clock(&mut self, who: Who) -> Timestamp {
        let offset = self.seat(who).offset;
        Timestamp((self.began.0 + self.now).saturating_add_signed(offset))
    }

    /// What time it is at the venue.
    pub(crate) const fn venue_clock(&self) -> Timestamp {
        Timestamp((self.began.0 + self.now).saturating_add_signed(self.plan.venue_offset))
    }

    pub(crate) fn isolated(&mut self, who: Who) -> bool {
        let now = self.now;
        self.seat(who).isolated_until > now
    }

    /// A number that no other request has.
    pub(crate) const fn ids_of_calls(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn fresh_id(&mut self) -> EnvelopeId {
        self.ids += 1;
        let high = u128::from(self.random.next()) << 64;
        EnvelopeId((high | u128::from(self.ids)).to_be_bytes())
    }

    pub(crate) fn seal<P: Principal, M: Message>(
        &mut self,
        from: Who,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
    ) -> Sealed {
        let (now, id) = (self.clock(from), self.fresh_id());
        let context = match cause {
            Some(cause) => Context::caused_by(now, id, cause),
            None => Context::first(now, id),
        };
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
        let boot = self.seat(from).boot;
        self.seat(from)
            .outbox
            .push_back(Outgoing { number, sealed });
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
            let unheard = from == Who::Alice
                && to != Who::Execution
                && self.options.broken == Broken::LatchForgets;
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

    fn delivered(&mut self, from: Who, to: Who, boot: u64, subject: &str, frame: &[u8]) {
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
    pub(crate) fn refused(&mut self, who: Who, subject: &str, frame: &[u8], refusal: Refusal) {
        self.trace.count("message refused");
        let code = refusal.code();
        self.say(format_args!("{who:?} refuses {subject}: {code}"));
        if refusal == Refusal::Replay && self.is_said_again(subject, frame) {
            // Weather too, although the verifier calls it a replay; see docs/simulation.md.
            self.trace
                .count("fact of an earlier start taken for a replay");
            return;
        }
        if refusal.is_violation() && self.options.broken == Broken::Nothing {
            self.violated(format!(
                "{who:?} took an honest {subject} for an attack: {code}"
            ));
        }
    }

    /// Whether it is a fact that an earlier start of its source sealed.
    fn is_said_again(&mut self, subject: &str, frame: &[u8]) -> bool {
        let header = portcullis_wire::inspect(frame).ok();
        let (Some((header, _)), Some(_)) = (header, row_of(subject)) else {
            return false;
        };
        let source = Who::ALL.into_iter().find(|who| who.name() == header.source);
        source.is_some_and(|source| header.boot < self.seat(source).boot)
    }

    /// Everything in the outbox goes to the stream, in its order, which stores it and says so; the
    /// answer may be lost.
    fn pump(&mut self, who: Who) {
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
