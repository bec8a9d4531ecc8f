#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and so fails"
)]

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;

const E18: u128 = 1_000_000_000_000_000_000;

fn uniswap(reserve_in: u128, reserve_out: u128) -> Pool {
    Pool::uniswap_v2(reserve_in, reserve_out, Kept::UNISWAP_V2).unwrap()
}

fn stellar(reserve_in: u128, reserve_out: u128) -> Pool {
    Pool::stellar(reserve_in, reserve_out).unwrap()
}

fn figure(text: &str) -> Figure {
    text.parse().unwrap()
}

fn bps(value: u32) -> Bps {
    Bps::new(value).unwrap()
}

#[test]
fn an_exact_input_gives_what_the_contract_gives() {
    let cases = [
        // Case 1, by Uniswap's own tests.
        (
            uniswap(5 * E18, 10 * E18),
            E18,
            Ok(1_662_497_915_624_478_906),
        ),
        // Case 3.
        (
            uniswap(10 * E18, 1_000 * E18),
            526_682_316_179_835_569,
            Ok(49_890_467_170_695_440_744),
        ),
        // Case 4, in millionths of a unit and without a fee: 10,000 of 2,000,000 for 4.975124….
        (
            Pool::uniswap_v2(2_000_000_000_000, 1_000_000_000, Kept::ALL).unwrap(),
            10_000_000_000,
            Ok(4_975_124),
        ),
        // CAP-38: floor(0.997 · 1,000 · 100 / (1,000 + 100 − 0.3)) = floor(90.66…).
        (stellar(1_000, 1_000), 100, Ok(90)),
        (uniswap(1_000, 1_000), 0, Err(PoolError::NoAmount)),
        (uniswap(1_000, 1_000), 1, Err(PoolError::NothingOut)),
        (uniswap(u128::MAX, 1_000), 1, Err(PoolError::TooLarge)),
        (
            stellar(i64::MAX as u128, 1_000),
            1,
            Err(PoolError::TooLarge),
        ),
        // The product of these has 266 bits.
        (
            uniswap(u128::MAX / 2, u128::MAX),
            u128::MAX / 2,
            Ok(169_885_588_292_526_613_957_428_384_381_308_416_034),
        ),
    ];
    for (pool, amount_in, expected) in cases {
        assert_eq!(pool.amount_out(amount_in), expected, "{pool:?} {amount_in}");
    }
}

#[test]
fn an_exact_output_costs_what_the_contract_asks() {
    let cases = [
        // Case 2, by Uniswap's own tests.
        (uniswap(5 * E18, 10 * E18), E18, Ok(557_227_237_267_357_629)),
        (uniswap(1_000, 1_000), 0, Err(PoolError::NoAmount)),
        (uniswap(1_000, 1_000), 1_000, Err(PoolError::NotEnough)),
        (uniswap(1_000, 1_000), 1_001, Err(PoolError::NotEnough)),
        (uniswap(u128::MAX, 1_000), 999, Err(PoolError::TooLarge)),
        (uniswap(u128::MAX, 1_000), 1, Err(PoolError::TooLarge)),
        // 997 · 500 · 1,000 / (500 · 997) is 1,000: one more at Uniswap, itself at Stellar.
        (uniswap(997, 1_000), 500, Ok(1_001)),
        (stellar(997, 1_000), 500, Ok(1_000)),
        (stellar(1_000, 1_000), 90, Ok(100)),
        (
            stellar(i64::MAX as u128, 1_000),
            1,
            Err(PoolError::TooLarge),
        ),
    ];
    for (pool, amount_out, expected) in cases {
        assert_eq!(
            pool.amount_in(amount_out),
            expected,
            "{pool:?} {amount_out}"
        );
    }
}

#[test]
fn pools_and_fees_that_mean_nothing_are_refused() {
    assert_eq!(Pool::uniswap_v2(0, 1, Kept::ALL), Err(PoolError::EmptyPool));
    assert_eq!(Pool::stellar(1, 0), Err(PoolError::EmptyPool));
    assert_eq!(
        Pool::stellar(1, i64::MAX as u128 + 1),
        Err(PoolError::TooLarge)
    );
    assert_eq!(Kept::new(0, 1_000), Err(PoolError::BadFee));
    assert_eq!(Kept::new(1_001, 1_000), Err(PoolError::BadFee));
    assert_eq!(Kept::new(997, 1_000), Ok(Kept::UNISWAP_V2));
}

