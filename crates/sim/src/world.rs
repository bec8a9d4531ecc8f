//! The queue of events, the clocks and the bus.

use std::collections::BTreeMap;

use execution_core::Record;
use portcullis_domain::{EnvelopeId, Hash, KillState, OrderId, Symbol, Timestamp};
use portcullis_testkit::World as Deployment;
use portcullis_testkit::seals::NOW;
use portcullis_venue::bybit::Request;
use rust_decimal::Decimal;

use crate::audit::{AuditLife, Stream};
use crate::cast::{Seat, Who};
use crate::execution::ExecutionLife;
use crate::faults::Plan;
use crate::journal::{Entry, Torn};
use crate::log::Disk;
use crate::market::Market;
use crate::oracle::Oracle;
use crate::planted::Bug;
use crate::random::Random;
use crate::requests::Await;
use crate::services::Pending;
use crate::settings::{Options, POLICY};
use crate::sure;
use crate::trace::{Coverage, Trace, Violation};
use crate::venue::{Pushed, Reply, Signature, Venue};

pub const MS: u64 = 1_000;
/// Until then everything is well, so that every service gets to its feet once.
const CHAOS_FROM: u64 = 4_000 * MS;
/// From then on execution's journal may be begun anew.
const ANEW_FROM: u64 = 3_000 * MS;
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
    Watchdog(Who, u64),
    ClockRight(Who),
    Policy(bool),
    TradedBack(Symbol, Decimal),
    ForeignGone(Symbol),
    Anew,
    Money,
    /// Once, or again and again.
    Alter(bool),
    AlteredGone(OrderId),
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
    pub(crate) lanes: BTreeMap<(Who, Who, String), u64>,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) violation: Option<String>,

    pub(crate) brain: Option<brain_core::Brain>,
    pub(crate) guard: Option<risk_guard_core::RiskGuard>,
    pub(crate) guard_latch: KillState,
    pub(crate) signer: Option<signer_core::Engine>,
    pub(crate) signer_latch: KillState,
    pub(crate) signer_disk: Disk<Vec<u8>>,
    pub(crate) guard_disk: Disk<risk_guard_core::Record>,
    pub(crate) signer_pending: std::collections::VecDeque<Pending>,
    pub(crate) execution: Option<ExecutionLife>,
    pub(crate) execution_latch: KillState,
    pub(crate) execution_disk: Disk<Entry>,
    /// Every record of execution's journal before it was begun anew the last time, as the oracle keeps
    /// them: a snapshot must not make what it snapshots true.
    pub(crate) execution_replaced: Vec<Record>,
    /// The entry that was being written when execution died.
    pub(crate) execution_torn: Option<Torn>,
    /// The policy that brain and risk-guard run.
    pub(crate) policy: Hash,
    /// How many boundaries of a journal were passed while faults last.
    pub(crate) journal_points: u64,
    /// What others did on the account and will undo.
    pub(crate) meddled: u64,
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
        // Its own seals and readers serve the planted bugs alone; they open whatever the clock says.
        let deployment = Deployment::new(Timestamp(1));
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
            guard_disk: Disk::default(),
            signer_pending: std::collections::VecDeque::new(),
            execution: None,
            execution_latch: KillState::Armed,
            execution_disk: Disk::default(),
            execution_replaced: Vec::new(),
            execution_torn: None,
            policy: POLICY,
            journal_points: 0,
            meddled: 0,
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
        if let Some((from, until)) = self.plan.other_policy {
            self.schedule(from, Event::Policy(true));
            self.schedule(until, Event::Policy(false));
        }
        if let Some(at) = self.plan.kill_at {
            self.schedule(at, Event::Kill);
        }
        if self.plan.alters {
            self.schedule(CHAOS_FROM, Event::Alter(true));
        }
        if self.plan.money {
            self.schedule(CHAOS_FROM, Event::Money);
        }
        if self.plan.anew {
            self.schedule(ANEW_FROM, Event::Anew);
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
            let over = self.happen(event);
            self.after_step();
            if over {
                break;
            }
        }
        let (trace_hash, events) = (self.trace.hash(), self.trace.events());
        let (story, coverage) = self.trace.into_parts();
        match self.violation {
            Some(what) => Err(Box::new(Violation {
                seed: self.options.seed,
                bug: self.options.bug,
                what,
                story,
                trace_hash,
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
            Event::Watchdog(who, boot) => {
                if self.lives(who, boot) {
                    self.watchdog(who);
                }
            }
            Event::ClockRight(who) => self.clock_right(who),
            Event::Policy(other) => self.change_policy(other),
            Event::TradedBack(symbol, by) => {
                self.meddled -= 1;
                self.venue.shift(symbol, -by);
            }
            Event::ForeignGone(symbol) => {
                self.meddled -= 1;
                self.venue.foreign_gone(symbol);
            }
            Event::Alter(again) => self.alter_order(again),
            Event::AlteredGone(order) => {
                self.meddled -= 1;
                self.venue.cancel(&order);
                self.push_stream();
            }
            Event::Money => self.move_money(),
            Event::Anew => self.want_journal_anew(),
        }
        false
    }

    /// Whether anything still goes wrong.
    pub(crate) const fn chaos(&self) -> bool {
        self.options.faults && self.now >= CHAOS_FROM && self.now < CHAOS_UNTIL
    }

    /// Whether this bug is planted.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.options.bug == Some(bug)
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
}
