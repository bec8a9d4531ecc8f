//! What goes wrong, and when: a plan from the seed, so that different seeds mix different faults.

use portcullis_domain::{Span, Timestamp};

use crate::cast::Who;
use crate::planted::Bug;
use crate::random::Random;
use crate::settings::Options;
use crate::world::{CHAOS_UNTIL, Event, MS, World};

/// What rests fills within a second or so.
pub const FILLS_USUAL: u64 = 120;
/// Or it rests for most of the run.
const FILLS_SELDOM: u64 = 4;

/// Which faults a run has, and how many.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Messages lost, in a thousand.
    pub drop: u64,
    /// Messages delivered twice, in a thousand.
    pub duplicate: u64,
    /// Messages delayed by up to 2.5 s, in a thousand.
    pub late: u64,
    /// Everything for this service takes up to 0.9 s.
    pub slow: Option<Who>,
    /// Whether services die and come back.
    pub crashes: bool,
    /// How often one dies between two effects, in ten thousand chances.
    pub crash_points: u64,
    /// Whether somebody is cut off from the bus at times.
    pub partitions: bool,
    /// Requests to the venue that meet trouble, in a thousand, each way.
    pub venue: u64,
    /// Whether the venue's stream breaks at times.
    pub stream: bool,
    /// Whose disk stalls at times.
    pub stall: Option<Who>,
    /// Whether clocks are set at times.
    pub clocks: bool,
    /// When an operator stops everything.
    pub kill_at: Option<u64>,
    /// How far the venue's clock is from the truth, in microseconds.
    pub venue_offset: i64,
    /// The largest step of the market, in basis points.
    pub market_bps: i64,
    /// The day's loss that stops trading, in USD.
    pub daily_loss_max: u64,
    /// Whether risk-guard's circuit breakers trip as easily as in reality. They then stay open for
    /// longer than a run, so most runs have breakers that hardly trip: the faults must reach the rest.
    pub breakers: bool,
    /// Whether midnight by UTC falls into the run.
    pub midnight: bool,
    /// The boundary of a journal at which the next process dies.
    pub journal_point: Option<u64>,
    /// Whether clocks jump.
    pub jumps: bool,
    /// Whether others trade on the account, and the venue does what nobody ordered.
    pub meddling: bool,
    /// How often what rests fills, in a thousand steps of the market.
    pub fills: u64,
    /// From when to when brain and risk-guard run another policy.
    pub other_policy: Option<(u64, u64)>,
    /// Whether execution's journal is begun anew at times.
    pub anew: bool,
    /// Whether the venue moves money without fills.
    pub money: bool,
    /// Whether somebody alters orders at the venue.
    pub alters: bool,
}

/// Where in its journal's life a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalPoint {
    BeforeAppend,
    Appended,
    Synced,
}

/// Between which effects a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    AfterSending,
    BeforeLatch,
    BeforeSync,
    BeforeAnswer,
    BeforePlacing,
    AfterPlacing,
    BeforeAnew,
    Anew,
    AfterAnew,
}