#[test]
fn the_impact_is_told_with_and_without_the_fee() {
    // Case 1: 16.875 % against the middle, 16.625 % without the fee.
    let pool = uniswap(5 * E18, 10 * E18);
    let out = pool.amount_out(E18).unwrap();
    assert_eq!(pool.impact(E18, out), Ok(figure("1687.510422")));
    assert_eq!(pool.impact_without_fee(E18, out), Ok(figure("1662.497916")));
    // Case 4: 0.4975 %, and the middle moves by 0.9925 %.
    let pool = Pool::uniswap_v2(2_000_000 * E18, 1_000 * E18, Kept::ALL).unwrap();
    let out = pool.amount_out(10_000 * E18).unwrap();
    assert_eq!(out, 4_975_124_378_109_452_736);
    assert_eq!(pool.impact(10_000 * E18, out), Ok(figure("49.751244")));
    assert_eq!(
        pool.middle_moved(10_000 * E18, out),
        Ok(figure("99.254969"))
    );
    // More than the middle price is a gain, which no rounding enlarges.
    assert_eq!(uniswap(3, 3).impact(3, 4), Ok(figure("-3333.333333")));
    assert_eq!(pool.impact(0, 1), Err(PoolError::NoAmount));
    assert_eq!(pool.impact(1, u128::MAX), Err(PoolError::TooLarge));
    assert_eq!(pool.middle_moved(1, 1_001 * E18), Err(PoolError::NotEnough));
}

#[test]
fn the_largest_input_uses_up_its_limit() {
    // Case 9, for a pool of 10^18: 0.2016 %, 0.7092 % and 1.7399 % of it.
    let pool = uniswap(E18, 3 * E18);
    let cases = [
        (50, Some(2_016_098_546_896_972)),
        (100, Some(7_091_983_019_766_369)),
        (200, Some(17_399_136_184_062_391)),
        // The fee alone is 0.3 %.
        (30, None),
        (29, None),
        (10_000, None),
    ];
    for (limit, expected) in cases {
        assert_eq!(pool.largest_input(bps(limit)), expected, "{limit}");
    }
}

#[test]
fn a_quoted_value_lost_is_told_in_basis_points() {
    let usd = |text: &str| text.parse::<Usd>().unwrap();
    // Case 7: 0.0131160 percentage points, a ratio of 0.000131160.
    assert_eq!(
        value_lost(usd("99.96761068"), usd("99.95449894")),
        Ok(figure("1.311599"))
    );
    assert_eq!(value_lost(usd("100"), usd("101")), Ok(figure("-100")));
    for (value_in, value_out) in [("0", "1"), ("1", "0"), ("-1", "1")] {
        assert_eq!(
            value_lost(usd(value_in), usd(value_out)),
            Err(AmountError::NotPositive)
        );
    }
}

#[test]
fn what_is_insisted_on_is_never_beyond_the_limit() {
    // Case 8: 16,117,759.2… is rounded up.
    assert_eq!(least_out(16_198_753, bps(50)), Ok(16_117_760));
    assert_eq!(least_out(10_000, bps(50)), Ok(9_950));
    assert_eq!(least_out(1, bps(9_999)), Ok(1));
    assert_eq!(least_out(10_000, bps(10_000)), Err(PoolError::NoAmount));
    assert_eq!(least_out(10_000, bps(10_001)), Err(PoolError::NoAmount));
    assert_eq!(least_out(0, bps(50)), Err(PoolError::NoAmount));
    assert_eq!(least_out(u128::MAX, bps(0)), Ok(u128::MAX));
    assert_eq!(most_in(10_001, bps(50)), Ok(10_051));
    assert_eq!(most_in(0, bps(50)), Err(PoolError::NoAmount));
    assert_eq!(most_in(u128::MAX, bps(0)), Ok(u128::MAX));
    assert_eq!(most_in(u128::MAX, bps(1)), Err(PoolError::TooLarge));
}

#[test]
fn a_path_takes_each_pool_in_turn() {
    let path = [stellar(1_000_000, 2_000_000), stellar(500_000, 100_000)];
    // 10,000 give floor(19,743.16…) of the middle asset, and those floor(3,787.64…).
    let sent = strict_send(&path, 10_000, bps(50)).unwrap();
    let between = path[0].amount_out(10_000).unwrap();
    assert_eq!(between, 19_743);
    assert_eq!(sent.expected, path[1].amount_out(between).unwrap());
    assert_eq!(sent.expected, 3_787);
    assert_eq!(sent.destination_min, 3_769);

    let received = strict_receive(&path, 3_787, bps(50)).unwrap();
    let between = path[1].amount_in(3_787).unwrap();
    assert_eq!(received.expected, path[0].amount_in(between).unwrap());
    assert!(received.expected <= 10_000);
    assert_eq!(
        received.send_max,
        received.expected + received.expected * 50 / 10_000
    );
}

