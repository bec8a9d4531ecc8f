//! Who is on the bus.

use core::fmt;

use portcullis_domain::PrincipalName;

/// What somebody on the bus may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Turns proposals into orders.
    Brain,
    /// Permits.
    RiskGuard,
    /// Performs.
    Execution,
    /// Signs.
    Signer,
    /// Proves.
    Audit,
    /// Publishes books and trades.
    MarketData,
    /// Proposes; one principal for each, named `strategy-…`.
    Strategy,
    /// Commands; one principal for each person, named `operator-…`.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: &[Self] = &[
        Self::Brain,
        Self::RiskGuard,
        Self::Execution,
        Self::Signer,
        Self::Audit,
        Self::MarketData,
        Self::Strategy,
        Self::Operator,
    ];

    /// The services: roles that one principal has.
    pub const SERVICES: &[Self] = &[
        Self::Brain,
        Self::RiskGuard,
        Self::Execution,
        Self::Signer,
        Self::Audit,
        Self::MarketData,
    ];

    /// The principal's name, or the beginning of it where many have the role.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brain => "brain",
            Self::RiskGuard => "risk-guard",
            Self::Execution => "execution",
            Self::Signer => "signer",
            Self::Audit => "audit",
            Self::MarketData => "market-data",
            Self::Strategy => "strategy-",
            Self::Operator => "operator-",
        }
    }

    /// Whether many principals have this role.
    #[must_use]
    pub const fn is_plural(self) -> bool {
        matches!(self, Self::Strategy | Self::Operator)
    }

    /// The role of a principal, by its name; `None` for a name that nobody may have.
    #[must_use]
    pub fn of(principal: &PrincipalName) -> Option<Self> {
        let name = principal.as_str();
        Self::ALL.iter().copied().find(|role| {
            if role.is_plural() {
                name.strip_prefix(role.name())
                    .is_some_and(|rest| !rest.is_empty())
            } else {
                name == role.name()
            }
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A role as a type, so that publishing another's subject does not compile.
pub trait Principal: Send + Sync + 'static {
    /// The role.
    const ROLE: Role;
}

macro_rules! principals {
    ($($name:ident),*) => {$(
        /// The role of that name, as a type.
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Principal for $name {
            const ROLE: Role = Role::$name;
        }
    )*};
}

principals!(
    Brain, RiskGuard, Execution, Signer, Audit, MarketData, Strategy, Operator
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_role() {
        let cases = [
            ("brain", Some(Role::Brain)),
            ("risk-guard", Some(Role::RiskGuard)),
            ("strategy-sample", Some(Role::Strategy)),
            ("strategy-", None),
            ("operator-alice", Some(Role::Operator)),
            ("brains", None),
        ];
        for (name, role) in cases {
            assert_eq!(Role::of(&PrincipalName::new(name).unwrap()), role, "{name}");
        }
    }
}