impl Plan {
    pub fn new(random: &mut Random, options: Options) -> Self {
        let mut some =
            |per_mille: u64, value: u64| if random.chance(per_mille) { value } else { 0 };
        let drop = some(500, 25);
        let duplicate = some(500, 40);
        let late = some(350, 25);
        let crash_points = some(500, 12);
        let venue = some(600, 90);
        let slow = random
            .chance(200)
            .then(|| random.pick(&[Who::Signer, Who::Audit, Who::Brain, Who::Guard]));
        let stall = random
            .chance(350)
            .then(|| random.pick(&[Who::Audit, Who::Audit, Who::Execution, Who::Signer]));
        let (crashes, partitions) = (random.chance(500), random.chance(350));
        let (stream, clocks) = (random.chance(400), random.chance(300));
        let kill_at = random
            .chance(250)
            .then(|| random.between(5_000 * MS, CHAOS_UNTIL - 1_000 * MS));
        let violent = random.chance(250) && options.faults;
        let mut plan = Self {
            drop,
            duplicate,
            late,
            slow,
            crashes,
            crash_points,
            partitions,
            venue,
            stream,
            stall,
            clocks,
            kill_at: kill_at.filter(|_| options.faults),
            venue_offset: random.around(300_000),
            market_bps: if violent { 60 } else { 6 },
            daily_loss_max: if violent { 30 } else { 1_500 },
            midnight: random.chance(150),
            breakers: random.chance(250),
            journal_point: None,
            jumps: random.chance(200),
            meddling: random.chance(400),
            fills: random.pick(&[FILLS_USUAL, FILLS_USUAL, FILLS_SELDOM]),
            other_policy: None,
            anew: false,
            money: false,
            alters: false,
        };
        if random.chance(500) {
            plan.journal_point = Some(random.between(0, 3_000));
        }
        if random.chance(250) && options.faults {
            let from = random.between(5_000, 18_000) * MS;
            plan.other_policy = Some((from, from + random.between(1_500, 5_000) * MS));
        }
        plan.anew = random.chance(400);
        plan.money = random.chance(300);
        plan.alters = random.chance(200);
        plan
    }

    /// When the run begins.
    pub const fn began(&self, usual: Timestamp) -> Timestamp {
        if !self.midnight {
            return usual;
        }
        let next_day = Timestamp((usual.utc_day() + 1) * 86_400_000_000);
        next_day.minus(Span::from_secs(8))
    }
}

impl World {
    /// Something big goes wrong, if the plan has it; then the next.
    pub(crate) fn fault(&mut self) {
        if !self.chaos() {
            return;
        }
        let after = self.random.between(300, 3_000) * MS;
        self.schedule(after, Event::Fault);
        match self.random.between(0, 7) {
            0 | 1 if self.plan.crashes => {
                let who = self.random.pick(&[
                    Who::Brain,
                    Who::Guard,
                    Who::Execution,
                    Who::Execution,
                    Who::Signer,
                    Who::Audit,
                    Who::MarketData,
                ]);
                self.crash(who);
            }
            2 if self.plan.partitions => {
                let who = self.random.pick(&[
                    Who::Brain,
                    Who::Guard,
                    Who::Guard,
                    Who::Execution,
                    Who::Signer,
                    Who::Audit,
                    Who::MarketData,
                ]);
                let until = self.now + self.random.between(100, 12_000) * MS;
                self.seat(who).isolated_until = until.min(CHAOS_UNTIL);
                self.trace.count("fault: partition");
                self.say(format_args!("{who:?} is cut off"));
            }
            3 if self.plan.stream => {
                if let Some((boot, stream)) = self.venue_stream.take() {
                    self.trace.count("fault: stream lost");
                    self.say(format_args!("the venue's stream breaks"));
                    let after = self.random.between(20, 1_500) * MS;
                    self.schedule(after, Event::Disconnected(boot, stream));
                }
            }
            4 if self.plan.clocks => {
                let who = self.random.pick(&Who::ALL);
                let offset = self.random.around(400_000);
                let by = offset - self.seat(who).offset;
                self.set_clock(who, by);
                self.trace.count("fault: clock set");
                self.say(format_args!("{who:?}'s clock is set to {offset} µs off"));
            }
            5 if self.plan.crashes => self.stop_in_order(),
            6 if self.plan.jumps => self.jump(),
            7 if self.plan.meddling => self.meddle(),
            _ => {}
        }
    }

    /// Execution is asked to end: it cancels first.
    fn stop_in_order(&mut self) {
        if let Some(life) = self.execution.as_mut()
            && !life.stopping
        {
            life.stopping = true;
            self.trace.count("fault: stopped in order");
            self.say(format_args!("execution is asked to end"));
            self.execution_step(execution_core::Input::Stop);
            self.schedule(1_500 * MS, Event::Crash(Who::Execution));
        }
    }

