//! Rate limits: per account and endpoint, and per address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::clock::TimeMs;

/// Addresses remembered at once; beyond this the oldest windows go first.
const ADDRESSES_MAX: usize = 4_096;

const SECOND_MS: i64 = 1_000;
const ADDRESS_WINDOW_MS: i64 = 5_000;

/// How many requests are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowances {
    /// Per account, endpoint and second: create, amend, cancel, cancel-all, set-leverage.
    pub orders_per_second: u32,
    /// Per account, endpoint and second: everything else that is private.
    pub queries_per_second: u32,
    /// Per address and five seconds, over all endpoints.
    pub address_per_5s: u32,
}

/// Which allowance an endpoint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Order,
    Query,
}

/// What the `X-Bapi-Limit*` headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub limit: u32,
    pub remaining: u32,
    pub reset_ms: TimeMs,
    /// The request is over the limit.
    pub exceeded: bool,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    begins: TimeMs,
    used: u32,
}

impl Window {
    /// Counts a request; answers how many there are in the window now, and its end.
    fn count(&mut self, now: TimeMs, length_ms: i64) -> (u32, TimeMs) {
        let over = now < self.begins || now >= self.begins.saturating_add(length_ms);
        if over {
            *self = Self {
                begins: now,
                used: 0,
            };
        }
        self.used = self.used.saturating_add(1);
        (self.used, self.begins.saturating_add(length_ms))
    }
}

/// Counters of all accounts and addresses.
#[derive(Debug)]
pub(crate) struct Limits {
    allowances: Allowances,
    accounts: BTreeMap<(String, &'static str), Window>,
    addresses: BTreeMap<IpAddr, Window>,
}

impl Limits {
    pub(crate) fn new(allowances: Allowances) -> Self {
        Self {
            allowances,
            accounts: BTreeMap::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// Counts a request of an account to an endpoint.
    pub(crate) fn account(
        &mut self,
        now: TimeMs,
        account: &str,
        endpoint: &'static str,
        class: Class,
    ) -> Budget {
        let limit = match class {
            Class::Order => self.allowances.orders_per_second,
            Class::Query => self.allowances.queries_per_second,
        };
        let window = self
            .accounts
            .entry((account.to_owned(), endpoint))
            .or_insert(Window {
                begins: now,
                used: 0,
            });
        let (used, end) = window.count(now, SECOND_MS);
        let exceeded = used > limit;
        Budget {
            limit,
            remaining: limit.saturating_sub(used),
            reset_ms: if exceeded { end } else { now },
            exceeded,
        }
    }

    /// Counts a request of an address; `false` when it is over the limit.
    pub(crate) fn address(&mut self, now: TimeMs, address: IpAddr) -> bool {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            self.addresses
                .retain(|_, window| now < window.begins.saturating_add(ADDRESS_WINDOW_MS));
            if self.addresses.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let window = self.addresses.entry(address).or_insert(Window {
            begins: now,
            used: 0,
        });
        window.count(now, ADDRESS_WINDOW_MS).0 <= self.allowances.address_per_5s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCES: Allowances = Allowances {
        orders_per_second: 2,
        queries_per_second: 5,
        address_per_5s: 3,
    };

    #[test]
    fn refuses_the_third_order_of_a_second_and_allows_again_in_the_next() {
        let mut limits = Limits::new(ALLOWANCES);
        let mut order = |now| limits.account(now, "a", "/v5/order/create", Class::Order);
        assert_eq!((order(1_000).remaining, order(1_500).remaining), (1, 0));
        let third = order(1_999);
        assert!(third.exceeded);
        assert_eq!(third.reset_ms, 2_000);
        assert!(!order(2_000).exceeded);
    }

    #[test]
    fn counts_endpoints_and_accounts_apart() {
        let mut limits = Limits::new(ALLOWANCES);
        for _ in 0..2 {
            assert!(
                !limits
                    .account(0, "a", "/v5/order/create", Class::Order)
                    .exceeded
            );
        }
        assert!(
            !limits
                .account(0, "a", "/v5/order/cancel", Class::Order)
                .exceeded
        );
        assert!(
            !limits
                .account(0, "b", "/v5/order/create", Class::Order)
                .exceeded
        );
        assert!(
            limits
                .account(0, "a", "/v5/order/create", Class::Order)
                .exceeded
        );
    }

    #[test]
    fn bans_an_address_for_the_rest_of_its_window_only() {
        let mut limits = Limits::new(ALLOWANCES);
        let home = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(
            [0, 1, 2, 3].map(|now| limits.address(now, home)),
            [true, true, true, false]
        );
        assert!(limits.address(5_000, home));
    }
}
