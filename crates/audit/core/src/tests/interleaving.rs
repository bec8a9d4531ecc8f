//! However the two paths interleave, the log says the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens next: the next one from the stream, any one from the bus, a sync.
#[derive(Clone, Copy, Debug)]
enum Event {
    Stream,
    Live(prop::sample::Index),
    Sync,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Stream),
        6 => any::<prop::sample::Index>().prop_map(Event::Live),
        1 => Just(Event::Sync),
    ];
    prop::collection::vec(event, 0..80)
}

/// Facts of two starts of the brain and of the signer, in an order in which the stream may have
/// them: each start of each source in its own order.
fn sealed(world: &mut World, order: &[bool]) -> Vec<(bool, Sealed)> {
    let half = order.len() / 2;
    let mut all = Vec::new();
    for (number, is_brain) in order.iter().enumerate() {
        if number == half {
            world.restart("brain", Timestamp(NOW.0 + 5));
        }
        let detail = Text::lossy(&format!("notice {number}"));
        let warning = Notice::Warning { detail };
        let one = match is_brain {
            true => world.seal(NOW, &BRAIN_NOTICE, None, &warning),
            false => world.seal(NOW, &SIGNER_NOTICE, None, &warning),
        };
        all.push((*is_brain, one));
    }
    all
}

fn give(rig: &mut Rig, (is_brain, one): &(bool, Sealed), path: Path) -> Effects {
    let fact = match is_brain {
        true => Fact::new(open(&rig.world, &BRAIN_NOTICE, one)),
        false => Fact::new(open(&rig.world, &SIGNER_NOTICE, one)),
    };
    rig.fact(fact, path)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_gives_each_source_in_order_and_whole(
        order in prop::collection::vec(any::<bool>(), 1..40),
        events in events(),
    ) {
        let mut rig = Rig::new();
        let all = sealed(&mut rig.world, &order);
        let mut due = BTreeMap::new();
        for (is_brain, one) in &all {
            let header = portcullis_wire::inspect(&one.frame).unwrap().0;
            let line: &mut Vec<u64> = due.entry((*is_brain, header.boot)).or_default();
            line.push(header.seq);
        }
        let (mut streamed, mut acknowledged) = (0_usize, Vec::new());
        let rest = core::iter::repeat_n(Event::Stream, all.len());
        for event in events.into_iter().chain(rest).chain([Event::Sync]) {
            let effects = match event {
                Event::Stream if streamed < all.len() => {
                    streamed += 1;
                    let token = streamed as u64;
                    give(&mut rig, &all[streamed - 1], Path::Stream { token })
                }
                Event::Stream => continue,
                // A source publishes nothing of an earlier start: what is late of it on the bus
                // is the business of another test.
                Event::Live(which) => {
                    let one = which.get(&all).clone();
                    let boot = portcullis_wire::inspect(&one.1.frame).unwrap().0.boot;
                    let newest = rig.core.source(if one.0 { "brain" } else { "signer" }).lines;
                    let known = newest.is_empty() || newest.contains_key(&boot);
                    if !known && newest.last_key_value().is_some_and(|(last, _)| boot < *last) {
                        continue;
                    }
                    give(&mut rig, &one, Path::Live)
                }
                Event::Sync => rig.sync(),
            };
            let counts = rig.core.counts();
            prop_assert!(effects.acknowledge.is_empty() || counts.durable == counts.entries);
            acknowledged.extend(effects.acknowledge);
        }
        let mut recorded = BTreeMap::new();
        let mut follower = Follower::new(Some(key()));
        for payload in payloads(&rig.log) {
            let (entry, _) = follower.follow(payload).unwrap();
            prop_assert_eq!(entry.kind, Kind::Fact);
            let line: &mut Vec<u64> =
                recorded.entry((entry.source.as_str() == "brain", entry.boot)).or_default();
            line.push(entry.seq);
        }
        prop_assert_eq!(recorded, due);
        acknowledged.sort_unstable();
        prop_assert_eq!(acknowledged, (1..=all.len() as u64).collect::<Vec<_>>());
        prop_assert_eq!(rig.core.counts().held, 0);
    }
}
