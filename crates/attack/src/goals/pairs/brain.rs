//! Brain's bundle with a strategy's, and with market-data's.

use super::*;

/// A proposal of the stolen strategy at the middle of the book, so that it fills nothing; gives back
/// its order's id.
fn propose(team: &mut Team<'_>, usd: &str, limit_price: Option<Price>) -> Result<OrderId> {
    let wanted = Proposal {
        size: Size::Notional(usd.parse()?),
        limit_price,
        ..proposal(Side::Buy, "1")?
    };
    let sealed = team
        .thief("strategy")?
        .seal(&PROPOSAL, Some("sample"), &wanted)?;
    team.thief("strategy")?
        .wire
        .throw(&sealed.subject, &sealed.frame)?;
    Ok(portcullis_wire::order_id("sample".parse()?, sealed.id))
}

/// An order with brain's own keys, sent without waiting for anything.
fn order(team: &mut Team<'_>, order: &Order) -> Result<()> {
    let sealed = team.thief("brain")?.seal(&ORDER, None, order)?;
    team.took("brain");
    team.thief("brain")?
        .wire
        .throw(&sealed.subject, &sealed.frame)
}

/// Changes one thing of an order that would pass.
type Change = fn(&mut Order) -> Result<()>;

pub(super) fn beyond_a_budget(team: &mut Team<'_>) -> Result<Outcome> {
    let mut refused = Vec::new();
    // The strategy's budget: 1,000 an order, 5,000 in all, 1 % of slippage.
    let mid = tick(team.stage.mid()?)?;
    let far = tick(mid.raised(Bps::new(190)?)?)?;
    for (way, usd, price, why) in [
        (
            "propose beyond the strategy's budget",
            "1500",
            mid,
            Reason::BudgetExceeded,
        ),
        (
            "propose beyond the strategy's slippage",
            "100",
            far,
            Reason::PriceCollar,
        ),
    ] {
        let mark = team.stage.mark()?;
        let id = propose(team, usd, Some(price))?;
        refused.push(team.stage.decided(mark, way, id, why)?);
    }
    let mark = team.stage.mark()?;
    let mut last = OrderId([0; 16]);
    for _ in 0..6 {
        last = propose(team, "950", Some(mid))?;
    }
    let way = "propose more at once than the strategy's position may become";
    refused.push(
        team.stage
            .decided(mark, way, last, Reason::BudgetExceeded)?,
    );

    // Brain's own keys know no budget.
    let large = order_worth(team.stage, "4000")?;
    order(team, &large)?;
    let at_exchange = sent(team.stage, large.id)?;
    refused.extend(beyond_risk_guard(team)?);
    team.make_honest()?;
    Ok(Outcome::allowed(
        "order within risk-guard's limits in any strategy's name, as brain can alone: the strategy's \
         bundle adds nothing, and its budget binds brain no more",
        format!(
            "an order worth about 4,000 USDT of a strategy with a budget of 1,000: {at_exchange}"
        ),
        refused,
    ))
}

/// One rule of risk-guard after the other, each broken by an order of brain's own.
fn beyond_risk_guard(team: &mut Team<'_>) -> Result<Vec<Refused>> {
    let ways: [(&str, Change, Reason); 8] = [
        (
            "order an instrument that is not listed",
            |order| {
                order.symbol = "DOGEUSDT".parse()?;
                Ok(())
            },
            Reason::InstrumentNotAllowed,
        ),
        (
            "order a quantity between the venue's steps",
            |order| {
                order.quantity = "20.5".parse()?;
                Ok(())
            },
            Reason::VenueFilters,
        ),
        (
            "order beyond the price collar",
            |order| {
                order.limit_price = tick(order.limit_price.raised(Bps::new(500)?)?)?;
                Ok(())
            },
            Reason::PriceCollar,
        ),
        (
            "order more units than the largest order has",
            |order| {
                order.quantity = "20001".parse()?;
                Ok(())
            },
            Reason::OrderQuantity,
        ),
        (
            "order above the value of the largest order",
            |order| {
                order.quantity = "20000".parse()?;
                Ok(())
            },
            Reason::OrderNotional,
        ),
        (
            "order to reduce what does not become less",
            |order| {
                order.reduce_only = true;
                Ok(())
            },
            Reason::NotReducing,
        ),
        (
            "order under another policy",
            |order| {
                order.policy = Hash([7; 32]);
                Ok(())
            },
            Reason::PolicyMismatch,
        ),
        (
            "order what was made ten seconds ago",
            |order| {
                order.created_at = order.created_at.minus(Span::from_secs(10));
                Ok(())
            },
            Reason::Expired,
        ),
    ];
    let mut refused = Vec::new();
    for (way, change, why) in ways {
        let mut other = made_up_order(team.stage, "20")?;
        change(&mut other)?;
        let mark = team.stage.mark()?;
        order(team, &other)?;
        refused.push(team.stage.judged(mark, way, other.id, why)?);
    }

    let mut nobodys = made_up_order(team.stage, "20")?;
    nobodys.strategy = "nobody".parse()?;
    let mark = team.stage.mark()?;
    order(team, &nobodys)?;
    let (way, why) = ("order for a strategy that is none", Reason::UnknownStrategy);
    refused.push(complained(
        team.stage,
        mark,
        way,
        "risk-guard",
        why.code(),
        |notice| {
            matches!(
                notice,
                Notice::Refused {
                    reason: Reason::UnknownStrategy,
                    ..
                }
            )
        },
    )?);

    // 25,000 in all, 5,000 an order: at the middle of the book nothing fills, but while they are on
    // their way they count.
    // No two are the same: that would be a mistake of brain's.
    let mut many = Vec::new();
    for usd in ["4900", "4890", "4880", "4870", "4860", "4850", "4840"] {
        many.push(order_worth(team.stage, usd)?);
    }
    let mark = team.stage.mark()?;
    for one in &mut many {
        one.created_at = now();
        order(team, one)?;
    }
    let last = many.last().context("the last order")?.id;
    let way = "order more at once than the position may become";
    refused.push(
        team.stage
            .judged(mark, way, last, Reason::PositionNotional)?,
    );
    Ok(refused)
}

