//! For every reason of a refusal: what it means to the person who was refused, and what to do.

use portcullis_domain::Reason;

/// What somebody can do about a refusal, as a sentence.
#[must_use]
pub const fn next_step(reason: Reason) -> &'static str {
    match reason {
        Reason::KillSwitch => {
            "trading is stopped: `portcullis audit tail -n 1000` says by whom and why; nothing \
             resumes it yet (README.md says what to do in development)"
        }
        Reason::UnknownStrategy => {
            "add the strategy to config/brain.toml and config/risk-guard.toml, restart both, and see docs/keys.md for its keys"
        }
        Reason::InstrumentNotAllowed => {
            "trade an instrument that config/brain.toml and config/risk-policy.toml both list"
        }
        Reason::BudgetExceeded => {
            "order less, or close some of the strategy's position; budgets are in config/brain.toml"
        }
        Reason::OrderTooSmall => {
            "order more: the smallest order is in config/risk-policy.toml (quantity_min, notional_min, order_notional_min)"
        }
        Reason::OrderTooLarge => {
            "order less: the venue's largest order is in config/risk-policy.toml (quantity_max)"
        }
        Reason::VenueFilters => {
            "use the instrument's tick_size and quantity_step; if those in config/risk-policy.toml are not \
             the venue's, correct them"
        }
        Reason::OrderNotional => {
            "order less: `portcullis limits` shows the limit in force (order_notional_max in the policy)"
        }
        Reason::PositionNotional => {
            "order less, or close some of the position (--reduce-only); `portcullis limits` shows what is \
             in force, `portcullis explain` whether it is the instrument's or the strategy's"
        }
        Reason::PriceCollar => {
            "choose a price nearer to the book, or leave --price out; the bounds are profile in \
             config/brain.toml, collar and last_collar in config/risk-policy.toml"
        }
        Reason::NoMarketData | Reason::StaleMarketData => {
            "look at market-data: `portcullis status` shows whether books arrive"
        }
        Reason::PositionUnknown | Reason::NotReconciled => {
            "wait until execution has compared itself with the venue: `portcullis status`"
        }
        Reason::WarmingUp => "try again in two seconds: risk-guard has only just started",
        Reason::PolicyMismatch => {
            "start brain, risk-guard and execution with the same config/risk-policy.toml"
        }
        Reason::Overflow => "order less: the amounts are beyond what can be computed exactly",
        Reason::NotReducing => {
            "leave --reduce-only out, or order the other way: this would not shrink the position"
        }
        Reason::DuplicateOrder => {
            "an order with this id, or the same one a moment ago, was judged already: `portcullis explain` \
             says which; if a second one is meant, send it later (same_order_ms in the policy)"
        }
        Reason::TooManyOrders => {
            "wait until open orders end: `portcullis orders`; the limit is orders_open_max in \
             config/risk-policy.toml"
        }
        Reason::RateLimit => {
            "send fewer proposals in a second; `portcullis explain` says whose limit it is"
        }
        Reason::Halted => {
            "look at `portcullis breakers`: it shows who halted what and why; `portcullis halt lift` \
             asks for its end, and a second person approves it"
        }
        Reason::StrategySuspended => {
            "look why the strategy repeats itself, then let it go on: `portcullis release`"
        }
        Reason::CircuitBreakerActive => {
            "look at `portcullis breakers`: it shows which one is open, since when and until when"
        }
        Reason::PostureRestricts | Reason::Drawdown => {
            "the posture allows no more: in CAUTIOUS order half the instrument's limit, in DEFENSIVE only \
             reduce, in EMERGENCY nothing passes; once the drawdown is smaller, `portcullis posture \
             raise` and a second person"
        }
        Reason::VenueNotAllowed => {
            "trade on a venue that config/risk-policy.toml lists under venues"
        }
        Reason::OrderQuantity => {
            "order less: the limit is order_quantity_max in config/risk-policy.toml"
        }
        Reason::FatFinger => {
            "check the size; if it is meant, order in parts: the limit is fat_finger_max times the \
             average of recent trades (config/risk-policy.toml)"
        }
        Reason::NoRecentTrades => {
            "wait for trades of the instrument: without them an order cannot be compared with any"
        }
        Reason::CancelRate => {
            "wait a minute, or price orders so that they fill: too many of the strategy's ended cancelled \
             (cancels_per_minute_max in config/risk-policy.toml)"
        }
        Reason::SelfTrade => {
            "choose a price that does not meet your own order on the other side, or wait until that one \
             ends: `portcullis orders`"
        }
        Reason::GrossExposure | Reason::NetExposure | Reason::GroupExposure => {
            "order less, or close other positions: `portcullis limits` shows what is used"
        }
        Reason::Leverage | Reason::Concentration => {
            "order less: it would be too much for the equity; `portcullis limits` shows how much"
        }
        Reason::EquityUnknown => {
            "look at market-data: a position has no price, so the equity is not known"
        }
        Reason::DailyLoss | Reason::StrategyLoss => {
            "stop and look: the day's loss reached its limit; orders that reduce still pass"
        }
        Reason::InsufficientLiquidity => {
            "order less, or nearer to the book: it is not deep enough to say what this would cost"
        }
        Reason::HighVolatility => {
            "wait until the market is calmer; the limit is volatility_max in config/risk-policy.toml"
        }
        Reason::VolatilityUnknown => {
            "look at market-data: the closes of the last half hour are missing"
        }
        Reason::ExceededLimit => {
            "order less: it would fill further from the middle of the book than its profile allows"
        }
        Reason::Expired => {
            "try again; if it happens again, the machine is too slow or its clock is wrong"
        }
        Reason::GuardSilent => {
            "look at risk-guard: its heartbeat does not arrive; `portcullis status`"
        }
        Reason::OrderSeal => {
            "somebody's keys do not fit: make the development identities anew, and report it \
             otherwise, since an honest system never does this"
        }
        Reason::NoReceipt => "look at audit: nothing is traded that it has not recorded",
        Reason::NoSignature => "look at signer: it did not answer in time; `portcullis status`",
        Reason::SignerRefused | Reason::BytesDiffer => {
            "look at the log of signer: it refused what execution asked for"
        }
        Reason::ClockSkew => "set the machine's clock: the venue's time and ours are too far apart",
        Reason::HardDailyLoss => {
            "stop and look: the hard daily loss is reached, which pulls the kill switch; the next \
             day does not resume it"
        }
        Reason::HardLimit => "order less: a limit compiled into execution would be passed",
        Reason::VenueDiffers => {
            "look at `portcullis status`: it says what the venue has and what execution has; orders or \
             positions there that are not ours must be closed there"
        }
        Reason::Unconfirmed => {
            "wait until the venue confirms the order: `portcullis status` says which; if it never does, \
             look at the venue itself"
        }
        Reason::OrderInDoubt => {
            "wait until the order in doubt is resolved: `portcullis orders` shows it as UNKNOWN"
        }
        Reason::VenueRateLimit => "wait some seconds: the venue's request budget is used up",
        Reason::VenueRejected => "read what the venue said, above, and order differently",
        Reason::InsufficientFunds => "order less: the account at the venue lacks funds",
        Reason::VenueAuthentication => {
            "check the venue's API key: the venue does not accept it or its signature"
        }
        Reason::VenueUnreachable => {
            "try again once the venue can be reached: nothing had left; `portcullis status`"
        }
        Reason::NeverArrived => "order again if you still want to: the venue never had that order",
        Reason::ShuttingDown => "try again once the service runs again: `portcullis status`",
        Reason::JournalUnwritable => "free space on the disk under the state of execution",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        for reason in Reason::ALL {
            let step = next_step(*reason);
            assert!(step.len() > 20, "{reason}");
            assert!(
                !step.ends_with('.') && !step.contains("  "),
                "{reason}: {step}"
            );
        }
    }
}
