//! How many requests may still be sent.
//!
//! The venue counts twice: for each account and endpoint by the second, and for each address over
//! everything in five seconds. Breaking the second rule closes the door for ten minutes, cancels
//! included, so a part of that budget belongs to cancels alone.
//!
//! Source: the venue's API reference, v5, `rate-limit`.

use std::collections::{BTreeMap, VecDeque};

use portcullis_domain::{Span, Timestamp};
use portcullis_venue::bybit::Action;

use super::rest::{LimitHeaders, Reply};

/// The window of an endpoint's limit.
const ENDPOINT_WINDOW: Span = Span::from_secs(1);
/// The window of the address's limit.
const ADDRESS_WINDOW: Span = Span::from_secs(5);
/// How long the venue wants to hear nothing after HTTP 403.
const FORBIDDEN: Span = Span::from_secs(600);
/// How long to stop after HTTP 429 that does not say how long.
const TOO_MANY: Span = Span::from_secs(1);
/// The longest that one answer can close an endpoint; the venue counts by the second.
const RESET_MAX: Span = Span::from_secs(10);
/// The longest that `Retry-After` is heeded.
const RETRY_AFTER_S_MAX: u64 = 600;
/// The largest limit of an endpoint that is believed.
const LIMIT_MAX: u32 = 1_000;

/// What the venue counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointClass {
    /// Placing.
    Place,
    /// Cancelling one order.
    Cancel,
    /// Cancelling everything of an instrument.
    CancelAll,
    /// Setting what the venue does once the private stream is gone.
    CancelOnDisconnect,
    /// Reading orders.
    Orders,
    /// Reading positions.
    Positions,
    /// Reading fills.
    Executions,
    /// Reading the balance.
    Wallet,
    /// Reading what changed the balance.
    Movements,
    /// Reading the venue's clock and other public matter.
    Public,
}

impl EndpointClass {
    /// Every class.
    pub const ALL: &[Self] = &[
        Self::Place,
        Self::Cancel,
        Self::CancelAll,
        Self::CancelOnDisconnect,
        Self::Orders,
        Self::Positions,
        Self::Executions,
        Self::Wallet,
        Self::Movements,
        Self::Public,
    ];

    /// The class of an action; `None` for the login to the stream, which is no request.
    #[must_use]
    pub const fn of(action: &Action<'_>) -> Option<Self> {
        Some(match action {
            Action::Place(_) => Self::Place,
            Action::Cancel { .. } | Action::CancelForeign { .. } => Self::Cancel,
            Action::CancelAll { .. } => Self::CancelAll,
            Action::CancelOnDisconnect { .. } => Self::CancelOnDisconnect,
            Action::QueryOrder { .. } | Action::QueryOpenOrders { .. } => Self::Orders,
            Action::QueryPositions { .. } => Self::Positions,
            Action::QueryExecutions { .. } => Self::Executions,
            Action::QueryWallet => Self::Wallet,
            Action::QueryMovements { .. } => Self::Movements,
            Action::StreamLogin { .. } => return None,
        })
    }

    /// Whether it takes risk away, and may use what is kept for that.
    #[must_use]
    pub const fn is_cancel(self) -> bool {
        match self {
            Self::Cancel | Self::CancelAll => true,
            Self::Place
            | Self::CancelOnDisconnect
            | Self::Orders
            | Self::Positions
            | Self::Executions
            | Self::Wallet
            | Self::Movements
            | Self::Public => false,
        }
    }

    /// The documented limit a second, until an answer's headers say otherwise.
    const fn limit_documented(self) -> u32 {
        match self {
            Self::Place | Self::Cancel | Self::CancelAll => 10,
            Self::CancelOnDisconnect => 5,
            Self::Movements => 30,
            Self::Orders | Self::Positions | Self::Executions | Self::Wallet | Self::Public => 50,
        }
    }
}

/// The limits of the whole address.
#[derive(Clone, Copy, Debug)]
pub struct BudgetSettings {
    /// How many requests are sent in five seconds at most. The venue's limit is 600; some room below
    /// it is for whatever else uses the same address.
    pub address_per_5s: usize,
    /// How many of them are kept for cancels.
    pub cancel_reserve: usize,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            address_per_5s: 500,
            cancel_reserve: 100,
        }
    }
}

/// Counts requests.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: BudgetSettings,
    endpoints: BTreeMap<EndpointClass, Endpoint>,
    /// When requests left within the address's window, oldest first.
    sent: VecDeque<Timestamp>,
    /// Nothing at all before this moment.
    closed_until: Timestamp,
}

#[derive(Clone, Debug)]
struct Endpoint {
    limit: u32,
    /// When requests left within the endpoint's window, oldest first.
    sent: VecDeque<Timestamp>,
    closed_until: Timestamp,
}

impl Budget {
    /// A budget of which nothing is used.
    #[must_use]
    pub fn new(settings: BudgetSettings) -> Self {
        let fresh = |class: EndpointClass| Endpoint {
            limit: class.limit_documented(),
            sent: VecDeque::new(),
            closed_until: Timestamp(0),
        };
        let endpoints = EndpointClass::ALL
            .iter()
            .map(|class| (*class, fresh(*class)))
            .collect();
        Self {
            settings,
            endpoints,
            sent: VecDeque::new(),
            closed_until: Timestamp(0),
        }
    }

