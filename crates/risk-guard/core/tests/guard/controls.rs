//! Each control of its own, in whole judgements: the policy has one narrow limit, and the order that
//! passes it is refused by that rule and no other, with its figures on record.

use portcullis_domain::{
    Bps, Figure, Label, Order, OrderStatus, Posture, Reason, RiskProfile, Rule, Side, Symbol,
    TimeInForce, Unit, Usd,
};
use portcullis_wire::messages::{
    ExecutionStatus, GroupPolicy, Notice, Outcome, RiskPolicy, StrategyLoss,
};
use risk_guard_core::Settings;

use crate::scene::{Scene, price, sell, settings, status};

/// The settings of the scene with one change of its policy.
fn with(change: impl FnOnce(&mut RiskPolicy)) -> Settings {
    let mut settings = settings();
    change(&mut settings.policy);
    settings
}

/// A scene that has everything.
fn ready(change: impl FnOnce(&mut RiskPolicy)) -> Scene {
    let mut scene = Scene::new(with(change));
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    scene
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn bps(value: u32) -> Bps {
    Bps::new(value).unwrap()
}

#[test]
fn every_narrow_limit_refuses_by_its_own_rule() {
    type Narrow = fn(&mut RiskPolicy);
    // The order buys 100 units near 0.5: 50 USD.
    let cases: [(Narrow, Rule, Reason); 16] = [
        (|p| p.venues.clear(), Rule::Venue, Reason::VenueNotAllowed),
        (
            |p| p.instruments[0].order_quantity_max = "99.9".parse().unwrap(),
            Rule::OrderQuantity,
            Reason::OrderQuantity,
        ),
        (
            |p| p.instruments[0].order_notional_min = usd("50"),
            Rule::OrderNotionalMin,
            Reason::OrderTooSmall,
        ),
        (
            |p| p.instruments[0].order_notional_max = usd("49.99"),
            Rule::OrderNotional,
            Reason::OrderNotional,
        ),
        (
            |p| p.instruments[0].last_collar = bps(10),
            Rule::LastPriceCollar,
            Reason::PriceCollar,
        ),
        (
            |p| p.instruments[0].fat_finger_max = 0,
            Rule::FatFinger,
            Reason::FatFinger,
        ),
        (
            |p| p.strategy.orders_open_max = 0,
            Rule::StrategyOpenOrders,
            Reason::TooManyOrders,
        ),
        (
            |p| p.instruments[0].orders_open_max = 0,
            Rule::InstrumentOpenOrders,
            Reason::TooManyOrders,
        ),
        (
            |p| p.strategy.position_notional_max = usd("49.99"),
            Rule::StrategyPosition,
            Reason::PositionNotional,
        ),
        (
            |p| p.gross_exposure_max = usd("49.99"),
            Rule::GrossExposure,
            Reason::GrossExposure,
        ),
        (
            |p| p.net_exposure_max = usd("49.99"),
            Rule::NetExposure,
            Reason::NetExposure,
        ),
        (
            |p| {
                p.groups.push(GroupPolicy {
                    name: Label::new("pair").unwrap(),
                    instruments: vec![Symbol::new("XRPUSDT").unwrap()],
                    exposure_max: usd("49.99"),
                });
            },
            Rule::GroupExposure,
            Reason::GroupExposure,
        ),
        (
            |p| {
                p.capital = usd("100");
                p.leverage_max = bps(4_999);
            },
            Rule::Leverage,
            Reason::Leverage,
        ),
        (
            |p| {
                p.capital = usd("100");
                p.concentration_max = bps(4_999);
            },
            Rule::Concentration,
            Reason::Concentration,
        ),
        (
            |p| p.strategy.messages_per_second_max = 0,
            Rule::MessageRate,
            Reason::RateLimit,
        ),
        (
            |p| p.strategy.orders_per_second_max = 0,
            Rule::StrategyOrderRate,
            Reason::RateLimit,
        ),
    ];
    for (narrow, rule, reason) in cases {
        let mut scene = ready(narrow);
        let order = scene.order();
        let verdict = scene.judge(&order).verdict;
        assert_eq!(verdict.outcome, Outcome::Refused(reason), "{rule}");
        let last = verdict.checks.last().unwrap();
        assert_eq!(last.rule, rule, "the last rule on record refused it");
    }
}

#[test]
fn a_permit_has_every_rule_on_record_with_limit_used_and_left() {
    let mut scene = ready(|_| {});
    let order = scene.order();
    let verdict = scene.judge(&order).verdict;
    assert_eq!(verdict.outcome, Outcome::Passed);
    let rules: Vec<Rule> = verdict.checks.iter().map(|check| check.rule).collect();
    let mut sorted = rules.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), rules.len(), "no rule is met twice");
    // All of them but the one about groups, of which the policy has none.
    assert_eq!(rules.len(), Rule::ALL.len() - 1, "{rules:?}");
    let measure = |rule| {
        let check = verdict.checks.iter().find(|check| check.rule == rule);
        check.unwrap().measure.unwrap()
    };
    let position = measure(Rule::PositionNotional);
    assert_eq!(position.unit, Unit::Usd);
    assert_eq!(position.limit, "500".parse().unwrap());
    assert_eq!(position.used, "50".parse().unwrap());
    assert_eq!(position.left(), Some("450".parse().unwrap()));
    assert_eq!(measure(Rule::OpenOrders).used, Figure::count(1));
    assert_eq!(measure(Rule::Volatility).used, Figure::ZERO);
}

