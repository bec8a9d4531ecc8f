//! Whose commands are listened to, while operators come to be revoked.
//!
//! A revocation reaches a service on two ways that nobody puts in order: its bundle drops the
//! operator's keys, and the server drops the operator's subject. Neither may end a service that the
//! operators who remain could otherwise stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_domain::PrincipalName;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{TABLE, Variable};
use tokio::sync::watch;

use crate::nats_config::heard_as;

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Operators(Arc<watch::Sender<State>>);

#[derive(Default)]
struct State {
    /// Whose keys count at present.
    trusted: BTreeSet<PrincipalName>,
    /// Each of the subjects that operators were ever listened to on, with whose it is.
    subjects: BTreeMap<String, PrincipalName>,
    /// Whose subject the server denied on this connection.
    denied: BTreeSet<PrincipalName>,
}

impl Operators {
    pub(crate) fn new(trusted: impl Iterator<Item = PrincipalName>) -> Self {
        let operators = Self(Arc::new(watch::Sender::new(State::default())));
        operators.trust(trusted);
        operators
    }

    /// Goes on with those whose keys count now.
    pub(crate) fn trust(&self, trusted: impl Iterator<Item = PrincipalName>) {
        let trusted: BTreeSet<_> = trusted.collect();
        self.0.send_modify(|state| {
            for name in &trusted {
                let subjects = subjects_of(name).map(|subject| (subject, *name));
                state.subjects.extend(subjects);
            }
            state.trusted = trusted;
        });
    }

    pub(crate) fn trusted(&self) -> Vec<PrincipalName> {
        self.0.borrow().trusted.iter().copied().collect()
    }

    /// Whose keys count although the server lets nobody hear them.
    pub(crate) fn unheard(&self) -> Vec<PrincipalName> {
        let state = self.0.borrow();
        state.denied.intersection(&state.trusted).copied().collect()
    }

    /// Resolves when an operator's keys count no more.
    pub(crate) async fn revoked(self, name: PrincipalName) {
        let mut states = self.0.subscribe();
        // The sender lives as long as this does.
        let _ = states
            .wait_for(|state| !state.trusted.contains(&name))
            .await;
    }

    /// A new connection asks for everything again.
    pub(super) fn connected(&self) {
        self.0.send_modify(|state| state.denied.clear());
    }

    /// The operator whose subject was denied, if one can go on without: because the operator's keys
    /// count no more, or because others are still heard. Deaf to all of them it is a fault.
    pub(super) fn denied(&self, subject: &str) -> Option<PrincipalName> {
        let mut bearable = None;
        self.0.send_modify(|state| {
            let Some(name) = state.subjects.get(subject).copied() else {
                return;
            };
            state.denied.insert(name);
            let others_are_heard = state.trusted.difference(&state.denied).next().is_some();
            if others_are_heard {
                bearable = Some(name);
            }
        });
        bearable
    }
}

/// Every subject that an operator's commands are heard on.
pub(super) fn subjects_of(name: &PrincipalName) -> impl Iterator<Item = String> {
    let own = |row: &&&_| is_an_operators(row);
    let rows = TABLE.iter().filter(own);
    rows.filter_map(|row| Some(heard_as(row, &row.concrete(None)?, name)))
}

fn is_an_operators(row: &portcullis_wire::subjects::Row) -> bool {
    row.publisher == Role::Operator && row.variable == Variable::None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> PrincipalName {
        PrincipalName::new(&format!("operator-{id}")).unwrap_or_else(|_| unreachable!("a name"))
    }

    #[test]
    fn one_operator_less_is_bearable_and_none_at_all_is_not() {
        let operators = Operators::new([name("a"), name("b")].into_iter());
        assert_eq!(operators.denied("ops.kill.operator-c"), None);
        assert_eq!(operators.denied("evt.risk-guard.heartbeat"), None);
        assert_eq!(operators.denied("ops.kill.operator-a"), Some(name("a")));
        assert_eq!(operators.unheard(), [name("a")]);
        operators.trust([name("b")].into_iter());
        assert_eq!(operators.denied("ops.kill.operator-a"), Some(name("a")));
        assert_eq!(operators.unheard(), []);
        assert_eq!(operators.denied("ops.kill.operator-b"), None);
        // The last one cannot be revoked: who hears nobody is deaf, in either order.
        let operators = Operators::new([name("a"), name("b")].into_iter());
        assert_eq!(operators.denied("ops.kill.operator-a"), Some(name("a")));
        assert_eq!(operators.denied("ops.kill.operator-b"), None);
        operators.connected();
        assert_eq!(operators.denied("ops.kill.operator-b"), Some(name("b")));
    }
}
