//! What everything together may be worth, as running totals: asking costs the same whatever is held.

use alloc::collections::BTreeMap;

use portcullis_domain::{AmountError, Price, Symbol, Usd, Worst};
use portcullis_wire::messages::GroupPolicy;

/// What one instrument may be worth, whatever becomes of its open orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// With all its buys filled.
    pub long: Usd,
    /// With all its sells filled.
    pub short: Usd,
    /// The larger of the two, without its sign.
    pub gross: Usd,
}

impl Value {
    fn of(worst: Worst, price: Price) -> Result<Self, AmountError> {
        let long = price.value(worst.long_most)?;
        let short = price.value(worst.short_most)?;
        Ok(Self {
            long,
            short,
            gross: long.abs().max(short.abs()),
        })
    }
}

/// Sums of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Of all instruments, whichever way.
    pub gross: Usd,
    /// Of all instruments with their buys filled.
    pub long: Usd,
    /// Of all instruments with their sells filled.
    pub short: Usd,
}

impl Total {
    fn exchange(self, old: Value, new: Value) -> Result<Self, AmountError> {
        Ok(Self {
            gross: self.gross.minus(old.gross)?.plus(new.gross)?,
            long: self.long.minus(old.long)?.plus(new.long)?,
            short: self.short.minus(old.short)?.plus(new.short)?,
        })
    }

    /// The larger of long less short and short less long.
    pub fn net(&self) -> Usd {
        self.long.abs().max(self.short.abs())
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Portfolio {
    values: BTreeMap<Symbol, Value>,
    total: Total,
    group_of: BTreeMap<Symbol, usize>,
    groups: BTreeMap<usize, Usd>,
    /// A sum that left the range of amounts: nothing is known until a snapshot puts it right.
    is_broken: bool,
}

impl Portfolio {
    /// Nothing is held.
    pub fn new(groups: &[GroupPolicy]) -> Self {
        let group_of = groups.iter().enumerate().flat_map(|(at, group)| {
            let symbols = group.instruments.iter();
            symbols.map(move |symbol| (*symbol, at))
        });
        Self {
            group_of: group_of.collect(),
            ..Self::default()
        }
    }

    /// Forgets every value, because another account of everything came.
    pub fn clear(&mut self) {
        self.values.clear();
        self.groups.clear();
        self.total = Total::default();
        self.is_broken = false;
    }

    /// What an instrument may be worth has changed.
    pub fn value(&mut self, symbol: Symbol, worst: Worst, price: Price) {
        match self.with(symbol, worst, price) {
            Ok(with) => self.take(symbol, with),
            Err(_) => self.is_broken = true,
        }
    }

    /// The totals, if the instrument were worth that instead.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn with(&self, symbol: Symbol, worst: Worst, price: Price) -> Result<With, AmountError> {
        if self.is_broken {
            return Err(AmountError::TooLarge);
        }
        let old = self.values.get(&symbol).copied().unwrap_or_default();
        let value = Value::of(worst, price)?;
        let group = self.group_with(symbol, old, value)?;
        Ok(With {
            value,
            total: self.total.exchange(old, value)?,
            group,
        })
    }

    /// An instrument is worth what was asked about before.
    pub fn take(&mut self, symbol: Symbol, with: With) {
        self.values.insert(symbol, with.value);
        self.total = with.total;
        if let Some((at, sum)) = with.group {
            self.groups.insert(at, sum);
        }
    }

    /// The totals as they are.
    pub const fn total(&self) -> Option<Total> {
        if self.is_broken {
            None
        } else {
            Some(self.total)
        }
    }

    /// What an instrument may be worth.
    pub fn of(&self, symbol: Symbol) -> Value {
        self.values.get(&symbol).copied().unwrap_or_default()
    }

    fn group_with(
        &self,
        symbol: Symbol,
        old: Value,
        new: Value,
    ) -> Result<Option<(usize, Usd)>, AmountError> {
        let Some(at) = self.group_of.get(&symbol) else {
            return Ok(None);
        };
        let sum = self.groups.get(at).copied().unwrap_or_default();
        Ok(Some((*at, sum.minus(old.gross)?.plus(new.gross)?)))
    }
}

/// The totals with one order more.
#[derive(Clone, Copy, Debug)]
pub struct With {
    pub value: Value,
    pub total: Total,
    /// Which group of the policy the instrument is in, and what it may then be worth.
    pub group: Option<(usize, Usd)>,
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Label, Side};

    use super::*;

    fn symbol(name: &str) -> Symbol {
        Symbol::new(name).unwrap()
    }

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    fn worst(position: &str, buys: Option<&str>, sells: Option<&str>) -> Worst {
        let position = position.parse().unwrap();
        let mut worst = Worst {
            position,
            long_most: position,
            short_most: position,
        };
        for (side, open) in [(Side::Buy, buys), (Side::Sell, sells)] {
            if let Some(open) = open {
                worst = worst.with(side, open.parse().unwrap()).unwrap();
            }
        }
        worst
    }

    #[test]
    fn totals_follow_every_change_of_a_value() {
        let groups = [GroupPolicy {
            name: Label::new("pair").unwrap(),
            instruments: alloc::vec![symbol("A"), symbol("B")],
            exposure_max: usd("1"),
        }];
        let mut portfolio = Portfolio::new(&groups);
        let price = |text: &str| text.parse::<Price>().unwrap();
        portfolio.value(symbol("A"), worst("10", Some("5"), None), price("2"));
        portfolio.value(symbol("B"), worst("-4", None, Some("6")), price("3"));
        portfolio.value(symbol("C"), worst("1", None, None), price("100"));
        // A: 30 long at most, 20 else; B: -12 at most, -30 else; C: 100.
        let total = portfolio.total().unwrap();
        assert_eq!(total.gross, usd("160"));
        assert_eq!((total.long, total.short), (usd("118"), usd("90")));
        assert_eq!(total.net(), usd("118"));
        portfolio.value(symbol("A"), worst("0", None, None), price("2"));
        assert_eq!(portfolio.total().unwrap().gross, usd("130"));
        let with = portfolio
            .with(symbol("A"), worst("0", Some("7"), None), price("2"))
            .unwrap();
        assert_eq!(with.total.gross, usd("144"));
        assert_eq!(with.group, Some((0, usd("44"))));
        let alone = portfolio
            .with(symbol("C"), worst("2", None, None), price("100"))
            .unwrap();
        assert_eq!(alone.group, None);
        assert_eq!(portfolio.total().unwrap().gross, usd("130"), "only asked");
    }

    #[test]
    fn a_sum_beyond_the_range_is_not_known_until_everything_is_told_anew() {
        let mut portfolio = Portfolio::new(&[]);
        let most: Price = "1000000000000000".parse().unwrap();
        portfolio.value(symbol("A"), worst("10", None, None), most);
        assert_eq!(portfolio.total(), None);
        let flat = worst("0", None, None);
        assert!(portfolio.with(symbol("B"), flat, most).is_err());
        portfolio.clear();
        assert_eq!(portfolio.total(), Some(Total::default()));
    }
}