#[test]
fn a_strategys_loss_stops_that_strategy_and_the_accounts_everybody() {
    let cases = [
        ("99.99", "49.99", None),
        ("100", "0", Some(Reason::DailyLoss)),
        ("0", "50", Some(Reason::StrategyLoss)),
    ];
    for (loss, own, expected) in cases {
        let mut scene = ready(|p| p.strategy.daily_loss_max = usd("50"));
        scene.wait(1);
        let account = |position: &str| ExecutionStatus {
            loss: usd(loss),
            losses: vec![StrategyLoss {
                strategy: "sample".parse().unwrap(),
                loss: usd(own),
            }],
            ..status(&[(position, None, None)])
        };
        scene.status(account("0"));
        let order = scene.order();
        assert_eq!(scene.refusal(&order), expected, "{loss} {own}");
        // What only reduces a position passes.
        scene.wait(3_001);
        scene.book("0.4999", "0.5001");
        scene.status(account("500"));
        let order = sell(scene.order(), "100");
        assert_eq!(scene.refusal(&order), None, "{loss} {own}");
    }
}

#[test]
fn drawdown_takes_the_posture_down_by_itself_and_never_up() {
    let mut scene = ready(|p| {
        p.drawdown_max = usd("100");
        p.instruments[0].position_notional_max = usd("5000");
    });
    let half = |scene: &mut Scene, quantity: &str| {
        scene.wait(10);
        scene.book("0.4999", "0.5001");
        let order = Order {
            quantity: quantity.parse().unwrap(),
            ..scene.order()
        };
        scene.refusal(&order)
    };
    let fall = |scene: &mut Scene, drawdown: &str| {
        scene.wait(10);
        scene.status(ExecutionStatus {
            drawdown: usd(drawdown),
            ..status(&[("800", None, None)])
        })
    };
    fall(&mut scene, "49.99");
    assert_eq!(scene.guard.posture(), Posture::Normal);
    let effects = fall(&mut scene, "50");
    assert_eq!(scene.guard.posture(), Posture::Cautious);
    assert_eq!(
        effects.heartbeat.unwrap().posture,
        Posture::Cautious,
        "told at once"
    );
    assert!(
        matches!(
            effects.notices[..],
            [Notice::Posture {
                from: Posture::Normal,
                to: Posture::Cautious,
                ..
            }]
        ),
        "{:?}",
        effects.notices
    );
    // An order may be worth 200, so half of it is 100.
    assert_eq!(half(&mut scene, "199.9"), None);
    assert_eq!(
        half(&mut scene, "200.1"),
        Some(Reason::PostureRestricts),
        "above half the size"
    );
    fall(&mut scene, "10");
    assert_eq!(scene.guard.posture(), Posture::Cautious, "not up again");
    fall(&mut scene, "75");
    assert_eq!(scene.guard.posture(), Posture::Defensive);
    assert_eq!(half(&mut scene, "10.1"), Some(Reason::PostureRestricts));
    let reducing = sell(scene.order(), "50");
    assert_eq!(scene.refusal(&reducing), None);
    fall(&mut scene, "100");
    assert_eq!(scene.guard.posture(), Posture::Emergency);
    let reducing = sell(scene.order(), "50");
    assert_eq!(
        scene.refusal(&reducing),
        Some(Reason::PostureRestricts),
        "nothing at all"
    );
}

