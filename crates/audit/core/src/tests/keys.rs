//! The keys that checkpoints are signed with.

use portcullis_domain::Hash;

use super::*;

fn use_key(rig: &mut Rig, byte: u8) {
    let key = Hash([byte; 32]);
    rig.step(Input::Key { key });
}

#[test]
fn another_key_is_recorded_once_and_again_after_a_restart_only_when_it_changed() {
    let mut rig = Rig::new();
    for byte in [1, 1, 2, 2] {
        use_key(&mut rig, byte);
    }
    let mut rig = rig.restarted();
    assert_eq!(rig.core.key(), Some(Hash([2; 32])));
    use_key(&mut rig, 2);
    use_key(&mut rig, 3);
    assert_eq!(rig.said(), ["key 1", "key 2", "key 3"]);
}

#[test]
fn no_checkpoint_is_due_before_one_that_covers_its_key() {
    let mut rig = Rig::new();
    use_key(&mut rig, 1);
    rig.sync();
    let first = rig.tick_after(1_000).checkpoint.unwrap();
    assert_eq!(first.size, 1);
    let sealed = rig.notices(2);
    rig.live(&sealed[0]);
    rig.sync();
    // Two entries are on disk when the key changes, and one was stated.
    use_key(&mut rig, 2);
    assert_eq!(rig.tick_after(1_000).checkpoint, None);
    rig.sync();
    let next = rig.tick_after(1_000).checkpoint.unwrap();
    assert_eq!(next.size, 3);
}
