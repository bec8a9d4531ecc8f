//! What somebody could do with the stolen bundle of a principal: read off the table of subjects, from
//! which the bus's permissions and the link keys come too.

use portcullis_domain::PrincipalName;
use portcullis_runtime::nats_config::{MONITOR, PROVISIONER};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Protection, Row, TABLE, Variable};
use serde_json::{Value, json};

/// What a principal may do.
#[derive(Debug, PartialEq, Eq)]
pub struct Powers {
    /// The subjects that it publishes, with the kind of message.
    pub publishes: Vec<Power>,
    /// The subjects that it reads.
    pub reads: Vec<Power>,
    /// The same in one sentence.
    pub in_short: &'static str,
}

/// One subject.
#[derive(Debug, PartialEq, Eq)]
pub struct Power {
    /// With `*` where any instrument or any strategy stands.
    pub subject: String,
    /// The kind of message.
    pub kind: &'static str,
    /// What else is to be known about it.
    pub remark: &'static str,
}

impl Powers {
    /// Those of a principal.
    #[must_use]
    pub fn of(name: &PrincipalName) -> Self {
        let Some(role) = Role::of(name) else {
            return Self {
                publishes: Vec::new(),
                reads: Vec::new(),
                in_short: beside_the_table(name),
            };
        };
        let chosen = |of: &dyn Fn(&Row) -> Option<&'static str>| {
            let power = |row: &&Row| of(row).map(|remark| Power::new(row, role, name, remark));
            TABLE
                .iter()
                .copied()
                .filter_map(|row| power(&row))
                .collect()
        };
        Self {
            publishes: chosen(&|row| (row.publisher == role).then_some("")),
            reads: chosen(&|row| {
                if row.subscribers.contains(&role) {
                    Some(match row.protection {
                        Protection::Sealed => "",
                        Protection::Confidential => "encrypted for its readers",
                        Protection::Signed => "signed with Ed25519 too",
                    })
                } else {
                    let enclosed = row.enclosed_for.contains(&role);
                    enclosed.then_some("inside another message")
                }
            }),
            in_short: of_role(role),
        }
    }

    /// For scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        let list = |powers: &[Power]| -> Vec<Value> {
            let entry = |power: &Power| json!({ "subject": power.subject, "kind": power.kind, "remark": power.remark });
            powers.iter().map(entry).collect()
        };
        json!({
            "in_short": self.in_short,
            "publishes": list(&self.publishes),
            "reads": list(&self.reads),
        })
    }
}

impl Power {
    fn new(row: &Row, role: Role, name: &PrincipalName, remark: &'static str) -> Self {
        let own = name.as_str().strip_prefix(role.name());
        let subject = match (row.variable, role, own) {
            // Of all strategies only that one has the subject.
            (Variable::Strategy, Role::Strategy, Some(own)) => row.pattern.replacen('*', own, 1),
            _ => row.pattern.to_owned(),
        };
        Self {
            subject,
            kind: row.kind,
            remark,
        }
    }
}

const fn of_role(role: Role) -> &'static str {
    match role {
        Role::Brain => {
            "order anything that risk-guard permits, within its limits and no order without it"
        }
        Role::RiskGuard => {
            "permit what brain ordered, up to the limits compiled into execution; it makes no order"
        }
        Role::Execution => {
            "perform, withhold or misreport what was permitted; it has no key of the venue and makes \
             no order"
        }
        Role::Signer => {
            "sign anything at the venue: its bundle opens the venue's API keys. Revoke those at the \
             venue first"
        }
        Role::Audit => {
            "write a record from here on that looks genuine, and receipts that let orders go; the \
             entries that others hold stay proven"
        }
        Role::MarketData => {
            "show false books and trades; collars around them and the venue itself bound the harm"
        }
        Role::Strategy => "propose orders within this strategy's budget, and read its own reports",
        Role::Operator => {
            "stop everything, halt and tighten alone, loosen what another operator approves, and read \
             every fact, position and order"
        }
    }
}

fn beside_the_table(name: &PrincipalName) -> &'static str {
    match name.as_str() {
        PROVISIONER => {
            "create the stream of facts where there is none; it neither changes nor reads it"
        }
        MONITOR => "ask the server how it is; it reads and sends no message of anybody",
        _ => "nothing: the table of subjects does not know this name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Powers {
        Powers::of(&PrincipalName::new(name).unwrap())
    }

    fn subjects(powers: &[Power]) -> Vec<&str> {
        powers.iter().map(|power| power.subject.as_str()).collect()
    }

    #[test]
    fn a_strategy_has_its_own_subjects_and_no_other_strategys() {
        let powers = of("strategy-trader");
        assert_eq!(subjects(&powers.publishes), ["cmd.brain.propose.trader"]);
        let reads = subjects(&powers.reads);
        assert!(reads.contains(&"evt.execution.fill.trader"), "{reads:?}");
        assert!(reads.contains(&"data.bybit.*.book"), "{reads:?}");
        assert!(
            !reads.iter().any(|subject| subject.contains("status")),
            "{reads:?}"
        );
    }

    #[test]
    fn what_is_enclosed_or_encrypted_is_said() {
        let of_signer = of("signer");
        let order = of_signer.reads.iter().find(|power| power.kind == "order");
        assert_eq!(order.unwrap().remark, "inside another message");
        let of_brain = of("brain");
        let status = of_brain
            .reads
            .iter()
            .find(|p| p.subject == "evt.execution.status");
        assert_eq!(status.unwrap().remark, "encrypted for its readers");
    }

    #[test]
    fn who_has_no_part_in_the_table_can_do_nothing_there() {
        for name in ["provisioner", "monitor", "nobody"] {
            let powers = of(name);
            assert!(
                powers.publishes.is_empty() && powers.reads.is_empty(),
                "{name}"
            );
            assert!(!powers.in_short.is_empty());
        }
    }
}
