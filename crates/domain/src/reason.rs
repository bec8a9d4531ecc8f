//! Why something was refused. One vocabulary for every service, so that an operator, a metric and
//! the audit log say the same word.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a proposal, an order, a permit or a request to sign was refused.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code that logs, metrics and scripts use.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The kill switch of the refusing service is not armed.
    KillSwitch = "KILL_SWITCH",
    /// No strategy of that name is configured.
    UnknownStrategy = "UNKNOWN_STRATEGY",
    /// The strategy may not trade that instrument, or nobody may.
    InstrumentNotAllowed = "INSTRUMENT_NOT_ALLOWED",
    /// The strategy's budget would be exceeded.
    BudgetExceeded = "BUDGET_EXCEEDED",
    /// After rounding to the venue's filters nothing acceptable is left.
    OrderTooSmall = "ORDER_TOO_SMALL",
    /// Larger than the venue's largest order.
    OrderTooLarge = "ORDER_TOO_LARGE",
    /// Quantity or price is not on the venue's step or tick.
    VenueFilters = "VENUE_FILTERS",
    /// The order's notional is above its limit.
    OrderNotional = "ORDER_NOTIONAL",
    /// The position's notional would pass its limit.
    PositionNotional = "POSITION_NOTIONAL",
    /// The limit price is too far from the book.
    PriceCollar = "PRICE_COLLAR",
    /// There is no order book for the instrument.
    NoMarketData = "NO_MARKET_DATA",
    /// The order book is too old.
    StaleMarketData = "STALE_MARKET_DATA",
    /// The position is not known yet, or too old.
    PositionUnknown = "POSITION_UNKNOWN",
    /// The guard started less than one order lifetime ago.
    WarmingUp = "WARMING_UP",
    /// The services do not run the same risk policy.
    PolicyMismatch = "POLICY_MISMATCH",
    /// An amount left the range in which it can be computed.
    Overflow = "OVERFLOW",
    /// A reduce-only order would not reduce.
    NotReducing = "NOT_REDUCING",
    /// The same order was seen before.
    DuplicateOrder = "DUPLICATE_ORDER",
    /// Too many orders are open or in doubt.
    TooManyOrders = "TOO_MANY_ORDERS",
    /// Too many proposals or orders in too short a time.
    RateLimit = "RATE_LIMIT",
    /// What the order touches is halted by an operator.
    Halted = "HALTED",
    /// The strategy repeated itself too often; a person has to let it go on.
    StrategySuspended = "STRATEGY_SUSPENDED",
    /// A circuit breaker in the order's way is open, or lets only small probes through.
    CircuitBreakerActive = "CIRCUIT_BREAKER_ACTIVE",
    /// The day's drawdown allows less than this.
    PostureRestricts = "POSTURE_RESTRICTS",
    /// The policy does not list the venue.
    VenueNotAllowed = "VENUE_NOT_ALLOWED",
    /// The order's quantity is above its limit.
    OrderQuantity = "ORDER_QUANTITY",
    /// The order is far larger than what is traded at a time.
    FatFinger = "FAT_FINGER",
    /// There is no recent trade to compare the order with.
    NoRecentTrades = "NO_RECENT_TRADES",
    /// Too many of the strategy's orders were cancelled in the last minute.
    CancelRate = "CANCEL_RATE",
    /// The order would meet one of our own.
    SelfTrade = "SELF_TRADE",
    /// All positions together would pass their limit.
    GrossExposure = "GROSS_EXPOSURE",
    /// Long less short would pass its limit.
    NetExposure = "NET_EXPOSURE",
    /// The positions of a group of instruments would pass its limit.
    GroupExposure = "GROUP_EXPOSURE",
    /// Gross exposure would be too much for the equity.
    Leverage = "LEVERAGE",
    /// One instrument would be too much for the equity.
    Concentration = "CONCENTRATION",
    /// The equity is not known: a position has no price.
    EquityUnknown = "EQUITY_UNKNOWN",
    /// The day's loss of all strategies reached its limit.
    DailyLoss = "DAILY_LOSS",
    /// The day's loss of this strategy reached its limit.
    StrategyLoss = "STRATEGY_LOSS",
    /// Equity fell too far from the day's peak.
    Drawdown = "DRAWDOWN",
    /// The book is not deep enough to say what the order would cost.
    InsufficientLiquidity = "INSUFFICIENT_LIQUIDITY",
    /// The instrument moves too much.
    HighVolatility = "HIGH_VOLATILITY",
    /// Too little is known of the last half hour to say how much the instrument moves.
    VolatilityUnknown = "VOLATILITY_UNKNOWN",
    /// The order would slip more than its profile allows.
    ExceededLimit = "EXCEEDED_LIMIT",
    /// The order outlived its 2 s.
    Expired = "EXPIRED",
    /// The guard's heartbeat is too old: no licence to send.
    GuardSilent = "GUARD_SILENT",
    /// The order inside the permit is not one that the brain sealed for the reader.
    OrderSeal = "ORDER_SEAL",
    /// Audit's receipt did not come in time, or was for something else.
    NoReceipt = "NO_RECEIPT",
    /// The signer did not answer in time.
    NoSignature = "NO_SIGNATURE",
    /// The signer refused.
    SignerRefused = "SIGNER_REFUSED",
    /// The bytes to sign are not what the order says.
    BytesDiffer = "BYTES_DIFFER",
    /// The venue's time and the reader's are too far apart.
    ClockSkew = "CLOCK_SKEW",
    /// The hard daily loss is reached.
    HardDailyLoss = "HARD_DAILY_LOSS",
    /// Another hard limit of execution's binary.
    HardLimit = "HARD_LIMIT",
    /// Execution has not yet reconciled with the venue.
    NotReconciled = "NOT_RECONCILED",
    /// The venue's account contradicts ours, in that instrument or as a whole.
    VenueDiffers = "VENUE_DIFFERS",
    /// An order of that instrument was not confirmed as often as its value asks for, in the time that
    /// its value allows.
    Unconfirmed = "UNCONFIRMED",
    /// An order of that instrument is in doubt; nothing new until it is resolved.
    OrderInDoubt = "ORDER_IN_DOUBT",
    /// The venue's request budget is used up.
    VenueRateLimit = "VENUE_RATE_LIMIT",
    /// The venue refused the order.
    VenueRejected = "VENUE_REJECTED",
    /// The venue says the account lacks funds.
    InsufficientFunds = "INSUFFICIENT_FUNDS",
    /// The venue does not accept this system's key or signature.
    VenueAuthentication = "VENUE_AUTHENTICATION",
    /// The venue could not be reached: nothing left.
    VenueUnreachable = "VENUE_UNREACHABLE",
    /// The venue never had the order, and can no longer get it.
    NeverArrived = "NEVER_ARRIVED",
    /// The service is stopping.
    ShuttingDown = "SHUTTING_DOWN",
    /// The disk under the journal does not take more.
    JournalUnwritable = "JOURNAL_UNWRITABLE",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_code() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