#[test]
fn one_strategy_does_not_grow_without_limits_by_closing_anothers_position() {
    let mut scene = ready(|p| p.strategy.daily_loss_max = usd("50"));
    scene.wait(1);
    // The other strategy is long 800, this one flat, and it lost all it may.
    scene.status(ExecutionStatus {
        losses: vec![StrategyLoss {
            strategy: "sample".parse().unwrap(),
            loss: usd("50"),
        }],
        ..status(&[("0", None, None), ("800", None, None)])
    });
    let order = sell(scene.order(), "100");
    assert_eq!(
        scene.refusal(&order),
        Some(Reason::StrategyLoss),
        "it reduces the account's position and opens one of its own"
    );
    scene.wait(1);
    scene.status(ExecutionStatus {
        losses: vec![StrategyLoss {
            strategy: "sample".parse().unwrap(),
            loss: usd("50"),
        }],
        ..status(&[("400", None, None), ("400", None, None)])
    });
    let order = sell(scene.order(), "100");
    assert_eq!(scene.refusal(&order), None, "its own and the account's");
}

#[test]
fn closing_risk_waits_neither_for_a_trade_of_others_nor_for_an_order_of_ours() {
    let mut scene = Scene::new(with(|_| {}));
    let now = scene.now;
    scene.book_alone(&crate::scene::book("0.4999", "0.5001", now));
    scene.closes(&[price(5_000); 31]);
    let mut account = status(&[("500", Some("10"), None)]);
    account.exposures[0].highest_buy = Some(price(4_999));
    scene.status(account);
    let order = Order {
        limit_price: price(4_990),
        ..sell(scene.order(), "100")
    };
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn a_minute_that_is_not_over_shuts_out_none_that_is() {
    let mut scene = Scene::ready();
    scene.now = scene.now.plus(portcullis_domain::Span::from_secs(60));
    let ahead = scene.now;
    scene.now = ahead.plus(portcullis_domain::Span::from_secs(120));
    let far = scene.now;
    scene.now = ahead;
    let closes = portcullis_wire::messages::Closes {
        symbol: crate::scene::symbol(),
        minute: far.0 / 60_000_000,
        closes: vec![price(5_000); 31],
    };
    let subject = &portcullis_wire::subjects::CLOSES;
    let closes = scene
        .world
        .verified(crate::scene::ME, ahead, subject, Some("XRPUSDT"), &closes);
    scene.step(risk_guard_core::Input::Closes(closes));
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn what_is_not_known_of_the_equity_denies_and_lets_risk_be_closed() {
    let mut scene = ready(|_| {});
    scene.wait(1);
    scene.status(ExecutionStatus {
        equity: None,
        ..status(&[("500", None, None)])
    });
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::EquityUnknown));
    let order = sell(scene.order(), "100");
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn our_own_orders_do_not_meet() {
    let mut scene = ready(|_| {});
    scene.wait(1);
    let mut account = status(&[("0", Some("10"), Some("10"))]);
    account.exposures[0].highest_buy = Some(price(4_990));
    account.exposures[0].lowest_sell = Some(price(5_010));
    scene.status(account);
    let at = |scene: &mut Scene, side, ticks| {
        let order = Order {
            side,
            limit_price: price(ticks),
            ..scene.order()
        };
        scene.refusal(&order)
    };
    assert_eq!(at(&mut scene, Side::Buy, 5_010), Some(Reason::SelfTrade));
    assert_eq!(at(&mut scene, Side::Buy, 5_009), None);
    // The one just permitted counts too, until it is over.
    assert_eq!(at(&mut scene, Side::Sell, 5_009), Some(Reason::SelfTrade));
    assert_eq!(at(&mut scene, Side::Sell, 5_011), None);
    assert_eq!(at(&mut scene, Side::Sell, 4_990), Some(Reason::SelfTrade));
}

#[test]
fn an_order_of_ours_that_is_over_is_met_no_more() {
    let mut scene = ready(|_| {});
    let buy = Order {
        limit_price: price(5_005),
        ..scene.order()
    };
    assert_eq!(scene.refusal(&buy), None);
    let sell = |scene: &mut Scene| {
        let order = Order {
            side: Side::Sell,
            limit_price: price(4_995),
            ..scene.order()
        };
        scene.refusal(&order)
    };
    assert_eq!(sell(&mut scene), Some(Reason::SelfTrade));
    scene.reported(&buy, OrderStatus::Cancelled, |_| {});
    assert_eq!(sell(&mut scene), None);
}

#[test]
fn the_same_order_again_within_its_span_is_refused_under_any_id() {
    let mut scene = ready(|p| p.strategy.same_order_ms = 100);
    let order = Order {
        limit_price: price(4_950),
        ..scene.order()
    };
    assert_eq!(scene.refusal(&order), None);
    let again = |scene: &mut Scene| {
        let order = Order {
            limit_price: price(4_950),
            ..scene.order()
        };
        scene.refusal(&order)
    };
    scene.wait(100);
    assert_eq!(again(&mut scene), Some(Reason::DuplicateOrder));
    scene.wait(1);
    assert_eq!(again(&mut scene), None);
}

#[test]
fn too_many_cancelled_orders_stop_new_ones_for_a_minute() {
    let mut scene = ready(|p| p.strategy.cancels_per_minute_max = 2);
    for _ in 0..3 {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), None);
        scene.reported(&order, OrderStatus::Cancelled, |_| {});
    }
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::CancelRate));
    scene.wait(60_000);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn a_strategy_that_repeats_itself_waits_for_a_person() {
    let mut scene = ready(|p| p.strategy.repeated_fills_max = 3);
    for expected in [0, 0, 1] {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), None);
        let effects = scene.reported(&order, OrderStatus::Filled, |report| {
            report.filled = Some(report.quantity);
        });
        assert_eq!(effects.notices.len(), expected, "{:?}", effects.notices);
    }
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::StrategySuspended));
    scene.wait(3_600_000);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[("300", None, None)]));
    let order = scene.order();
    assert_eq!(
        scene.refusal(&order),
        Some(Reason::StrategySuspended),
        "time alone does not end it"
    );
    let order = sell(scene.order(), "100");
    assert_eq!(scene.refusal(&order), None, "what reduces passes");
}

