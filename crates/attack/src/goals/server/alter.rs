//! Something else under the seals of an honest order.

use super::*;

pub(super) fn price(team: &mut Team<'_>) -> Result<Outcome> {
    altered(team, "price", |order| {
        order.limit_price = order
            .limit_price
            .raised(portcullis_domain::Bps::new(100)?)?;
        order.limit_price = super::super::ways::tick(order.limit_price)?;
        Ok(())
    })
}

pub(super) fn side(team: &mut Team<'_>) -> Result<Outcome> {
    altered(team, "side", |order| {
        order.side = match order.side {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        };
        Ok(())
    })
}

pub(super) fn quantity(team: &mut Team<'_>) -> Result<Outcome> {
    altered(team, "quantity", |order| {
        order.quantity = "500".parse()?;
        Ok(())
    })
}

/// Holds an honest order up between brain and risk-guard, and again between risk-guard and execution,
/// and passes something else on under the same seals.
fn altered(
    team: &mut Team<'_>,
    what: &str,
    change: impl Fn(&mut Order) -> Result<()>,
) -> Result<Outcome> {
    let other = |frame: &[u8]| -> Result<Vec<u8>> {
        let (_, mut order) = read_unsealed::<Order>(frame)?;
        change(&mut order)?;
        let body = codec::encode(&order)?;
        Craft::read(frame)?
            .with(|craft| craft.body = body)
            .under(frame)
    };
    let subject = ORDER.row.pattern;
    keep_back(team, "risk-guard", &["account: BRAIN,", subject])?;
    team.server()?.tap("brain")?.listen(subject)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    team.stage.propose(Side::Buy, "10")?;
    let caught = team.server()?.tap("brain")?.catch(subject)?;
    let way = format!("change the {what} of an order on its way to risk-guard");
    let frame = other(&caught)?;
    let mut refused = vec![slip(
        team,
        "risk-guard",
        &way,
        subject,
        &frame,
        &["BAD_SEAL"],
    )?];
    let_pass(team)?;

    let subject = PERMIT.row.pattern;
    keep_back(team, "execution", &["account: RISK_GUARD,", subject])?;
    team.server()?.tap("risk-guard")?.listen(subject)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    team.stage.propose(Side::Buy, "10")?;
    let caught = team.server()?.tap("risk-guard")?.catch(subject)?;
    let (_, mut permit) = read_unsealed::<Permit>(&caught)?;
    permit.order = other(&permit.order)?;
    let body = codec::encode(&permit)?;
    let frame = Craft::read(&caught)?
        .with(|craft| craft.body = body)
        .under(&caught)?;
    let way = format!("change the {what} of the order inside a permit");
    refused.push(slip(
        team,
        "execution",
        &way,
        subject,
        &frame,
        &["BAD_SEAL"],
    )?);
    let_pass(team)?;

    // Valid bytes where they do not belong.
    team.server()?.tap(TRADER)?.listen(PROPOSALS)?;
    team.stage.trade(Side::Buy, "10")?;
    let caught = team.server()?.tap(TRADER)?.catch(PROPOSALS)?;
    let way = "deliver one strategy's proposal as another's";
    let sample = "cmd.brain.propose.sample";
    refused.push(slip(
        team,
        "brain",
        way,
        sample,
        &caught,
        &["WRONG_SUBJECT"],
    )?);
    let (bitcoin, ripple) = ("data.bybit.BTCUSDT.book", book_subject());
    let tap = team.server()?.tap("market-data")?;
    tap.listen(bitcoin)?;
    let caught = tap.catch(bitcoin)?;
    let way = "deliver one instrument's book as another's";
    refused.push(slip(
        team,
        "brain",
        way,
        &ripple,
        &caught,
        &["WRONG_SUBJECT"],
    )?);
    Ok(Outcome::blocked(refused))
}