    /// Here a process may die. Whether it did.
    pub(crate) fn crash_point(&mut self, who: Who, point: Point) -> bool {
        if !self.seat(who).up {
            return true;
        }
        let chances = match point {
            // They come only a few times in a run.
            Point::BeforeLatch | Point::BeforeAnew | Point::Anew | Point::AfterAnew => {
                self.plan.crash_points * 100
            }
            Point::AfterSending
            | Point::BeforeSync
            | Point::BeforeAnswer
            | Point::BeforePlacing
            | Point::AfterPlacing => self.plan.crash_points,
        };
        let dies = self.chaos() && self.random.between(0, 9_999) < chances;
        if dies {
            self.trace.count(match point {
                Point::AfterSending => "fault: crash after sending, before the fact",
                Point::BeforeLatch => "fault: crash before the latch is on disk",
                Point::BeforeSync => "fault: crash between append and sync",
                Point::BeforeAnswer => "fault: crash before the answer",
                Point::BeforePlacing => "fault: crash before placing",
                Point::AfterPlacing => "fault: crash after placing",
                Point::BeforeAnew => "fault: crash before the journal is begun anew",
                Point::Anew => "fault: crash while the journal is begun anew",
                Point::AfterAnew => "fault: crash after the journal was begun anew",
            });
            self.crash(who);
        }
        dies
    }

    /// A process dies: its memory is gone, and what its disk did not have.
    pub(crate) fn crash(&mut self, who: Who) {
        if !self.seat(who).up {
            return;
        }
        if who == Who::Execution {
            self.compare_with_replay();
        }
        self.die(who);
    }

    /// The next boundary of a journal. Whether the process died there.
    pub(crate) fn journal_point(&mut self, who: Who, point: JournalPoint) -> bool {
        if !self.seat(who).up {
            return true;
        }
        if !self.chaos() {
            return false;
        }
        self.journal_points += 1;
        if self.plan.journal_point != Some(self.journal_points) {
            return false;
        }
        self.plan.journal_point = Some(self.journal_points + self.random.between(1, 3_000));
        self.trace.count(match point {
            JournalPoint::BeforeAppend => "fault: crash before the append",
            JournalPoint::Appended => "fault: crash after the append",
            JournalPoint::Synced => "fault: crash after the sync, before what it allows",
        });
        self.say(format_args!("{who:?} is about to die, {point:?}"));
        match point {
            // The core is ahead of its journal here.
            JournalPoint::BeforeAppend => self.die(who),
            JournalPoint::Appended | JournalPoint::Synced => self.crash(who),
        }
        true
    }

    fn die(&mut self, who: Who) {
        let seat = self.seat(who);
        seat.up = false;
        seat.outbox.clear();
        self.say(format_args!("{who:?} dies"));
        let lost = match who {
            Who::Brain => {
                self.trace.count("fault: brain dies");
                self.brain = None;
                0
            }
            Who::Guard => {
                self.trace.count("fault: risk-guard dies");
                self.guard = None;
                self.guard_disk.crash(&mut self.random)
            }
            Who::Execution => {
                self.trace.count("fault: execution dies");
                self.execution = None;
                self.venue_stream = None;
                self.oracle.heartbeat = None;
                let lost = self.crash_journal();
                if self.has(Bug::LosesJournalRecords) {
                    let half = self.execution_disk.entries.len() / 2;
                    self.execution_disk.entries.truncate(half);
                    self.execution_disk.synced = half;
                }
                lost
            }
            Who::Signer => {
                self.trace.count("fault: signer dies");
                self.signer = None;
                self.signer_pending.clear();
                self.signer_disk.crash(&mut self.random)
            }
            Who::Audit => {
                self.trace.count("fault: audit dies");
                self.audit = None;
                let lost = self.audit_disk.crash(&mut self.random);
                if self.has(Bug::LosesAuditEntries) {
                    let half = self.audit_disk.entries.len() / 2;
                    self.audit_disk.entries.truncate(half);
                    self.audit_disk.synced = half;
                }
                lost
            }
            Who::MarketData => {
                self.trace.count("fault: market-data dies");
                0
            }
            Who::Sample | Who::Other | Who::Alice => 0,
        };
        if lost > 0 {
            self.trace.count("fault: unsynced entries lost");
        }
        let after = self.random.between(100, 2_500) * MS;
        self.schedule(after, Event::Restart(who));
    }

