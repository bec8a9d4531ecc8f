//! `kill -9` at random moments of each process's life, its start-up among them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{Harness, PARTS};
use crate::support::wait_for;

/// How many are killed where nobody says how many; `cargo xtask crash` kills 200.
const KILLS: u64 = 100;
/// Of so many kills, how many hit each part, in the order of [`PARTS`]: execution most often.
const WEIGHTS: [u64; 8] = [2, 2, 6, 2, 2, 1, 2, 1];
/// Every so many bursts everything has to recover before the next one.
const RECOVER_EVERY: u64 = 8;

/// Numbers that look random and follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn part(&mut self) -> &'static str {
        let mut at = self.below(WEIGHTS.iter().sum());
        for (part, weight) in PARTS.iter().zip(WEIGHTS) {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return part,
            }
        }
        PARTS[0]
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

#[test]
fn processes_are_killed_at_random_moments_under_load_and_all_accounts_agree() {
    let kills = number("PORTCULLIS_CRASH_KILLS").unwrap_or(KILLS);
    let seed = number("PORTCULLIS_CRASH_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    eprintln!("{kills} kills from seed {seed}");
    let mut random = Random(seed);
    let harness = Harness::start();
    let begun = Instant::now();
    let mut killed = BTreeMap::<&str, u64>::new();
    let (mut done, mut bursts, mut recovered) = (0, 0_u64, 0_u64);
    while done < kills {
        // Some at once, as often as not the same one again while it starts.
        let mut part = random.part();
        for _ in 0..(1 + random.below(4)).min(kills - done) {
            if random.below(2) == 0 {
                part = random.part();
            }
            wait_for("a process to kill", Duration::from_secs(30), || {
                harness.stack.pid(part)
            });
            std::thread::park_timeout(random.millis(400));
            // It may have ended by itself at this moment: then the next one is due.
            if harness.stack.kill(part) {
                done += 1;
                *killed.entry(part).or_default() += 1;
            }
        }
        bursts += 1;
        if bursts.is_multiple_of(RECOVER_EVERY) {
            harness.wait_until_orders_leave(&format!("kill {done} of seed {seed}"));
            recovered += 1;
        } else {
            let patience = random.millis(4_000);
            if harness.orders_leave_within(3, patience) {
                recovered += 1;
                // A moment between two events of an order.
                std::thread::park_timeout(random.millis(200));
            }
        }
    }
    let took = begun.elapsed().as_secs();
    eprintln!(
        "{done} kills in {took} s, orders left again after {recovered} of {bursts} bursts: {killed:?}"
    );
    harness.wait_until_orders_leave(&format!("the last kill of seed {seed}"));
    let agreed = harness.finish(&format!("{kills} kills from seed {seed}"));
    let enough = usize::try_from(kills).unwrap();
    assert!(agreed.fills.len() > enough, "it was killed under load");
}
