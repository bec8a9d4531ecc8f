//! Who and what a deployment consists of.

use portcullis_domain::{Label, PrincipalName, StrategyId, Symbol};
use portcullis_wire::Realm;
use portcullis_wire::principal::Role;

/// The name of a person; with `operator-` before it, a principal.
pub type OperatorId = Label<20>;

/// The strategies, operators and instruments of a deployment. Services are the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    realm: Realm,
    strategies: Vec<StrategyId>,
    operators: Vec<OperatorId>,
    symbols: Vec<Symbol>,
}

/// Why a roster is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The name would not be one place of a subject, or not one account.
    #[error("{0:?} may only have lower-case letters, digits and single hyphens between them")]
    Name(String),
    /// The symbol would not be one place of a subject.
    #[error("{0:?} may only have letters, digits, hyphens and underscores")]
    Symbol(String),
    /// Listed twice.
    #[error("{0} is listed twice")]
    Twice(String),
    /// Nothing could be traded, or nobody could stop it.
    #[error("there must be at least one {0}")]
    None(&'static str),
}

impl Roster {
    /// Checks and orders the names.
    ///
    /// # Errors
    /// [`RosterError`] for a name that cannot be a place in a subject and an account, one that is
    /// listed twice, or an empty list.
    pub fn new(
        realm: Realm,
        mut strategies: Vec<StrategyId>,
        mut operators: Vec<OperatorId>,
        mut symbols: Vec<Symbol>,
    ) -> Result<Self, RosterError> {
        strategies.sort();
        operators.sort();
        symbols.sort();
        for name in strategies
            .iter()
            .map(Label::as_str)
            .chain(operators.iter().map(Label::as_str))
        {
            if !is_plain(name) {
                return Err(RosterError::Name(name.into()));
            }
        }
        if let Some(symbol) = symbols.iter().find(|symbol| symbol.as_str().contains('.')) {
            return Err(RosterError::Symbol(symbol.as_str().into()));
        }
        unique("strategy", &strategies)?;
        unique("operator", &operators)?;
        unique("symbol", &symbols)?;
        Ok(Self {
            realm,
            strategies,
            operators,
            symbols,
        })
    }

    /// The part of a roster that one principal has to do with, in order; it may have none of
    /// something.
    pub(crate) fn part(
        realm: Realm,
        strategies: Vec<StrategyId>,
        operators: Vec<OperatorId>,
        symbols: Vec<Symbol>,
    ) -> Self {
        Self {
            realm,
            strategies,
            operators,
            symbols,
        }
    }

    /// The deployment's name.
    #[must_use]
    pub const fn realm(&self) -> Realm {
        self.realm
    }

    /// The strategies, in order.
    #[must_use]
    pub fn strategies(&self) -> &[StrategyId] {
        &self.strategies
    }

    /// The operators, in order.
    #[must_use]
    pub fn operators(&self) -> &[OperatorId] {
        &self.operators
    }

    /// The instruments, in order.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The strategies as principals.
    pub fn strategy_principals(&self) -> impl Iterator<Item = PrincipalName> {
        self.strategies
            .iter()
            .filter_map(|id| principal(Role::Strategy, id.as_str()))
    }

    /// The operators as principals.
    pub fn operator_principals(&self) -> impl Iterator<Item = PrincipalName> {
        self.operators
            .iter()
            .filter_map(|id| principal(Role::Operator, id.as_str()))
    }
}

fn principal(role: Role, id: &str) -> Option<PrincipalName> {
    // At most 9 and 20 characters.
    PrincipalName::new(&format!("{}{id}", role.name())).ok()
}

/// Two names that differ then have accounts that differ, because only hyphens change there.
fn is_plain(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.split('-').all(plain)
}

fn unique<const N: usize>(what: &'static str, ordered: &[Label<N>]) -> Result<(), RosterError> {
    if ordered.is_empty() {
        return Err(RosterError::None(what));
    }
    match ordered.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(RosterError::Twice(
            pair.first().map(Label::to_string).unwrap_or_default(),
        )),
        None => Ok(()),
    }
}

/// The roster of a developer's machine: two strategies, two operators so that one can approve what the
/// other asks for, two instruments.
#[must_use]
pub fn development_roster() -> Roster {
    fn label<const N: usize>(text: &str) -> Label<N> {
        Label::new(text).unwrap_or_else(|_| unreachable!("{text} is a name"))
    }
    Roster {
        realm: label("dev"),
        strategies: vec![label("sample"), label("trader")],
        operators: vec![label("dev"), label("second")],
        symbols: vec![label("BTCUSDT"), label("XRPUSDT")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(strategy: &str, symbol: &str) -> Result<Roster, RosterError> {
        Roster::new(
            Realm::new("dev").unwrap(),
            vec![StrategyId::new(strategy).unwrap()],
            vec![OperatorId::new("alice").unwrap()],
            vec![Symbol::new(symbol).unwrap()],
        )
    }

    #[test]
    fn refuses_names_that_two_accounts_could_share_or_that_add_a_place() {
        assert!(roster("mean-reversion", "BTCUSDT").is_ok());
        for name in ["a_b", "a.b", "A", "a--b", "-a", "a-"] {
            assert_eq!(roster(name, "BTCUSDT"), Err(RosterError::Name(name.into())));
        }
        assert_eq!(
            roster("a", "BTC.USDT"),
            Err(RosterError::Symbol("BTC.USDT".into()))
        );
    }

    #[test]
    fn refuses_doubles_and_nothing() {
        let twice = vec![StrategyId::new("a").unwrap(), StrategyId::new("a").unwrap()];
        let (operators, symbols) = (
            vec![OperatorId::new("x").unwrap()],
            vec![Symbol::new("S").unwrap()],
        );
        let realm = Realm::new("dev").unwrap();
        assert_eq!(
            Roster::new(realm, twice, operators.clone(), symbols.clone()),
            Err(RosterError::Twice("a".into()))
        );
        assert_eq!(
            Roster::new(realm, Vec::new(), operators, symbols),
            Err(RosterError::None("strategy"))
        );
    }

    #[test]
    fn the_development_roster_would_pass_its_own_checks() {
        let dev = development_roster();
        let again = Roster::new(
            dev.realm(),
            dev.strategies().to_vec(),
            dev.operators().to_vec(),
            dev.symbols().to_vec(),
        );
        assert_eq!(again, Ok(dev));
    }
}