    /// A new life.
    pub(crate) fn restart(&mut self, who: Who) {
        let started_at = self.clock(who);
        if let Some(seat) = self.seats.get_mut(&who) {
            seat.restart(&self.deployment, who, started_at);
        }
        let boot = self.seat(who).boot;
        self.say(format_args!("{who:?} starts, boot {boot}"));
        match who {
            Who::Brain => self.start_brain(started_at),
            Who::Guard => self.start_guard(started_at),
            Who::Execution => self.start_execution(started_at),
            Who::Signer => self.start_signer(),
            Who::Audit => self.start_audit(started_at),
            Who::MarketData | Who::Sample | Who::Other | Who::Alice => return,
        }
        let first = self.random.between(1, 50) * MS;
        self.schedule(first, Event::Tick(who, boot));
    }

    pub(crate) fn tick(&mut self, who: Who) {
        let boot = self.seat(who).boot;
        let every = match who {
            Who::Brain => {
                self.brain_step(brain_core::Input::Tick);
                1_000
            }
            Who::Guard => {
                self.guard_step(risk_guard_core::Input::Tick);
                250
            }
            Who::Execution => {
                self.execution_tick();
                crate::execution::TICK / MS
            }
            Who::Audit => {
                self.audit_step(audit_core::Input::Tick);
                100
            }
            // It has nothing else to do by the clock.
            Who::Signer => 500,
            Who::MarketData | Who::Sample | Who::Other | Who::Alice => return,
        };
        self.show_life(who);
        self.schedule(every * MS, Event::Tick(who, boot));
    }

    /// What was appended reaches the disk a little later, and stays in order.
    pub(crate) fn sync_later(&mut self, who: Who) {
        let stalls = self.chaos() && self.plan.stall == Some(who) && self.random.chance(15);
        let delay = if stalls {
            self.trace.count(match who {
                Who::Audit => "fault: audit's disk stalls",
                Who::Execution => "fault: execution's disk stalls",
                _ => "fault: signer's disk stalls",
            });
            self.random.between(300, 4_000) * MS
        } else {
            self.random.between(200, 1_500)
        };
        let earliest = self.now + delay;
        let (entries, sync_at) = match who {
            Who::Execution => {
                let disk = &mut self.execution_disk;
                (disk.entries.len(), &mut disk.sync_at)
            }
            Who::Audit => {
                let disk = &mut self.audit_disk;
                (disk.entries.len(), &mut disk.sync_at)
            }
            _ => {
                let disk = &mut self.signer_disk;
                (disk.entries.len(), &mut disk.sync_at)
            }
        };
        *sync_at = earliest.max(*sync_at);
        let after = *sync_at - self.now;
        let boot = self.seat(who).boot;
        self.schedule(after, Event::Synced(who, boot, entries));
    }

    pub(crate) fn synced(&mut self, who: Who, upto: usize) {
        match who {
            Who::Execution => {
                self.execution_disk.synced = self.execution_disk.synced.max(upto);
                self.execution_synced();
            }
            Who::Audit => {
                self.audit_disk.synced = self.audit_disk.synced.max(upto);
                if self.journal_point(who, JournalPoint::Synced) {
                    return;
                }
                let size = self.audit_disk.synced as u64;
                self.audit_step(audit_core::Input::Durable { size });
            }
            _ => {
                self.signer_disk.synced = self.signer_disk.synced.max(upto);
                if self.journal_point(who, JournalPoint::Synced) {
                    return;
                }
                self.release_signatures();
            }
        }
    }
}