#[test]
fn a_path_without_an_answer_is_an_error() {
    let pool = stellar(1_000_000, 1_000_000);
    assert_eq!(strict_send(&[], 1, bps(50)), Err(PoolError::BadPath));
    assert_eq!(
        strict_receive(&[pool; 7], 1, bps(50)),
        Err(PoolError::BadPath)
    );
    assert!(strict_send(&[pool; 6], 1_000, bps(50)).is_ok());
    assert_eq!(
        strict_send(&[pool; 2], 1, bps(50)),
        Err(PoolError::NothingOut)
    );
    assert_eq!(
        strict_receive(&[pool, pool], 1_000_000, bps(50)),
        Err(PoolError::NotEnough)
    );
}

fn reserves() -> impl Strategy<Value = u128> {
    prop_oneof![1..1_000_u128, 1..i64::MAX as u128]
}

fn pools() -> impl Strategy<Value = Pool> {
    (reserves(), reserves(), any::<bool>(), 1..=1_000_u32).prop_map(|(x, y, is_stellar, part)| {
        if is_stellar {
            stellar(x, y)
        } else {
            Pool::uniswap_v2(x, y, Kept::new(part, 1_000).unwrap()).unwrap()
        }
    })
}

proptest! {
    #[test]
    fn a_swap_never_makes_the_pool_poorer(pool in pools(), amount in reserves()) {
        if let Ok(out) = pool.amount_out(amount) {
            prop_assert!(out < pool.reserve_out);
            let before = Wide::product(pool.reserve_in, pool.reserve_out).unwrap();
            let after =
                Wide::product(pool.reserve_in + amount, pool.reserve_out - out).unwrap();
            prop_assert!(after >= before);
        }
    }

    #[test]
    fn what_an_output_costs_buys_it(pool in pools(), out in reserves()) {
        if let Ok(cost) = pool.amount_in(out) {
            prop_assert!(pool.amount_out(cost).unwrap() >= out);
            // Uniswap asks for one unit more than it needs where the division leaves no rest.
            prop_assert!(cost < 3 || pool.amount_out(cost - 2).unwrap_or(0) < out);
        }
    }

    #[test]
    fn more_in_never_gives_less_out(pool in pools(), a in reserves(), b in reserves()) {
        let out = |amount: u128| pool.amount_out(amount);
        if let (Ok(less), Ok(more)) = (out(a.min(b)), out(a.max(b))) {
            prop_assert!(less <= more);
        }
    }

    #[test]
    fn any_amounts_give_an_answer_and_no_panic(
        x in 1..=u128::MAX, y in 1..=u128::MAX, amount: u128, part in 1..=u32::MAX,
        limit in 0..=1_000_000_u32,
    ) {
        let pool = Pool::uniswap_v2(x, y, Kept::new(part, u32::MAX).unwrap()).unwrap();
        let _ = pool.amount_in(amount);
        let _ = pool.largest_input(bps(limit));
        if let Ok(out) = pool.amount_out(amount) {
            prop_assert!(pool.impact(amount, out).unwrap() <= figure("10000"));
            prop_assert!(pool.middle_moved(amount, out).unwrap() <= figure("10000"));
        }
    }

    #[test]
    fn one_unit_above_the_largest_input_is_beyond_the_limit(
        pool in pools(), limit in 0..10_000_u32,
    ) {
        if let Some(largest) = pool.largest_input(bps(limit)) {
            let limit = Decimal::from(limit);
            if let Ok(out) = pool.amount_out(largest + 1) {
                prop_assert!(pool.impact(largest + 1, out).unwrap().get() > limit);
            }
            // What its output loses by rounding is less than one unit.
            if let Ok(out) = pool.amount_out(largest) {
                prop_assert!(pool.impact(largest, out + 1).unwrap().get() <= limit);
            }
        }
    }

    #[test]
    fn an_insisted_output_is_within_its_limit_and_one_less_is_not(
        quoted: u128, limit in 0..10_000_u32,
    ) {
        if let Ok(least) = least_out(quoted, bps(limit)) {
            let share = |of| Wide::product(of, 10_000).unwrap();
            let bound = Wide::product(quoted, u128::from(10_000 - limit)).unwrap();
            prop_assert!(least <= quoted && share(least) >= bound && share(least - 1) < bound);
        }
    }
}
