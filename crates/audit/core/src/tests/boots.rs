//! Sources that start again.

use super::*;

/// Two notices of an earlier start and two of a later one.
fn two_starts(rig: &mut Rig) -> (Vec<Sealed>, Vec<Sealed>) {
    let earlier = rig.notices(2);
    rig.world.restart("brain", Timestamp(NOW.0 + 5));
    (earlier, rig.notices(2))
}

#[test]
fn a_new_start_counts_from_one_again() {
    let mut rig = Rig::new();
    let (earlier, later) = two_starts(&mut rig);
    for one in earlier.iter().chain(&later) {
        rig.live(one);
    }
    assert_eq!(rig.said(), ["brain 1", "brain 2", "brain 1", "brain 2"]);
}

#[test]
fn the_tail_of_an_earlier_start_still_comes_by_the_stream() {
    let mut rig = Rig::new();
    let (earlier, later) = two_starts(&mut rig);
    rig.live(&earlier[0]);
    rig.live(&later[0]);
    rig.stream(&earlier[1]);
    rig.live(&later[1]);
    assert_eq!(rig.said(), ["brain 1", "brain 1", "brain 2", "brain 2"]);
    assert_eq!(
        (rig.core.counts().gaps, rig.core.counts().violations),
        (0, 0)
    );
}

#[test]
fn an_earlier_start_that_nobody_knew_of_comes_by_the_stream_only() {
    let mut rig = Rig::new();
    let (earlier, later) = two_starts(&mut rig);
    rig.live(&later[0]);
    rig.live(&earlier[0]);
    assert_eq!(rig.said(), ["brain 1", "violation BOOT_BACKWARDS"]);
    rig.stream(&earlier[0]);
    assert_eq!(rig.said()[2], "brain 1");
}

#[test]
fn only_so_many_starts_are_remembered_and_what_they_held_back_is_settled() {
    let mut rig = Rig::new();
    let first = rig.notices(3);
    rig.live(&first[2]);
    for start in 1..=16 {
        rig.world.restart("brain", Timestamp(NOW.0 + start));
        let one = rig.notices(1);
        rig.live(&one[0]);
    }
    assert_eq!(rig.core.source("brain").lines.len(), 16);
    assert_eq!(rig.core.counts().held, 0);
    assert!(
        rig.said().contains(&"gap brain 1-2".into()),
        "{:?}",
        rig.said()
    );
    rig.stream(&first[0]);
    assert_eq!(rig.said().last().unwrap(), "violation FORGOTTEN_BOOT");
}

#[test]
fn a_restarted_audit_goes_on_where_the_log_ends() {
    let mut rig = Rig::new();
    let sealed = rig.notices(6);
    rig.stream(&sealed[0]);
    rig.stream(&sealed[2]);
    let mut rig = rig.restarted();
    assert_eq!(rig.core.counts().gaps, 1);
    // What was not acknowledged comes again, the missing one late, and the next in order.
    for at in [0, 2, 1, 3] {
        rig.stream(&sealed[at]);
    }
    rig.live(&sealed[5]);
    let expected = ["brain 1", "gap brain 2-2", "brain 3", "brain 2", "brain 4"];
    assert_eq!(rig.said(), expected);
    assert_eq!(
        (rig.core.counts().duplicates, rig.core.counts().held),
        (2, 1)
    );
}

/// Whoever had a source's keys for a while must not keep its later starts out.
#[test]
fn a_fact_sealed_in_the_future_is_a_violation_and_takes_no_start() {
    let mut rig = Rig::new();
    for start in 1..=16 {
        let later = Timestamp(NOW.0 + 2_000_000 + start);
        rig.world.restart("brain", later);
        let stolen = rig.world.seal(later, &BRAIN_NOTICE, None, &Notice::Stopped);
        rig.stream(&stolen);
    }
    assert_eq!(rig.core.counts().facts, 0);
    assert_eq!(rig.core.counts().violations, 16);
    assert_eq!(rig.said()[0], "violation SEALED_IN_FUTURE");
    rig.world.restart("brain", NOW);
    let honest = rig.notices(1);
    rig.live(&honest[0]);
    assert_eq!(rig.core.counts().facts, 1);
}
