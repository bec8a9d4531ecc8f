//! Nothing is receipted or acknowledged before it is on disk.

use portcullis_domain::{Hash, OrderId};
use portcullis_wire::messages::PermitTaken;

use super::*;

fn taken(rig: &mut Rig, number: u8) -> Sealed {
    let taken = PermitTaken {
        order: OrderId([number; 16]),
        permit: vec![number; 300],
    };
    rig.world.seal(NOW, &PERMIT_TAKEN, None, &taken)
}

fn give(rig: &mut Rig, sealed: &Sealed, path: Path) -> Effects {
    let fact = Fact::permit_taken(open(&rig.world, &PERMIT_TAKEN, sealed));
    rig.fact(fact, path)
}

#[test]
fn a_receipt_states_the_fact_and_its_entry_once_it_is_on_disk() {
    let mut rig = Rig::new();
    for one in rig.notices(2) {
        rig.live(&one);
    }
    let sealed = taken(&mut rig, 7);
    assert!(give(&mut rig, &sealed, Path::Live).receipts.is_empty());
    assert!(
        rig.step(Input::Durable { size: 2 }).receipts.is_empty(),
        "the entry before it"
    );
    let effects = rig.step(Input::Durable { size: 3 });
    let [due] = effects.receipts.as_slice() else {
        panic!("{effects:?}")
    };
    let mut follower = Follower::new(None);
    let hashes: Vec<Hash> = payloads(&rig.log)
        .into_iter()
        .map(|one| follower.follow(one).unwrap().1)
        .collect();
    assert_eq!((due.receipt.index, due.receipt.entry), (2, hashes[2]));
    assert_eq!(due.receipt.fact, fact_digest(&sealed.frame));
    assert_eq!(
        (due.receipt.order, due.cause.id),
        (OrderId([7; 16]), sealed.id)
    );
}

#[test]
fn both_paths_together_give_one_receipt() {
    let mut rig = Rig::new();
    let sealed = taken(&mut rig, 1);
    give(&mut rig, &sealed, Path::Live);
    give(&mut rig, &sealed, Path::Stream { token: 1 });
    let effects = rig.sync();
    assert_eq!((effects.receipts.len(), effects.acknowledge), (1, vec![1]));
    let sealed = taken(&mut rig, 2);
    give(&mut rig, &sealed, Path::Stream { token: 2 });
    rig.sync();
    assert!(give(&mut rig, &sealed, Path::Live).receipts.is_empty());
    assert_eq!(rig.core.counts().receipts, 2);
}

#[test]
fn a_fact_that_comes_again_on_the_same_path_is_answered_again() {
    let mut rig = Rig::new();
    let sealed = taken(&mut rig, 1);
    give(&mut rig, &sealed, Path::Live);
    assert!(
        give(&mut rig, &sealed, Path::Live).receipts.is_empty(),
        "not on disk yet"
    );
    let first = rig.sync().receipts;
    assert_eq!(give(&mut rig, &sealed, Path::Live).receipts, first);
    let mut rig = rig.restarted();
    let again = give(&mut rig, &sealed, Path::Stream { token: 1 });
    assert_eq!(
        again.receipts, first,
        "the process may have died before it sent the first"
    );
    assert_eq!(again.acknowledge, [1]);
}

#[test]
fn a_backlog_is_recorded_without_receipts_that_nobody_waits_for() {
    let mut rig = Rig::new();
    let sealed = taken(&mut rig, 1);
    rig.tick_after(4_001);
    give(&mut rig, &sealed, Path::Stream { token: 1 });
    let effects = rig.sync();
    assert_eq!((effects.receipts.len(), effects.acknowledge), (0, vec![1]));
    let sealed = taken(&mut rig, 2);
    rig.now = NOW.plus(Span::from_millis(4_000));
    give(&mut rig, &sealed, Path::Live);
    assert_eq!(rig.sync().receipts.len(), 1);
}

#[test]
fn a_duplicate_is_acknowledged_only_when_the_first_is_on_disk() {
    let mut rig = Rig::new();
    let sealed = rig.notices(1);
    rig.live(&sealed[0]);
    let (effects, token) = rig.stream(&sealed[0]);
    assert!(effects.acknowledge.is_empty());
    assert_eq!(rig.sync().acknowledge, [token]);
    let (effects, token) = rig.stream(&sealed[0]);
    assert_eq!(effects.acknowledge, [token], "at once");
    assert_eq!(rig.said(), ["brain 1"]);
}