#[test]
fn a_clock_of_the_venue_that_is_off_makes_every_price_unknown() {
    let mut scene = ready(|p| p.clock_error_ms_max = 500);
    scene.wait(600);
    let old = crate::scene::book(
        "0.4999",
        "0.5001",
        scene.now.minus(portcullis_domain::Span::from_millis(501)),
    );
    scene.book_alone(&old);
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::ClockSkew));
}

/// An immediate order at its limit price, against a book of the given depth.
fn taken(scene: &mut Scene, side: Side, quantity: &str, ticks: i64) -> Order {
    Order {
        side,
        quantity: quantity.parse().unwrap(),
        limit_price: price(ticks),
        time_in_force: TimeInForce::ImmediateOrCancel,
        profile: RiskProfile::Conservative,
        ..scene.order()
    }
}

#[test]
fn an_order_that_would_slip_is_refused_and_one_that_may_is_held_to_the_worst_price() {
    let wide = |p: &mut RiskPolicy| {
        p.instruments[0].collar = bps(900);
        p.instruments[0].order_notional_max = usd("1000000");
        p.instruments[0].position_notional_max = usd("1000000");
    };
    // The middle is 0.5; a conservative order may slip 0.5 %, to 0.5025.
    let asks = [("0.5001", "100"), ("0.5020", "100"), ("0.5100", "1000")];
    let bids = [("0.4999", "100"), ("0.4980", "100"), ("0.4900", "1000")];
    // side, quantity, limit in ticks, expected refusal, worst price in the permit
    let cases = [
        (Side::Buy, "200", 5_050, None, Some(5_025)),
        (Side::Buy, "200", 5_020, None, None),
        (Side::Buy, "210", 5_100, None, Some(5_025)),
        (Side::Buy, "800", 5_100, Some(Reason::ExceededLimit), None),
        (
            Side::Buy,
            "1201",
            5_200,
            Some(Reason::InsufficientLiquidity),
            None,
        ),
        (Side::Sell, "200", 4_950, None, Some(4_975)),
        (Side::Sell, "800", 4_900, Some(Reason::ExceededLimit), None),
        (
            Side::Sell,
            "1201",
            4_800,
            Some(Reason::InsufficientLiquidity),
            None,
        ),
    ];
    for (side, quantity, limit, refusal, worst) in cases {
        let mut scene = ready(wide);
        scene.book_alone(&book_at(&scene, &bids, &asks));
        let order = taken(&mut scene, side, quantity, limit);
        let judgement = scene.judge(&order);
        let expected = refusal.map_or(Outcome::Passed, Outcome::Refused);
        let case = format!("{side} {quantity} at {limit}");
        assert_eq!(judgement.verdict.outcome, expected, "{case}");
        let got = judgement.permit.and_then(|permit| permit.worst_price);
        assert_eq!(got, worst.map(price), "{case}");
    }
}