pub(super) fn faster_than_allowed(team: &mut Team<'_>) -> Result<Outcome> {
    let mid = tick(team.stage.mid()?)?;
    let mark = team.stage.mark()?;
    let mut ids = Vec::new();
    // The rate is 50 a second, and as many refusals are answered one by one.
    for _ in 0..70 {
        ids.push(propose(team, "20", Some(mid))?);
    }
    let last = ids.last().copied().context("the last proposal")?;
    let way = "propose faster than the strategy's rate";
    let mut refused = vec![team.stage.decided(mark, way, last, Reason::RateLimit)?];

    // Risk-guard permits 100 a second. What was on its way before counts for two seconds.
    std::thread::sleep(Duration::from_millis(3_000));
    let template = made_up_order(team.stage, "20")?;
    let mut last = template.id;
    let mark = team.stage.mark()?;
    for number in 0..130 {
        last = OrderId(portcullis_runtime::envelope_id()?.0);
        let one = Order {
            id: last,
            created_at: now(),
            // The same again within milliseconds would be refused as that.
            quantity: (20 + number).to_string().parse()?,
            ..template.clone()
        };
        order(team, &one)?;
    }
    let way = "order faster than risk-guard permits, with brain's keys";
    refused.push(team.stage.judged(mark, way, last, Reason::RateLimit)?);
    team.make_honest()?;
    let (_, ms) = team.stage.trade(Side::Buy, "10")?;
    Ok(Outcome::allowed(
        "use up the rates of its strategy and of risk-guard, which bind every strategy together",
        format!("an honest order afterwards was traded in {ms} ms"),
        refused,
    ))
}

pub(super) fn far_from_the_market(team: &mut Team<'_>) -> Result<Outcome> {
    let honest = team.stage.mid()?;
    let dear = tick(honest.raised(Bps::new(500)?)?)?;
    let mut order = made_up_order(team.stage, "10")?;
    order.limit_price = dear;
    let sealed = team.thief("brain")?.seal(&ORDER, None, &order)?;
    team.took("brain");
    let mark = team.stage.mark()?;
    team.thief("brain")?.send(&sealed)?;
    let way = "order 5 % beyond an honest book";
    let refused = team
        .stage
        .judged(mark, way, order.id, Reason::PriceCollar)?;

    team.stage.freeze("market-data")?;
    team.took("market-data");
    let book = book_around(dear)?;
    let liar = team.stage.steal("market-data")?;
    let liar = Puppet::start(liar, Duration::from_millis(100), move |thief| {
        let sealed = thief.seal(&BOOK, Some(SYMBOL), &book)?;
        thief.send(&sealed)
    });
    std::thread::sleep(Duration::from_millis(500));
    order.id = OrderId(portcullis_runtime::envelope_id()?.0);
    order.created_at = now();
    let sealed = team.thief("brain")?.seal(&ORDER, None, &order)?;
    team.thief("brain")?.send(&sealed)?;
    let at_exchange = sent(team.stage, order.id);
    drop(liar);
    let at_exchange = at_exchange?;
    team.make_honest()?;
    Ok(Outcome::allowed(
        "move the collar with the book: order far from the market, within the limits of value and of \
         the day's loss. The venue still fills at the best price that rests",
        format!("with the middle said to be 5 % higher: {at_exchange}"),
        vec![refused],
    ))
}
