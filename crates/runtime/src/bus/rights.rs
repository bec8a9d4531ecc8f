//! Asks the server at the start what it lets this principal do, and compares it with the table.
//!
//! A right that is missing shows when it is needed, which may be the moment when an order must be
//! cancelled; one that is too many does not show at all. So either ends the start.
//!
//! The table does not name strategies and instruments, and no principal but the provisioner has
//! the whole roster. The names are taken from the identity's links and from what the server gave:
//! a name counts where a link has it or most of the lines that have a place for it do. What is
//! given for a name on single lines, or missing there, shows as a difference.
//!
//! An operator whom the server lets nobody hear, while others are heard, was revoked: the server may
//! know it before the bundle does. One more than the bundle trusts is a difference like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use portcullis_domain::{PrincipalName, StrategyId, Symbol};
use portcullis_wire::Realm;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Row, TABLE, Variable};
use serde::Deserialize;

use super::operators::subjects_of;
use super::{Bus, BusError, TIMEOUT};
use crate::Identity;
use crate::nats_config::{Account, OperatorId, Roster, USER_INFO, account};

/// Why what the server lets a principal do is not what the table says.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// There was no answer. Whoever may not even ask gets none.
    #[error("the bus did not tell {0} what it may do")]
    Silent(PrincipalName),
    /// The answer cannot be read.
    #[error("the bus told {principal} nothing of use: {problem}")]
    Unreadable {
        /// Who asked.
        principal: PrincipalName,
        /// What is wrong with it.
        problem: String,
    },
    /// One right or more is missing or too many.
    #[error("the rights of {principal} on the bus are not those of the table: {differences}")]
    Differ {
        /// Whose.
        principal: PrincipalName,
        /// In what.
        differences: Differences,
    },
}

impl RightsError {
    /// Whether trying again could not help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Differ { .. } => true,
            // It may have been lost with the connection.
            Self::Silent(_) => false,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        "generate the server's configuration anew with this version and this roster, and reload \
         the server; never add or remove a permission by hand"
            .into()
    }
}

