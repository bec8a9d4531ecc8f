//! A day of inputs, recorded: played again it gives the same verdicts, and a guard that was started
//! anew in its middle permits nothing that the one that ran on refused.

use portcullis_domain::{Figure, Order, OrderStatus, Rule, Side, Span, TimeInForce, Timestamp};
use portcullis_testkit::policies;
use portcullis_testkit::seals::principal;
use portcullis_wire::messages::{
    Closes, ExecutionStatus, Outcome, RiskAction, RiskCommand, RiskStatus, Trade, Verdict,
};
use portcullis_wire::subjects::{BOOK, CLOSES, EXECUTION_STATUS, REPORT, RISK_COMMAND, TRADE};
use portcullis_wire::{Text, command};
use risk_guard_core::{Input, Record, RiskGuard, Settings};

use crate::scene::{ME, Scene, price, report, settings, status, symbol};

/// A day in steps of 20 s.
const STEPS: u64 = 86_400 / 20;

/// The numbers of a linear congruential generator (Knuth, MMIX), for a day that is always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn day_settings() -> Settings {
    let mut settings = settings();
    settings.policy.breakers = policies::breakers();
    settings.policy.drawdown_max = "400".parse().unwrap();
    settings.policy.instruments[0].volatility_max = portcullis_domain::Bps::new(40_000).unwrap();
    settings
}

/// What a guard says to everything.
#[derive(Debug, Default, PartialEq)]
struct Said {
    verdicts: Vec<(Timestamp, Verdict)>,
    records: Vec<(Timestamp, Record)>,
}

fn play(guard: &mut RiskGuard, inputs: &[(Timestamp, Input)], said: &mut Said) {
    for (now, input) in inputs {
        let effects = guard.step(*now, input.clone()).unwrap();
        let records = effects.records.into_iter();
        said.records.extend(records.map(|record| (*now, record)));
        if let Some(judgement) = effects.judgement {
            said.verdicts.push((*now, judgement.verdict));
        }
    }
}

/// A day in which a market walks, orders come, fill, are refused or get lost, money is lost and won,
/// and an operator tightens a limit.
fn recorded() -> Vec<(Timestamp, Input)> {
    let mut scene = Scene::new(day_settings());
    let mut numbers = Numbers(7);
    let mut inputs = Vec::new();
    let mut mid = 5_000_i64;
    let mut minutes = vec![price(mid); Closes::MINUTES];
    let mut open: Vec<Order> = Vec::new();
    let mut drawdown = 0_i64;
    for step in 0..STEPS {
        scene.wait(20_000);
        let now = scene.now;
        mid = (mid + i64::try_from(numbers.below(11)).unwrap() - 5).clamp(4_000, 6_000);
        let book = crate::scene::deep(
            &[
                (&price(mid - 1).to_string(), "200"),
                (&price(mid - 45).to_string(), "200"),
            ],
            &[
                (&price(mid + 1).to_string(), "200"),
                (&price(mid + 45).to_string(), "200"),
            ],
            now,
        );
        let world = &mut scene.world;
        let name = Some("XRPUSDT");
        let book = world.verified(ME, now, &BOOK, name, &book);
        inputs.push((now, Input::Book(book)));
        let trade = Trade {
            symbol: symbol(),
            side: Side::Buy,
            price: price(mid),
            quantity: "50".parse().unwrap(),
            venue_time: now,
        };
        let trade = world.verified(ME, now, &TRADE, name, &trade);
        inputs.push((now, Input::Trade(trade)));
        if step % 3 == 0 {
            minutes.remove(0);
            minutes.push(price(mid));
        }
        let closes = Closes {
            symbol: symbol(),
            minute: now.0 / 60_000_000 - 1,
            closes: minutes.clone(),
        };
        let closes = world.verified(ME, now, &CLOSES, name, &closes);
        inputs.push((now, Input::Closes(closes)));
        drawdown = (drawdown + i64::try_from(numbers.below(7)).unwrap() - 3).clamp(0, 210);
        let account = ExecutionStatus {
            drawdown: drawdown.to_string().parse().unwrap(),
            ..status(&[("0", None, None)])
        };
        let account = world.verified(ME, now, &EXECUTION_STATUS, None, &account);
        inputs.push((now, Input::Status(account)));
        for order in open.drain(..) {
            let (status, filled) = match numbers.below(400) {
                0 => (OrderStatus::Rejected, None),
                1 => (OrderStatus::Unknown, None),
                2 => (OrderStatus::Cancelled, None),
                // It is never heard of again.
                3 => continue,
                _ => (OrderStatus::Filled, Some(order.quantity)),
            };
            let mut report = report(&order);
            report.status = status;
            report.filled = filled;
            let report = world.verified(ME, now, &REPORT, Some("sample"), &report);
            inputs.push((now, Input::Report(report)));
        }
        inputs.push((now, Input::Tick));
        if step == STEPS / 2 {
            let command = RiskCommand {
                realm: world.realm(),
                operator: principal("operator-alice"),
                action: RiskAction::SetLimit {
                    rule: Rule::OrderNotional,
                    scope: "instrument:XRPUSDT".parse().unwrap(),
                    value: "90".parse::<Figure>().unwrap(),
                },
                reason: Text::lossy("drill"),
                at: now,
            };
            let signed = world.signed("operator-alice", &command);
            let sealed = world.seal_as("operator-alice", now, &RISK_COMMAND, None, &signed, None);
            let opened = world.open(ME, now, &RISK_COMMAND, &sealed).unwrap();
            let (realm, keys) = (world.realm(), world.operators());
            let command = command::authorise(&opened.either(), realm, &keys).unwrap();
            inputs.push((now, Input::Command(command)));
        }
        for _ in 0..numbers.below(3) {
            let buys = numbers.below(2) == 0;
            let away = i64::try_from(numbers.below(110)).unwrap() - 55;
            let order = Order {
                side: if buys { Side::Buy } else { Side::Sell },
                quantity: price(i64::try_from(100_000 + numbers.below(4_000_000)).unwrap())
                    .to_string()
                    .parse::<portcullis_domain::Quantity>()
                    .unwrap()
                    .get()
                    .round_dp(1)
                    .to_string()
                    .parse()
                    .unwrap(),
                limit_price: price(if buys { mid + away } else { mid - away }),
                time_in_force: TimeInForce::ImmediateOrCancel,
                ..scene.order()
            };
            let sealed = scene.sealed(&order);
            assert_eq!(sealed.header().issued_at, now);
            inputs.push((now, Input::Order(sealed)));
            open.push(order);
        }
    }
    inputs
}