fn book_at(scene: &Scene, bids: &[(&str, &str)], asks: &[(&str, &str)]) -> portcullis_domain::Book {
    crate::scene::deep(bids, asks, scene.now)
}

#[test]
fn closing_risk_may_slip_twice_as_far_and_no_further() {
    let wide = |p: &mut RiskPolicy| p.instruments[0].collar = bps(900);
    // Sold at 0.4962 on average: 0.76 %; then at 0.4941: 1.18 %.
    for (rest, expected) in [("0.4925", None), ("0.4882", Some(Reason::ExceededLimit))] {
        let mut scene = ready(wide);
        scene.wait(1);
        scene.status(status(&[("500", None, None)]));
        let bids = [("0.4999", "100"), (rest, "100")];
        let book = crate::scene::deep(&bids, &[("0.5001", "100")], scene.now);
        scene.book_alone(&book);
        let order = taken(&mut scene, Side::Sell, "200", 4_800);
        assert_eq!(scene.refusal(&order), expected, "{rest}");
    }
}

#[test]
fn the_codes_count_in_their_order() {
    // One order that slips, in a book that is too thin, in a market that moves too much.
    let scene = |thin: bool, wild: bool| {
        let mut scene = ready(|p| {
            p.instruments[0].collar = bps(900);
            p.instruments[0].volatility_max = bps(5_000);
        });
        let asks: &[(&str, &str)] = if thin {
            &[("0.5100", "10")]
        } else {
            &[("0.5100", "1000")]
        };
        let book = crate::scene::deep(&[("0.4900", "1000")], asks, scene.now);
        scene.book_alone(&book);
        if wild {
            scene.wait(60_000);
            let closes: Vec<_> = (0..31).map(|n| price(5_000 + (n % 2) * 50)).collect();
            scene.closes(&closes);
            scene.trade(price(5_000), "100");
            let book = crate::scene::deep(&[("0.4900", "1000")], asks, scene.now);
            scene.book_alone(&book);
            scene.status(status(&[]));
        }
        scene
    };
    let cases = [
        (true, true, Reason::InsufficientLiquidity),
        (true, false, Reason::InsufficientLiquidity),
        (false, true, Reason::HighVolatility),
        (false, false, Reason::ExceededLimit),
    ];
    for (thin, wild, expected) in cases {
        let mut scene = scene(thin, wild);
        let order = taken(&mut scene, Side::Buy, "100", 5_400);
        assert_eq!(scene.refusal(&order), Some(expected), "{thin} {wild}");
    }
}

#[test]
fn an_order_that_only_rests_slips_nothing() {
    let mut scene = ready(|_| {});
    let order = Order {
        time_in_force: TimeInForce::PostOnly,
        ..scene.order()
    };
    assert_eq!(scene.refusal(&order), None);
}
