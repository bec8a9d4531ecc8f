//! What one account shares and what its one principal may do, from the table of subjects.

use portcullis_domain::PrincipalName;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Delivery, TABLE};

use super::{
    ECHO, FACTS_CONSUMER, PROVISIONER, Roster, STORE_API, USER_INFO, account, facts_streams,
    heard_as, principals, receives, subjects_of,
};

/// An account. Its lists are in the order of the table.
#[derive(Default)]
pub(crate) struct Account {
    /// Where its principal may publish.
    pub(crate) publish: Vec<String>,
    /// What its principal may subscribe to.
    pub(crate) subscribe: Vec<String>,
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<String>,
}

impl Account {
    /// The account of anybody who has a part in the table.
    pub(crate) fn of(name: &PrincipalName, roster: &Roster) -> Self {
        let everybody = principals(roster);
        let mut own = Self::default();
        for row in TABLE {
            for subject in subjects_of(row, roster) {
                if row.may_publish(name, &subject) {
                    let readers: Vec<_> = everybody
                        .iter()
                        .filter(|reader| receives(row, reader, &subject))
                        .map(account)
                        .collect();
                    let readers = readers.join(", ");
                    own.exports.push(format!(
                        "{{ stream: \"{subject}\", accounts: [{readers}] }}"
                    ));
                    if row.delivery == Delivery::Stream {
                        own.imports.push(format!(
                            "{{ service: {{ account: STORE, subject: \"{subject}\" }} }}"
                        ));
                    }
                    own.publish.push(subject.clone());
                }
                if receives(row, name, &subject) {
                    for publisher in everybody
                        .iter()
                        .filter(|other| row.may_publish(other, &subject))
                    {
                        let there = account(publisher);
                        let here = heard_as(row, &subject, publisher);
                        let import =
                            format!("{{ stream: {{ account: {there}, subject: \"{subject}\" }}");
                        own.imports.push(if here == subject {
                            format!("{import} }}")
                        } else {
                            format!("{import}, to: \"{here}\" }}")
                        });
                        own.subscribe.push(here);
                    }
                }
            }
        }
        own.subscribe.dedup();
        own.add_what_everybody_has(name);
        if Role::of(name) == Some(Role::Audit) {
            own.add_consumers(roster);
        }
        own
    }

    /// The provisioner's: it creates the streams and their consumers, and reads what they are.
    pub(crate) fn of_provisioner(name: &PrincipalName, roster: &Roster) -> Self {
        let mut own = Self::default();
        own.publish.push("$JS.API.INFO".into());
        for stream in facts_streams(roster) {
            let stream = stream.name;
            for call in ["STREAM.INFO", "STREAM.CREATE"] {
                own.publish.push(format!("$JS.API.{call}.{stream}"));
            }
            for call in ["CONSUMER.INFO", "CONSUMER.CREATE"] {
                own.publish
                    .push(format!("$JS.API.{call}.{stream}.{FACTS_CONSUMER}"));
            }
        }
        own.add_what_everybody_has(name);
        own
    }

    /// The account of a principal, whichever it is.
    pub(crate) fn of_any(name: &PrincipalName, roster: &Roster) -> Self {
        if name.as_str() == PROVISIONER {
            Self::of_provisioner(name, roster)
        } else {
            Self::of(name, roster)
        }
    }

    /// A subject to oneself, the question of what one may do, and a place for the answer.
    fn add_what_everybody_has(&mut self, name: &PrincipalName) {
        self.publish.push(format!("{ECHO}.{name}"));
        self.publish.push(USER_INFO.into());
        self.subscribe.push(format!("{ECHO}.{name}"));
        self.subscribe.push(format!("_INBOX.{name}.>"));
    }

    fn add_consumers(&mut self, roster: &Roster) {
        for stream in facts_streams(roster) {
            for (there, here) in consumer_interface(&stream.name) {
                self.imports.push(if there == here {
                    format!("{{ service: {{ account: STORE, subject: \"{there}\" }} }}")
                } else {
                    format!(
                        "{{ service: {{ account: STORE, subject: \"{there}\" }}, to: \"{here}\" }}"
                    )
                });
                self.publish.push(here);
            }
        }
    }
}

/// What reading one stream needs: the subject in STORE and what the reader calls it. The two forms
/// of an acknowledgement are those of one server and of a cluster; stream and consumer are fixed in
/// both.
pub(super) fn consumer_interface(stream: &str) -> [(String, String); 4] {
    let consumer = format!("{stream}.{FACTS_CONSUMER}");
    let api = |call: &str| {
        (
            format!("$JS.API.CONSUMER.{call}.{consumer}"),
            format!("{STORE_API}.CONSUMER.{call}.{consumer}"),
        )
    };
    let same = |subject: String| (subject.clone(), subject);
    [
        api("INFO"),
        api("MSG.NEXT"),
        same(format!("$JS.ACK.{consumer}.>")),
        same(format!("$JS.ACK.*.*.{consumer}.>")),
    ]
}