fn final_status(guard: &mut RiskGuard, inputs: &[(Timestamp, Input)]) -> RiskStatus {
    let last = inputs.last().map_or(Timestamp(0), |(now, _)| *now);
    guard.risk_status(last)
}

#[test]
fn a_recorded_day_gives_identical_verdicts_and_a_restart_in_it_loosens_nothing() {
    let inputs = recorded();
    let mut live = RiskGuard::new(day_settings());
    let mut said = Said::default();
    play(&mut live, &inputs, &mut said);

    let mut again = RiskGuard::new(day_settings());
    let mut repeated = Said::default();
    play(&mut again, &inputs, &mut repeated);
    assert_eq!(said, repeated);
    assert_eq!(
        final_status(&mut live, &inputs),
        final_status(&mut again, &inputs)
    );

    let passed = |verdict: &Verdict| verdict.outcome == Outcome::Passed;
    let permits = said.verdicts.iter().filter(|(_, v)| passed(v)).count();
    let reasons: std::collections::BTreeSet<_> = said
        .verdicts
        .iter()
        .filter_map(|(_, verdict)| match verdict.outcome {
            Outcome::Refused(reason) => Some(reason),
            Outcome::Passed => None,
        })
        .collect();
    assert!(permits > 200, "too tame: {permits} permits, {reasons:?}");
    assert!(reasons.len() >= 4, "too tame: {reasons:?}");
    assert!(said.records.len() > 20, "too tame: {}", said.records.len());

    for eighth in 1..8 {
        let at = inputs.len() * eighth / 8;
        let begun = inputs[at].0;
        let mut restarted = RiskGuard::new(Settings {
            started_at: begun,
            ..day_settings()
        });
        for (_, record) in said.records.iter().filter(|(written, _)| *written < begun) {
            restarted.restore(record);
        }
        let _ = restarted.restored(begun, true);
        let rest: Vec<_> = inputs
            .iter()
            .filter(|(now, _)| *now >= begun)
            .cloned()
            .collect();
        let mut after = Said::default();
        play(&mut restarted, &rest, &mut after);
        // What it cannot know any more are the moments before: rates, the same order again, permits.
        let settled = begun.plus(Span::from_secs(120));
        let live = said.verdicts.iter().filter(|(now, _)| *now >= settled);
        let looser = live
            .zip(after.verdicts.iter().filter(|(now, _)| *now >= settled))
            .filter(|((_, live), (_, restarted))| {
                assert_eq!(live.order, restarted.order);
                passed(restarted) && !passed(live)
            })
            .count();
        assert_eq!(looser, 0, "restarted after {eighth} eighths");
    }
}
