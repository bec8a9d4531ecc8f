//! Sources that say nothing any more.

use super::*;

impl Rig {
    /// A notice of the brain, sealed now.
    fn sealed_now(&mut self, notice: &Notice) -> Sealed {
        self.world.seal(self.now, &BRAIN_NOTICE, None, notice)
    }

    /// The brain says something, and it comes at once.
    fn brain_says(&mut self, notice: &Notice) -> Sealed {
        let sealed = self.sealed_now(notice);
        self.brain_is_heard(&sealed, Path::Live);
        sealed
    }

    fn brain_is_heard(&mut self, sealed: &Sealed, path: Path) {
        let fact = Fact::notice(open(&self.world, &BRAIN_NOTICE, sealed));
        self.fact(fact, path);
    }

    fn silences(&self) -> Vec<String> {
        let mut said = self.said();
        said.retain(|one| one.starts_with("silent"));
        said
    }
}

#[test]
fn a_source_that_falls_silent_is_recorded_once_and_alerted() {
    let mut rig = Rig::new();
    rig.tick_after(500);
    rig.brain_says(&Notice::Alive);
    assert_eq!(rig.tick_after(59_999).alerts, []);
    assert_eq!(rig.silences(), [""; 0]);
    let effects = rig.tick_after(1);
    let alert = Alert::Silence {
        source: principal("brain"),
        boot: NOW.0,
        since: NOW.plus(Span::from_millis(500)),
    };
    assert_eq!(effects.alerts, [alert]);
    assert_eq!(rig.core.counts().silent, 1);
    let sources: Vec<_> = rig.core.sources().collect();
    assert_eq!(sources, [(principal("brain"), true)]);
    for _ in 0..5 {
        assert_eq!(rig.tick_after(60_000).alerts, []);
    }
    assert_eq!(rig.said(), ["brain 1", "silent brain since 500"]);
}

#[test]
fn it_is_recorded_anew_when_it_has_spoken_in_between() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        rig.brain_says(&Notice::Alive);
        rig.tick_after(20_000);
    }
    assert_eq!(rig.silences(), [""; 0], "signs of life every 20 s");
    rig.tick_after(40_000);
    assert_eq!(rig.silences(), ["silent brain since 60000"]);
    rig.brain_says(&Notice::Alive);
    assert_eq!(rig.core.counts().silent, 0);
    rig.tick_after(60_000);
    let expected = ["silent brain since 60000", "silent brain since 120000"];
    assert_eq!(rig.silences(), expected);
}

#[test]
fn a_source_that_has_said_that_it_ends_may_be_silent() {
    let mut rig = Rig::new();
    rig.brain_says(&Notice::Alive);
    rig.brain_says(&Notice::Stopped);
    rig.tick_after(600_000);
    assert_eq!(rig.silences(), [""; 0]);

    // Its next start may not.
    rig.world.restart("brain", Timestamp(NOW.0 + 5));
    rig.brain_says(&Notice::Alive);
    rig.tick_after(60_000);
    assert_eq!(rig.silences(), ["silent brain since 600000"]);
    // Who is taken for silent and says after all that it ends, is so no more: however late that comes.
    let last = rig.sealed_now(&Notice::Stopped);
    rig.tick_after(60_000);
    assert_eq!(rig.core.counts().silent, 1);
    rig.brain_is_heard(&last, Path::Stream { token: 1 });
    assert_eq!(rig.core.counts().silent, 0);
    rig.tick_after(600_000);
    assert_eq!(rig.silences().len(), 1);
}

#[test]
fn the_end_of_an_earlier_start_excuses_no_later_one() {
    let mut rig = Rig::new();
    let last = rig.sealed_now(&Notice::Stopped);
    rig.world.restart("brain", Timestamp(NOW.0 + 5));
    rig.brain_says(&Notice::Alive);
    rig.brain_is_heard(&last, Path::Stream { token: 1 });
    rig.tick_after(60_000);
    assert_eq!(rig.silences(), ["silent brain since 0"]);
}

#[test]
fn what_comes_again_or_far_too_late_is_no_sign_of_life() {
    let mut rig = Rig::new();
    let first = rig.brain_says(&Notice::Alive);
    let kept_back: Vec<_> = (0..3).map(|_| rig.sealed_now(&Notice::Alive)).collect();
    for one in &kept_back {
        rig.tick_after(19_000);
        rig.brain_is_heard(&first, Path::Live);
        rig.brain_is_heard(&first, Path::Stream { token: 9 });
        rig.brain_is_heard(one, Path::Live);
    }
    assert_eq!(rig.silences(), [""; 0]);
    rig.tick_after(3_000);
    assert_eq!(rig.silences(), ["silent brain since 0"]);
    // Nor does a place far ahead count before it is recorded.
    let more: Vec<_> = (0..3).map(|_| rig.sealed_now(&Notice::Alive)).collect();
    rig.brain_is_heard(&more[2], Path::Live);
    assert_eq!(rig.core.counts().silent, 1);
    rig.brain_is_heard(&more[0], Path::Live);
    assert_eq!(rig.core.counts().silent, 0);
}

#[test]
fn a_backlog_that_is_heard_for_the_first_time_is_no_silence() {
    let mut rig = Rig::new();
    let old = rig.sealed_now(&Notice::Alive);
    rig.tick_after(3_600_000);
    rig.brain_is_heard(&old, Path::Stream { token: 1 });
    rig.tick_after(59_999);
    assert_eq!(rig.silences(), [""; 0]);
    rig.tick_after(1);
    assert_eq!(rig.silences(), ["silent brain since 3600000"]);
}

#[test]
fn a_restarted_audit_listens_from_its_own_start_on_to_those_who_have_not_ended() {
    let mut rig = Rig::new();
    rig.brain_says(&Notice::Alive);
    let signer = rig.world.seal(NOW, &SIGNER_NOTICE, None, &Notice::Stopped);
    let fact = Fact::notice(open(&rig.world, &SIGNER_NOTICE, &signer));
    rig.fact(fact, Path::Live);
    rig.now = rig.now.plus(Span::from_secs(3_600));
    let mut rig = rig.restarted();
    let known: Vec<_> = rig.core.sources().collect();
    assert_eq!(
        known,
        [(principal("brain"), false), (principal("signer"), false)]
    );
    rig.tick_after(0);
    rig.tick_after(59_999);
    assert_eq!(rig.silences(), [""; 0]);
    rig.tick_after(1);
    assert_eq!(rig.silences(), ["silent brain since 3600000"]);

    // And once more, for nothing was heard since.
    let mut rig = rig.restarted_as(BOOT + 2);
    rig.tick_after(0);
    rig.tick_after(60_000);
    assert_eq!(rig.silences().len(), 2);
}

#[test]
fn a_source_whose_last_fact_is_held_back_by_a_hole_is_not_kept_alive_by_it() {
    let mut rig = Rig::new();
    rig.brain_says(&Notice::Alive);
    rig.sealed_now(&Notice::Alive);
    rig.tick_after(10_000);
    rig.brain_says(&Notice::Alive);
    assert_eq!(rig.core.counts().held, 1);
    rig.tick_after(5_000);
    let expected = ["brain 1", "gap brain 2-2", "brain 3"];
    assert_eq!(rig.said(), expected);
    rig.tick_after(54_999);
    assert_eq!(rig.silences(), [""; 0]);
    rig.tick_after(1);
    assert_eq!(rig.silences(), ["silent brain since 10000"]);
}
