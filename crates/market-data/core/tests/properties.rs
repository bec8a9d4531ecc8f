//! What holds for every sequence of messages.

use std::collections::BTreeMap;

mod support;

use market_data_core::{Effect, LEVELS_PUBLISHED};
use proptest::prelude::*;
use support::{SYMBOL, at, book_of, connected, delta, depth, levels, snapshot};

type Change = (bool, u64, u64);

fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    // Bids from 1 to 50, asks from 51 to 100: never crossed. A quantity of 0 removes.
    let bid = (Just(true), 1..=50_u64, 0..4_u64);
    let ask = (Just(false), 51..=100_u64, 0..4_u64);
    let change = prop_oneof![bid, ask];
    proptest::collection::vec(proptest::collection::vec(change, 0..8), 1..40)
}

proptest! {
    #[test]
    fn random_deltas_give_what_a_plain_map_gives(deltas in changes()) {
        let mut market = connected();
        let mut maps = [BTreeMap::new(), BTreeMap::new()];
        maps[0].insert(1, 9);
        maps[1].insert(100, 9);
        let _ = market.step(at(0), snapshot(1, &[("1", "9")], &[("100", "9")]));
        for (n, changes) in deltas.iter().enumerate() {
            let mut texts = [Vec::new(), Vec::new()];
            for (is_bid, price, quantity) in changes {
                let side = usize::from(!is_bid);
                texts[side].push(format!(r#"["{price}","{quantity}"]"#));
                match quantity {
                    0 => maps[side].remove(price),
                    _ => maps[side].insert(*price, *quantity),
                };
            }
            let update = n as u64 + 2;
            let input = depth("delta", SYMBOL, update, &texts[0].join(","), &texts[1].join(","));
            let effects = market.step(at(update * 50), input);
            if maps.iter().any(BTreeMap::is_empty) {
                prop_assert_eq!(effects, []);
                continue;
            }
            let text = |(p, q): (&u64, &u64)| (p.to_string(), q.to_string());
            let bids: Vec<_> =
                maps[0].iter().rev().take(LEVELS_PUBLISHED).map(text).collect();
            let asks: Vec<_> = maps[1].iter().take(LEVELS_PUBLISHED).map(text).collect();
            let book = book_of(&effects);
            prop_assert_eq!(levels(book.bids()), bids);
            prop_assert_eq!(levels(book.asks()), asks);
        }
    }

    #[test]
    fn any_lost_delta_is_noticed_at_the_next_one(
        deltas in changes(),
        lost in any::<proptest::sample::Index>(),
    ) {
        let mut market = connected();
        let _ = market.step(at(0), snapshot(1, &[("1", "9")], &[("100", "9")]));
        let lost = lost.index(deltas.len());
        for n in 0..deltas.len() {
            if n == lost {
                continue;
            }
            let effects = market.step(at(2_000 + n as u64), delta(n as u64 + 2, &[], &[]));
            let flawed = effects.iter().any(|effect| matches!(effect, Effect::Resubscribe(_)));
            prop_assert_eq!(flawed, n == lost + 1);
        }
    }
}
