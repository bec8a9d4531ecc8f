//! What comes before its turn, what is lost on one path, and what is lost on both.

use super::*;

#[test]
fn what_comes_early_waits_for_the_stream_to_fill_the_hole() {
    let mut rig = Rig::new();
    let sealed = rig.notices(4);
    rig.live(&sealed[0]);
    rig.live(&sealed[2]);
    rig.live(&sealed[3]);
    assert_eq!(rig.said(), ["brain 1"]);
    assert_eq!(rig.core.counts().held, 2);
    rig.stream(&sealed[0]);
    rig.stream(&sealed[1]);
    assert_eq!(rig.said(), ["brain 1", "brain 2", "brain 3", "brain 4"]);
    assert_eq!((rig.core.counts().held, rig.core.counts().gaps), (0, 0));
}

#[test]
fn a_hole_that_the_stream_has_passed_is_a_gap_at_once() {
    let mut rig = Rig::new();
    let sealed = rig.notices(6);
    rig.stream(&sealed[0]);
    rig.live(&sealed[3]);
    let (effects, _) = rig.stream(&sealed[5]);
    let told: Vec<_> = effects
        .alerts
        .iter()
        .map(|alert| match alert {
            Alert::Gap { from, to, .. } => (*from, *to),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(2, 3), (5, 5)]);
    let expected = [
        "brain 1",
        "gap brain 2-3",
        "brain 4",
        "gap brain 5-5",
        "brain 6",
    ];
    assert_eq!(rig.said(), expected);
    assert_eq!(rig.core.counts().gaps, 2);
}

#[test]
fn what_was_recorded_as_missing_is_recorded_when_it_comes_late_and_once() {
    let mut rig = Rig::new();
    let sealed = rig.notices(5);
    rig.stream(&sealed[4]);
    let (effects, token) = rig.stream(&sealed[2]);
    let late = Alert::Late {
        source: principal("brain"),
        boot: NOW.0,
        seq: 3,
    };
    assert_eq!(effects.alerts, [late]);
    rig.live(&sealed[2]);
    rig.stream(&sealed[2]);
    assert_eq!(rig.said(), ["gap brain 1-4", "brain 5", "brain 3"]);
    assert_eq!(
        (rig.core.counts().late, rig.core.counts().duplicates),
        (1, 2)
    );
    assert_eq!(rig.sync().acknowledge, [1, token, 3]);
}

#[test]
fn a_hole_that_nothing_fills_is_a_gap_after_its_time() {
    let mut rig = Rig::new();
    let sealed = rig.notices(4);
    rig.live(&sealed[0]);
    rig.live(&sealed[3]);
    rig.tick_after(4_999);
    assert_eq!(rig.said(), ["brain 1"]);
    rig.tick_after(1);
    assert_eq!(rig.said(), ["brain 1", "gap brain 2-3", "brain 4"]);
    rig.live(&sealed[1]);
    assert_eq!(rig.said()[3], "brain 2");
}

#[test]
fn while_the_stream_is_at_work_a_hole_waits_longer_but_not_for_ever() {
    let mut rig = Rig::new();
    let sealed = rig.notices(3);
    rig.live(&sealed[2]);
    // Another source's facts keep the stream busy; none of them fills or passes the hole.
    for _ in 0..11 {
        rig.tick_after(4_900);
        let detail = Text::lossy("busy");
        let busy = rig
            .world
            .seal(NOW, &SIGNER_NOTICE, None, &Notice::Warning { detail });
        let fact = Fact::new(open(&rig.world, &SIGNER_NOTICE, &busy));
        rig.fact(fact, Path::Stream { token: 99 });
    }
    assert_eq!(rig.core.counts().gaps, 0, "after 53.9 s");
    rig.tick_after(4_000);
    assert_eq!(rig.core.counts().gaps, 0, "after 57.9 s");
    rig.stream(&rig.sealed_elsewhere());
    rig.tick_after(2_200);
    assert_eq!(rig.core.counts().gaps, 1, "after 60.1 s");
}

impl Rig {
    /// A fact of the brain's earlier start.
    fn sealed_elsewhere(&self) -> Sealed {
        notice(&mut World::new(Timestamp(NOW.0 - 1)), 0)
    }
}

#[test]
fn a_backlog_that_moves_on_makes_no_gap_however_long_it_takes() {
    let mut rig = Rig::new();
    let sealed = rig.notices(40);
    rig.live(&sealed[39]);
    for one in &sealed[..39] {
        rig.tick_after(4_000);
        rig.stream(one);
    }
    assert_eq!(rig.core.counts().gaps, 0);
    let said = rig.said();
    let recorded = said.iter().filter(|one| one.starts_with("brain"));
    assert_eq!(recorded.count(), 40);
}

#[test]
fn no_more_is_held_back_than_allowed_and_the_stream_brings_the_rest() {
    let mut rig = Rig::new();
    let sealed = rig.notices(20);
    for one in &sealed[1..] {
        rig.live(one);
    }
    let counts = rig.core.counts();
    assert_eq!((counts.held, counts.left_to_stream), (8, 11));
    for one in &sealed {
        rig.stream(one);
    }
    let expected: Vec<_> = (1..=20).map(|seq| format!("brain {seq}")).collect();
    assert_eq!(rig.said(), expected);
    assert_eq!((rig.core.counts().held, rig.core.counts().gaps), (0, 0));
}

#[test]
fn no_more_bytes_are_held_back_than_allowed() {
    let mut rig = Rig::new();
    let order = portcullis_domain::OrderId([1; 16]);
    let taken = portcullis_wire::messages::PermitTaken {
        order,
        permit: vec![7; 7_000],
    };
    let sealed: Vec<_> = (0..4)
        .map(|_| rig.world.seal(NOW, &PERMIT_TAKEN, None, &taken))
        .collect();
    for one in &sealed[1..] {
        let fact = Fact::permit_taken(open(&rig.world, &PERMIT_TAKEN, one));
        rig.fact(fact, Path::Live);
    }
    let counts = rig.core.counts();
    assert_eq!((counts.held, counts.left_to_stream), (2, 1));
    let source = &rig.core.source("execution");
    assert_eq!(
        source.held_bytes,
        sealed[1].frame.len() + sealed[2].frame.len()
    );
}

#[test]
fn a_place_beyond_all_numbers_is_a_violation_and_the_one_before_is_not() {
    // No sealer counts that far, so the position itself is asked.
    let mut position = Position::default();
    assert!(position.skip(1, u64::MAX - 2));
    assert_eq!(position.place(u64::MAX - 1), Place::Next);
    assert_eq!(position.place(u64::MAX), Place::Invalid);
}