    /// Takes one request out of the budget.
    ///
    /// # Errors
    /// When to ask again, while there is none left; nothing is taken then.
    pub fn may_send(&mut self, class: EndpointClass, now: Timestamp) -> Result<(), Timestamp> {
        let Some(endpoint) = self.endpoints.get_mut(&class) else {
            return Err(now.plus(ENDPOINT_WINDOW));
        };
        let closed_until = self.closed_until.max(endpoint.closed_until);
        if now < closed_until {
            return Err(closed_until);
        }
        let kept = if class.is_cancel() {
            0
        } else {
            self.settings.cancel_reserve
        };
        let address_limit = self.settings.address_per_5s.saturating_sub(kept);
        let endpoint_limit = usize::try_from(endpoint.limit).unwrap_or(usize::MAX);
        room(&mut endpoint.sent, ENDPOINT_WINDOW, endpoint_limit, now)?;
        room(&mut self.sent, ADDRESS_WINDOW, address_limit, now)?;
        endpoint.sent.push_back(now);
        self.sent.push_back(now);
        Ok(())
    }

    /// Learns from an answer. `venue_now_ms` is the venue's time, where it is known.
    pub fn note(
        &mut self,
        class: EndpointClass,
        now: Timestamp,
        venue_now_ms: Option<u64>,
        reply: &Reply,
    ) {
        let asked = reply.headers.retry_after_s;
        let asked = asked.map(|seconds| Span::from_secs(seconds.min(RETRY_AFTER_S_MAX)));
        match reply.http_status {
            403 => self.close(now.plus(FORBIDDEN)),
            429 => self.close(now.plus(asked.unwrap_or(TOO_MANY))),
            _ => {}
        }
        self.learn(class, now, venue_now_ms, reply.headers);
    }

    /// The answer's code says that the endpoint's limit was broken.
    pub fn exceeded(&mut self, class: EndpointClass, now: Timestamp) {
        if let Some(endpoint) = self.endpoints.get_mut(&class) {
            endpoint.closed_until = endpoint.closed_until.max(now.plus(ENDPOINT_WINDOW));
        }
    }

    /// Until when nothing may be sent at all; `None` when something may.
    #[must_use]
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        (now < self.closed_until).then_some(self.closed_until)
    }

    fn close(&mut self, until: Timestamp) {
        self.closed_until = self.closed_until.max(until);
    }

    fn learn(
        &mut self,
        class: EndpointClass,
        now: Timestamp,
        venue_now_ms: Option<u64>,
        headers: LimitHeaders,
    ) {
        let Some(endpoint) = self.endpoints.get_mut(&class) else {
            return;
        };
        if let Some(limit) = headers
            .limit
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        {
            endpoint.limit = limit;
        }
        if headers.remaining == Some(0) {
            // The reset lies ahead only when the limit is broken already. Until then the oldest
            // request of the window makes room when it leaves.
            let oldest = endpoint.sent.front().copied().unwrap_or(now);
            let ahead = headers
                .reset_ms
                .zip(venue_now_ms)
                .and_then(|(reset_ms, venue_now_ms)| {
                    let millis = reset_ms
                        .checked_sub(venue_now_ms)
                        .filter(|millis| *millis > 0)?;
                    Some(now.plus(Span(Span::from_millis(millis).0.min(RESET_MAX.0))))
                });
            let until = ahead.unwrap_or(oldest.plus(ENDPOINT_WINDOW));
            endpoint.closed_until = endpoint.closed_until.max(until);
        }
    }
}

