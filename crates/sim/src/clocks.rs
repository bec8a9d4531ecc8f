//! Clocks that jump: by more than two seconds the service notices within a second and stops, as the
//! real runtime makes it; until somebody puts the clock right it starts again with the wrong time.

use crate::cast::Who;
use crate::random::Random;
use crate::world::{CHAOS_UNTIL, Event, MS, World};

/// A day, in microseconds.
const DAY: i64 = 86_400_000_000;
/// How far a clock may part from the time that really passed.
const JUMP_MAX: i64 = 2_000_000;
/// The most by which the venue's clock may differ before nothing is sent to it any more, as
/// `venue.clock_offset_max_ms` of execution's settings.
const OFFSET_MAX: i64 = 2_000_000;
/// How often the venue's clock is measured.
pub const MEASURE_EVERY: u64 = 10_000 * MS;

impl World {
    /// One clock jumps, or those of all at once, as on one machine.
    pub(crate) fn jump(&mut self) {
        let everybody = self.random.chance(350);
        let who = self.random.pick(&Who::ALL);
        let by = jump_by(&mut self.random);
        self.trace.count(match (everybody, by.abs() == DAY) {
            (true, true) => "fault: all clocks jump by a day",
            (true, false) => "fault: all clocks jump",
            (false, true) => "fault: clock jumps by a day",
            (false, false) => "fault: clock jumps",
        });
        self.say(format_args!(
            "{who:?}'s clock jumps by {} ms, everybody's: {everybody}",
            by / 1_000
        ));
        let all = if everybody { &Who::ALL[..] } else { &[who] };
        for who in all {
            self.set_clock(*who, by);
        }
        let right = self.now + self.random.between(2_000, 8_000) * MS;
        for who in all {
            let after = right.min(CHAOS_UNTIL) - self.now;
            self.schedule(after, Event::ClockRight(*who));
        }
    }

    /// Somebody puts the clock right, which is a jump too.
    pub(crate) fn clock_right(&mut self, who: Who) {
        let offset = self.random.around(200_000);
        let by = offset - self.seat(who).offset;
        self.set_clock(who, by);
    }

    /// By so much; what is more than two seconds is noticed within one.
    pub(crate) fn set_clock(&mut self, who: Who, by: i64) {
        let seat = self.seat(who);
        seat.offset += by;
        let boot = seat.boot;
        if by.abs() <= JUMP_MAX {
            return;
        }
        let after = self.random.between(0, 1_000) * MS;
        self.schedule(after, Event::Watchdog(who, boot));
    }

    /// The service notices.
    pub(crate) fn watchdog(&mut self, who: Who) {
        let has_process = !matches!(who, Who::Sample | Who::Other | Who::Alice);
        if has_process {
            self.trace.count("stopped as its clock had jumped");
            self.say(format_args!("{who:?} stops: its clock jumped"));
            self.crash(who);
        }
    }

    /// Execution measures how far the venue's clock is from its own.
    pub(crate) fn measure_venue_clock(&mut self) {
        let error = self.random.around(40_000);
        let own = self.clock(Who::Execution);
        let offset = self.venue_clock().0.wrapping_sub(own.0) as i64 + error;
        if let Some(life) = self.execution.as_mut() {
            life.venue_offset = offset;
        }
    }

    /// The venue's time as execution knows it; none where the clocks are so far apart that one of
    /// them must be wrong.
    pub(crate) fn venue_time_ms(&mut self) -> Option<u64> {
        let now = self.clock(Who::Execution);
        let offset = self.execution.as_ref()?.venue_offset;
        if offset.abs() > OFFSET_MAX {
            self.trace
                .count("the venue's clock is too far from execution's");
            return None;
        }
        let venue = portcullis_domain::Timestamp(now.0.saturating_add_signed(offset));
        Some(venue.as_millis())
    }
}

fn jump_by(random: &mut Random) -> i64 {
    let size = if random.chance(500) {
        DAY
    } else {
        random.between(2_500, 600_000) as i64 * MS as i64
    };
    if random.chance(500) { size } else { -size }
}