/// What is missing and what is too many, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// What the table gives and the server does not, as `publish …` or `subscribe …`.
    pub missing: Vec<String>,
    /// What the server gives and the table does not.
    pub too_many: Vec<String>,
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("missing: {}", self.missing.join(", ")));
        }
        if !self.too_many.is_empty() {
            parts.push(format!("too many: {}", self.too_many.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<UserInfo>,
}

#[derive(Deserialize)]
struct UserInfo {
    account: String,
    #[serde(default)]
    permissions: Option<Permissions>,
}

#[derive(Default, Deserialize)]
struct Permissions {
    #[serde(default)]
    publish: Option<Half>,
    #[serde(default)]
    subscribe: Option<Half>,
    /// A right to answer whoever asks, which nobody has.
    #[serde(default)]
    responses: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Half {
    #[serde(default)]
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Option<Vec<String>>,
}

/// What may be published and subscribed to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rights {
    publish: BTreeSet<String>,
    subscribe: BTreeSet<String>,
}

/// Compares what the server gives a service, a strategy or an operator with the table.
pub(crate) async fn check(bus: &Bus, identity: &Identity) -> Result<(), RightsError> {
    let given = ask(bus).await?;
    let known = identity.ring.links();
    let known = known.flat_map(|link| [link.source, link.audience]);
    let operators = identity.trust.operators.keys().copied();
    let roster = names(
        identity.realm,
        &identity.name,
        &given,
        known.chain(operators),
    );
    compare(&identity.name, &given, &roster)
}

/// As [`check`], for whoever has the whole roster.
pub(crate) async fn check_against(bus: &Bus, roster: &Roster) -> Result<(), RightsError> {
    compare(&bus.principal(), &ask(bus).await?, roster)
}

async fn ask(bus: &Bus) -> Result<Rights, RightsError> {
    let principal = bus.principal();
    let inbox = bus.inbox();
    let asking = async {
        let mut answers = bus.subscribe(inbox.clone()).await?;
        let question =
            bus.client()
                .publish_with_reply(USER_INFO.to_owned(), inbox.clone(), Bytes::new());
        question.await.map_err(|cause| BusError::Send {
            subject: USER_INFO.into(),
            cause,
        })?;
        answers.next().await.ok_or(BusError::Disconnected)
    };
    let answer = match tokio::time::timeout(TIMEOUT, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the bus was not asked for rights");
            return Err(RightsError::Silent(principal));
        }
        Err(_) => return Err(RightsError::Silent(principal)),
    };
    read(principal, &answer.payload)
}

fn read(principal: PrincipalName, payload: &[u8]) -> Result<Rights, RightsError> {
    let unreadable = |problem| RightsError::Unreadable { principal, problem };
    let answer: Answer =
        serde_json::from_slice(payload).map_err(|error| unreadable(error.to_string()))?;
    let info = answer
        .data
        .ok_or_else(|| unreadable("it names nobody".into()))?;
    if info.account != account(&principal) && !is_provisioner_in_store(&principal, &info) {
        return Err(unreadable(format!("it is in account {}", info.account)));
    }
    let permissions = info.permissions.unwrap_or_default();
    let mut given = Rights {
        publish: half(permissions.publish),
        subscribe: half(permissions.subscribe),
    };
    if permissions.responses.is_some() {
        given.publish.insert("answers to anybody".into());
    }
    Ok(given)
}

fn is_provisioner_in_store(principal: &PrincipalName, info: &UserInfo) -> bool {
    principal.as_str() == crate::nats_config::PROVISIONER && info.account == "STORE"
}

/// What one half allows. Without a list the server allows everything, whatever it denies: the table
/// gives everybody something, and denies by leaving out.
fn half(half: Option<Half>) -> BTreeSet<String> {
    let Half { allow, deny } = half.unwrap_or_default();
    let mut allowed: BTreeSet<_> = allow.unwrap_or_default().into_iter().collect();
    let denied = deny.unwrap_or_default();
    if allowed.is_empty() && !denied.iter().any(|subject| subject == ">") {
        allowed.insert(">".into());
    }
    allowed.extend(denied.iter().map(|subject| format!("all but {subject}")));
    allowed
}

/// The part of the roster that this principal has to do with.
fn names(
    realm: Realm,
    principal: &PrincipalName,
    given: &Rights,
    known: impl Iterator<Item = PrincipalName>,
) -> Roster {
    let (mut strategies, mut operators) = (BTreeSet::new(), BTreeSet::new());
    let mut known: BTreeSet<_> = known.chain([*principal]).collect();
    for revoked in revoked(principal, given, &known) {
        tracing::warn!(operator = %revoked, "the bus lets nobody hear this operator");
        known.remove(&revoked);
    }
    for name in &known {
        match Role::of(name) {
            Some(Role::Strategy) => {
                let id = name.as_str().strip_prefix(Role::Strategy.name());
                strategies.extend(id.and_then(|id| StrategyId::new(id).ok()));
            }
            Some(Role::Operator) => {
                let id = name.as_str().strip_prefix(Role::Operator.name());
                operators.extend(id.and_then(|id| OperatorId::new(id).ok()));
            }
            Some(
                Role::Brain
                | Role::RiskGuard
                | Role::Execution
                | Role::Signer
                | Role::Audit
                | Role::MarketData,
            )
            | None => {}
        }
    }
    if Role::of(principal) != Some(Role::Strategy) {
        let found = found(principal, given, Variable::Strategy);
        strategies.extend(found.iter().filter_map(|id| StrategyId::new(id).ok()));
    }
    let symbols = found(principal, given, Variable::Symbol);
    let symbols = symbols.iter().filter_map(|name| Symbol::new(name).ok());
    Roster::part(
        realm,
        strategies.into_iter().collect(),
        operators.into_iter().collect(),
        symbols.collect(),
    )
}

/// The operators whom the server lets this principal not hear, if it lets it hear others.
fn revoked(
    principal: &PrincipalName,
    given: &Rights,
    known: &BTreeSet<PrincipalName>,
) -> Vec<PrincipalName> {
    let others = known.iter().filter(|name| *name != principal);
    let operators = others.filter(|name| Role::of(name) == Some(Role::Operator));
    let (heard, unheard): (Vec<_>, Vec<_>) = operators
        .copied()
        .partition(|name| subjects_of(name).any(|subject| given.subscribe.contains(&subject)));
    if heard.is_empty() { heard } else { unheard }
}

/// The names at a variable place that most of this principal's lines have.
fn found(principal: &PrincipalName, given: &Rights, variable: Variable) -> Vec<String> {
    let role = Role::of(principal);
    let rows = TABLE.iter().copied().filter(|row| row.variable == variable);
    let mut lines = 0_usize;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let publishes = role == Some(row.publisher);
        let reads = role.is_some_and(|role| row.subscribers.contains(&role));
        for (has, subjects) in [(publishes, &given.publish), (reads, &given.subscribe)] {
            if !has {
                continue;
            }
            lines = lines.saturating_add(1);
            for name in subjects.iter().filter_map(|subject| row.name_in(subject)) {
                let count = counts.entry(name).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    let most = counts
        .into_iter()
        .filter(|(_, count)| count.saturating_mul(2) > lines);
    most.map(|(name, _)| name.to_owned()).collect()
}

fn compare(principal: &PrincipalName, given: &Rights, roster: &Roster) -> Result<(), RightsError> {
    let own = Account::of_any(principal, roster);
    let mut differences = Differences::default();
    for (half, wanted, given) in [
        ("publish", own.publish, &given.publish),
        ("subscribe", own.subscribe, &given.subscribe),
    ] {
        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        let missing = wanted.difference(given);
        differences
            .missing
            .extend(missing.map(|subject| format!("{half} {subject}")));
        let too_many = given.difference(&wanted);
        differences
            .too_many
            .extend(too_many.map(|subject| format!("{half} {subject}")));
    }
    // A line of which there is nothing at all has no names to miss.
    for row in TABLE.iter().copied() {
        differences
            .missing
            .extend(empty_line(principal, row, given, roster));
    }
    if differences == Differences::default() {
        return Ok(());
    }
    Err(RightsError::Differ {
        principal: *principal,
        differences,
    })
}

fn empty_line(
    principal: &PrincipalName,
    row: &'static Row,
    given: &Rights,
    roster: &Roster,
) -> Option<String> {
    let empty = match row.variable {
        Variable::None => false,
        Variable::Strategy => roster.strategies().is_empty(),
        Variable::Symbol => roster.symbols().is_empty(),
    };
    let role = Role::of(principal)?;
    let missing = |half| Some(format!("{half} {}", row.pattern));
    if empty && role == row.publisher && !given.publish.iter().any(|s| row.matches(s)) {
        return missing("publish");
    }
    let reads = row.subscribers.contains(&role);
    if empty && reads && !given.subscribe.iter().any(|s| row.matches(s)) {
        return missing("subscribe");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats_config::{development_roster, principals};

    fn given(name: &PrincipalName, roster: &Roster) -> Rights {
        let own = Account::of(name, roster);
        Rights {
            publish: own.publish.into_iter().collect(),
            subscribe: own.subscribe.into_iter().collect(),
        }
    }

    /// What a principal knows of others: here, the operators alone.
    fn judged(name: &PrincipalName, given: &Rights) -> Result<(), RightsError> {
        let known: Vec<_> = development_roster().operator_principals().collect();
        let realm = development_roster().realm();
        compare(name, given, &names(realm, name, given, known.into_iter()))
    }

    #[test]
    fn what_is_rendered_is_what_is_expected_for_everybody() {
        let roster = development_roster();
        for name in principals(&roster) {
            judged(&name, &given(&name, &roster)).unwrap();
        }
    }

    /// One right more is always seen; so is one less, with two exceptions. Nobody can tell a symbol
    /// that brain's book lacks from one that is not traded: brain hears of it when it listens. And who
    /// hears operators on one subject alone cannot tell one whom it does not hear from one who was
    /// revoked.
    #[test]
    fn every_single_right_that_is_missing_or_too_many_is_seen() {
        let roster = development_roster();
        let (mut seen, mut unseen) = (0, Vec::new());
        for name in principals(&roster) {
            let all = given(&name, &roster);
            for (half, subject) in all
                .publish
                .iter()
                .map(|subject| ("publish", subject.clone()))
                .chain(all.subscribe.iter().map(|s| ("subscribe", s.clone())))
            {
                let mut less = given(&name, &roster);
                match half {
                    "publish" => less.publish.remove(&subject),
                    _ => less.subscribe.remove(&subject),
                };
                match judged(&name, &less) {
                    Err(_) => seen += 1,
                    Ok(()) => unseen.push(format!("{name} {half} {subject}")),
                }
            }
            for extra in [
                ">",
                "cmd.execution.execute.x",
                "$JS.API.>",
                "evt.execution.fill.mallory",
            ] {
                let mut more = given(&name, &roster);
                more.publish.insert(extra.into());
                let mut hears = given(&name, &roster);
                hears.subscribe.insert(extra.into());
                for rights in [more, hears] {
                    let error = judged(&name, &rights).unwrap_err().to_string();
                    assert!(
                        error.contains("too many") && error.contains(extra),
                        "{error}"
                    );
                }
            }
        }
        assert!(seen > 100, "{seen}");
        let mut allowed: Vec<_> = ["BTCUSDT", "XRPUSDT"]
            .map(|symbol| format!("brain subscribe data.bybit.{symbol}.book"))
            .into();
        for service in ["execution", "signer"] {
            let lane = |name| format!("{service} subscribe ops.kill.{name}");
            allowed.extend(roster.operator_principals().map(lane));
        }
        assert_eq!(unseen, allowed, "what no principal can see");
    }

    /// The server may drop an operator before the bundle does, but neither all of them nor add one.
    #[test]
    fn one_operator_less_is_no_difference_and_none_or_one_more_is() {
        let of = |operators: &[&str]| {
            let dev = development_roster();
            let operators = operators.iter().map(|id| OperatorId::new(id).unwrap());
            let (strategies, symbols) = (dev.strategies().to_vec(), dev.symbols().to_vec());
            Roster::new(dev.realm(), strategies, operators.collect(), symbols).unwrap()
        };
        let both = of(&["alice", "bob"]);
        for name in principals(&both) {
            let hears = |operators: &[&str]| {
                let given = given(&name, &of(operators));
                let known = both.operator_principals();
                compare(&name, &given, &names(both.realm(), &name, &given, known))
            };
            if Role::of(&name) == Some(Role::Operator) {
                continue;
            }
            hears(&["alice", "bob"]).unwrap();
            hears(&["bob"]).unwrap();
            let listens = given(&name, &both)
                .subscribe
                .contains("ops.kill.operator-bob");
            let outcome = hears(&["alice", "bob", "carol"]);
            assert_eq!(outcome.is_err(), listens, "{name}: {outcome:?}");
            let outcome = hears(&["carol"]);
            assert_eq!(outcome.is_err(), listens, "{name}: {outcome:?}");
        }
    }

    #[test]
    fn what_the_server_says_is_read_strictly() {
        let brain = PrincipalName::new("brain").unwrap();
        let said = |permissions: &str| {
            let text = format!(r#"{{"data":{{"user":"U","account":"BRAIN"{permissions}}}}}"#);
            read(brain, text.as_bytes()).unwrap()
        };
        assert!(said("").publish.contains(">"), "no permissions are all");
        let both = said(
            r#","permissions":{"publish":{"allow":["a"],"deny":["b"]},"subscribe":{"deny":[">"]},
               "responses":{"max":1}}"#,
        );
        let publish = ["a", "all but b", "answers to anybody"].map(String::from);
        assert_eq!(both.publish, BTreeSet::from(publish));
        assert!(!both.subscribe.contains(">"));
        let other = read(brain, br#"{"data":{"user":"U","account":"AUDIT"}}"#).unwrap_err();
        assert!(other.to_string().contains("account AUDIT"), "{other}");
        assert!(read(brain, b"{}").is_err() && read(brain, b"-").is_err());
    }
}