/// Forgets what left the window and checks that one more fits into it.
fn room(
    sent: &mut VecDeque<Timestamp>,
    window: Span,
    limit: usize,
    now: Timestamp,
) -> Result<(), Timestamp> {
    while sent
        .front()
        .is_some_and(|oldest| oldest.plus(window) <= now)
    {
        sent.pop_front();
    }
    if sent.len() < limit {
        return Ok(());
    }
    // The window has room for one more when the youngest of those beyond the limit leaves it.
    let leaving = sent
        .get(sent.len().saturating_sub(limit))
        .copied()
        .unwrap_or(now);
    Err(leaving.plus(window))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    fn reply(http_status: u16, headers: LimitHeaders) -> Reply {
        Reply {
            http_status,
            body: Vec::new(),
            headers,
        }
    }

    fn ok(limit: u32, remaining: u32, reset_ms: u64) -> Reply {
        let headers = LimitHeaders {
            limit: Some(limit),
            remaining: Some(remaining),
            reset_ms: Some(reset_ms),
            retry_after_s: None,
        };
        reply(200, headers)
    }

    #[test]
    fn sends_no_more_orders_a_second_than_documented() {
        let mut budget = Budget::new(BudgetSettings::default());
        for n in 0..10 {
            assert_eq!(budget.may_send(EndpointClass::Place, at(n)), Ok(()), "{n}");
        }
        assert_eq!(
            budget.may_send(EndpointClass::Place, at(10)),
            Err(at(1_000))
        );
        assert_eq!(
            budget.may_send(EndpointClass::Cancel, at(10)),
            Ok(()),
            "counted apart"
        );
        assert_eq!(budget.may_send(EndpointClass::Place, at(1_000)), Ok(()));
        assert_eq!(
            budget.may_send(EndpointClass::Place, at(1_000)),
            Err(at(1_001))
        );
    }

    #[test]
    fn takes_the_limit_from_the_answer_and_believes_no_nonsense() {
        let mut budget = Budget::new(BudgetSettings::default());
        let class = EndpointClass::Place;
        budget.note(class, at(0), None, &ok(2, 1, 0));
        assert_eq!(budget.may_send(class, at(0)), Ok(()));
        assert_eq!(budget.may_send(class, at(0)), Ok(()));
        assert_eq!(budget.may_send(class, at(0)), Err(at(1_000)));
        for nonsense in [0, 1_001, u32::MAX] {
            budget.note(class, at(2_000), None, &ok(nonsense, 1, 0));
            assert_eq!(budget.endpoints[&class].limit, 2, "{nonsense}");
        }
    }

    #[test]
    fn waits_until_the_reset_that_the_venue_names() {
        let mut budget = Budget::new(BudgetSettings::default());
        let class = EndpointClass::Orders;
        assert_eq!(budget.may_send(class, at(0)), Ok(()));
        // The venue's clock reads 5,000 where this one reads 100; it resets 300 ms later.
        budget.note(class, at(100), Some(5_000), &ok(50, 0, 5_300));
        assert_eq!(budget.may_send(class, at(399)), Err(at(400)));
        assert_eq!(budget.may_send(class, at(400)), Ok(()));
        // Nothing left, and the "reset" is only the venue's present time.
        budget.note(class, at(500), Some(5_400), &ok(50, 0, 5_400));
        assert_eq!(
            budget.may_send(class, at(501)),
            Err(at(1_000)),
            "when the oldest leaves"
        );
        // However far away the reset claims to be, the wait is bounded.
        budget.note(class, at(2_000), Some(1), &ok(50, 0, u64::MAX));
        assert_eq!(budget.may_send(class, at(2_001)), Err(at(12_000)));
    }

    #[test]
    fn keeps_a_part_of_the_address_budget_for_cancels() {
        let settings = BudgetSettings {
            address_per_5s: 6,
            cancel_reserve: 2,
        };
        let mut budget = Budget::new(settings);
        for n in 0..4 {
            assert_eq!(budget.may_send(EndpointClass::Orders, at(n)), Ok(()));
        }
        for class in [
            EndpointClass::Place,
            EndpointClass::Orders,
            EndpointClass::Public,
        ] {
            assert_eq!(budget.may_send(class, at(4)), Err(at(5_000)), "{class:?}");
        }
        assert_eq!(budget.may_send(EndpointClass::Cancel, at(4)), Ok(()));
        assert_eq!(budget.may_send(EndpointClass::CancelAll, at(5)), Ok(()));
        assert_eq!(
            budget.may_send(EndpointClass::Cancel, at(6)),
            Err(at(5_000))
        );
        assert_eq!(
            budget.may_send(EndpointClass::Place, at(5_000)),
            Err(at(5_002)),
            "five left in the window, and four is all that others may use"
        );
    }

    #[test]
    fn after_403_nothing_leaves_for_ten_minutes_and_after_429_for_as_long_as_it_says() {
        let mut forbidden = Budget::new(BudgetSettings::default());
        forbidden.note(
            EndpointClass::Public,
            at(0),
            None,
            &reply(403, LimitHeaders::default()),
        );
        for class in EndpointClass::ALL {
            assert_eq!(
                forbidden.may_send(*class, at(599_999)),
                Err(at(600_000)),
                "{class:?}"
            );
            assert_eq!(forbidden.may_send(*class, at(600_000)), Ok(()), "{class:?}");
        }
        assert_eq!(forbidden.closed_until(at(600_000)), None);

        let mut busy = Budget::new(BudgetSettings::default());
        busy.note(
            EndpointClass::Place,
            at(0),
            None,
            &reply(429, LimitHeaders::default()),
        );
        assert_eq!(busy.may_send(EndpointClass::Cancel, at(1)), Err(at(1_000)));
        let headers = LimitHeaders {
            retry_after_s: Some(7),
            ..LimitHeaders::default()
        };
        busy.note(EndpointClass::Place, at(0), None, &reply(429, headers));
        assert_eq!(busy.closed_until(at(1)), Some(at(7_000)));
    }

    #[test]
    fn an_exceeded_limit_closes_that_endpoint_for_a_second() {
        let mut budget = Budget::new(BudgetSettings::default());
        budget.exceeded(EndpointClass::Place, at(0));
        assert_eq!(
            budget.may_send(EndpointClass::Place, at(999)),
            Err(at(1_000))
        );
        assert_eq!(budget.may_send(EndpointClass::Cancel, at(999)), Ok(()));
    }
}
