//! What an honest system never sends.

use super::*;

fn refused(rig: &mut Rig, bytes: &[u8], path: Path) -> Effects {
    let subject = "evt.brain.notice".into();
    rig.step(Input::Refused {
        subject,
        code: "BAD_SEAL",
        bytes: bytes.into(),
        path,
    })
}

#[test]
fn what_was_refused_is_recorded_by_its_digest_and_acknowledged() {
    let mut rig = Rig::new();
    let effects = refused(&mut rig, b"forged", Path::Stream { token: 4 });
    assert!(effects.acknowledge.is_empty(), "before it is on disk");
    let payload = payloads(&effects.records)[0];
    let entry = Entry::read(&payload[..payload.len() - HASHES_LENGTH]).unwrap();
    let own = Own::Violation {
        subject: Text::lossy("evt.brain.notice"),
        code: Text::lossy("BAD_SEAL"),
        frame: fact_digest(b"forged"),
    };
    assert_eq!(Own::read(entry.content).unwrap(), own);
    assert_eq!(rig.sync().acknowledge, [4]);
}

#[test]
fn a_flood_of_violations_is_counted_in_one_entry() {
    let mut rig = Rig::new();
    for token in 1..=10 {
        refused(&mut rig, b"forged", Path::Stream { token });
    }
    assert_eq!(rig.said(), ["violation BAD_SEAL"; 3]);
    assert_eq!(rig.sync().acknowledge, [1, 2, 3]);
    let effects = rig.tick_after(1_000);
    assert_eq!(effects.alerts, [Alert::Suppressed { count: 7 }]);
    assert_eq!(rig.said()[3], "suppressed 7");
    assert_eq!(rig.sync().acknowledge, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(rig.core.counts().violations, 10);
    assert_eq!(rig.restarted().core.counts().violations, 10);
}

#[test]
fn the_same_place_with_other_bytes_is_a_violation_recorded_or_held_back() {
    let mut rig = Rig::new();
    let sealed = rig.notices(3);
    // The same source and start, with the same keys, says something else at the same places.
    let mut other = World::new(NOW);
    let lies: Vec<_> = (0..3)
        .map(|number| notice(&mut other, number + 100))
        .collect();
    rig.live(&sealed[0]);
    rig.live(&sealed[2]);
    rig.live(&lies[0]);
    rig.live(&lies[2]);
    let expected = [
        "brain 1",
        "violation SEQUENCE_CONFLICT",
        "violation SEQUENCE_CONFLICT",
    ];
    assert_eq!(rig.said(), expected);
    assert_eq!(rig.core.counts().duplicates, 0);
    let mut rig = rig.restarted();
    let (_, token) = rig.stream(&lies[0]);
    assert_eq!(
        rig.said()[3],
        "violation SEQUENCE_CONFLICT",
        "after a restart"
    );
    assert_eq!(rig.sync().acknowledge, [token]);
}
