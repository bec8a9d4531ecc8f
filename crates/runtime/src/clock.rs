//! The time of day, and a watch over it.
//!
//! Lifetimes, days and heartbeats are judged by the wall clock, so a clock that jumps would revive
//! expired orders or age fresh ones. The watchdog compares it with the time since boot, which
//! nobody can set, and stops the service when they part.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_domain::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::shutdown::Faults;

/// How far the wall clock may part from the time since boot.
const JUMP_US_MAX: i64 = 2_000_000;
/// How long two readings are compared; slewing by at most 500 ppm (the kernel's limit) moves the
/// wall clock by 30 ms in that time, and a row of small jumps still adds up.
const ANCHOR_US: i64 = 60_000_000;
/// How often the clocks are compared.
const PERIOD: Duration = Duration::from_secs(1);

/// Where the kernel names this start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Tells the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(());

impl Clock {
    /// The clock of the operating system.
    #[must_use]
    pub const fn system() -> Self {
        Self(())
    }

    /// The present, by UTC. A clock set before 1970 reads as 0, which everything counts as expired.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// How the wall clock stands to the time since this machine started, which nobody can set.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Reading { wall_us, boot_us } = self.reading();
        Standing {
            machine: std::fs::read_to_string(BOOT_ID)
                .map(|id| id.trim().to_owned())
                .unwrap_or_default(),
            offset_us: wall_us.saturating_sub(boot_us),
        }
    }

    pub(crate) fn reading(self) -> Reading {
        let boot = clock_gettime(ClockId::Boottime);
        let boot_us = boot
            .tv_sec
            .saturating_mul(1_000_000)
            .saturating_add(boot.tv_nsec / 1_000);
        Reading {
            wall_us: i64::try_from(self.now().0).unwrap_or(i64::MAX),
            boot_us,
        }
    }
}

/// See [`Clock::standing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which start of the machine, as the kernel names it; empty when it does not.
    pub machine: String,
    /// The wall clock less the time since that start, in microseconds.
    pub offset_us: i64,
}

impl Standing {
    /// Whether the wall clock ran on without a jump since an earlier reading. What cannot be proven,
    /// such as across a start of the machine, is no.
    #[must_use]
    pub fn continues(&self, earlier: &Self) -> bool {
        let jump = self.offset_us.saturating_sub(earlier.offset_us);
        !self.machine.is_empty()
            && self.machine == earlier.machine
            && jump.saturating_abs() <= JUMP_US_MAX
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub wall_us: i64,
    pub boot_us: i64,
}

/// The wall clock jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("clock jumped by {} ms", .jump_us / 1_000)]
pub struct ClockJumped {
    /// Forwards when positive.
    pub jump_us: i64,
}

/// How far the wall clock went beyond the time since boot, if that is more than is allowed.
pub(crate) const fn check(anchor: Reading, now: Reading) -> Result<(), ClockJumped> {
    let wall = now.wall_us.saturating_sub(anchor.wall_us);
    let boot = now.boot_us.saturating_sub(anchor.boot_us);
    let jump_us = wall.saturating_sub(boot);
    if jump_us.saturating_abs() > JUMP_US_MAX {
        Err(ClockJumped { jump_us })
    } else {
        Ok(())
    }
}

/// Compares the clocks each second for as long as the service runs.
pub(crate) async fn watch(clock: Clock, faults: Faults) {
    let mut anchor = clock.reading();
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let now = clock.reading();
        if let Err(jump) = check(anchor, now) {
            faults.fail(jump);
            return;
        }
        if now.boot_us.saturating_sub(anchor.boot_us) >= ANCHOR_US {
            anchor = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(anchor: Reading, wall_us: i64, boot_us: i64) -> Reading {
        Reading {
            wall_us: anchor.wall_us + wall_us,
            boot_us: anchor.boot_us + boot_us,
        }
    }

    #[test]
    fn only_a_jump_of_more_than_two_seconds_is_a_fault_in_either_direction() {
        let anchor = Reading {
            wall_us: 1_700_000_000_000_000,
            boot_us: 5_000_000,
        };
        let cases = [
            (1_000_000, 1_000_000, None),
            (3_000_000, 1_000_000, None),
            (3_000_001, 1_000_000, Some(2_000_001)),
            (-1_000_000, 1_000_000, None),
            (-1_000_001, 1_000_000, Some(-2_000_001)),
            // A suspended machine: both clocks move on, nothing jumped.
            (3_600_000_000, 3_600_000_000, None),
            (i64::MAX, 0, Some(i64::MAX - anchor.wall_us)),
        ];
        for (wall, boot, jump) in cases {
            let now = Reading {
                wall_us: anchor.wall_us.saturating_add(wall),
                boot_us: anchor.boot_us + boot,
            };
            let expected = jump.map_or(Ok(()), |jump_us| Err(ClockJumped { jump_us }));
            assert_eq!(check(anchor, now), expected, "wall {wall} boot {boot}");
        }
    }

    #[test]
    fn only_the_same_start_of_the_machine_without_a_jump_proves_that_time_ran_on() {
        let standing = |machine: &str, offset_us| Standing {
            machine: machine.to_owned(),
            offset_us,
        };
        let earlier = standing("a", 10_000_000);
        let cases = [
            ("a", 10_000_000, true),
            ("a", 12_000_000, true),
            ("a", 8_000_000, true),
            ("a", 12_000_001, false),
            ("a", 7_999_999, false),
            ("b", 10_000_000, false),
        ];
        for (machine, offset_us, expected) in cases {
            let now = standing(machine, offset_us);
            assert_eq!(now.continues(&earlier), expected, "{machine} {offset_us}");
        }
        let nameless = standing("", 0);
        assert!(!nameless.continues(&nameless));
        let real = Clock::system().standing();
        assert!(Clock::system().standing().continues(&real));
    }

    #[test]
    fn small_jumps_add_up_until_the_anchor_moves() {
        let anchor = Reading {
            wall_us: 0,
            boot_us: 0,
        };
        assert_eq!(check(anchor, after(anchor, 2_500_000, 1_000_000)), Ok(()));
        assert_eq!(
            check(anchor, after(anchor, 5_000_000, 2_000_000)),
            Err(ClockJumped { jump_us: 3_000_000 })
        );
    }

    #[test]
    fn the_fault_says_by_how_much() {
        let jump = ClockJumped {
            jump_us: -3_600_000_000,
        };
        assert_eq!(jump.to_string(), "clock jumped by -3600000 ms");
    }
}
