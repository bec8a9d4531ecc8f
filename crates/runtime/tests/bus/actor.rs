//! One principal at one raw connection, which shows after each denial that it still works.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{denied, until_message};
use crate::raw::{Answer, RawConnection};
use portcullis_domain::PrincipalName;
use portcullis_testkit::bus::BusServer;
use serde_json::Value;

/// One principal with its one connection.
pub struct Actor {
    pub name: PrincipalName,
    pub raw: RawConnection,
}

impl Actor {
    pub fn connect(server: &BusServer, name: &str) -> Self {
        Self {
            name: PrincipalName::new(name).unwrap(),
            raw: RawConnection::connect(server, name),
        }
    }

    /// Exactly what may not be done is denied, and what is sent to oneself still comes.
    pub fn expect(&mut self, half: &str, attempts: &BTreeMap<String, bool>) {
        let lines = attempts
            .keys()
            .enumerate()
            .map(|(sid, subject)| match half {
                "Publish" => format!("PUB {subject} 0\r\n\r\n"),
                _ => format!("SUB {subject} {}\r\n", sid + 100),
            });
        let answer = self.raw.say(&lines.collect::<String>());
        let expected = attempts.iter().filter(|(_, may)| !**may);
        let expected: BTreeSet<String> = expected.map(|(subject, _)| subject.clone()).collect();
        let name = self.name;
        assert_eq!(denied(&answer.errors, half), expected, "{name} {half}");
        assert_eq!(answer.errors.len(), expected.len(), "{name} {half}");
        self.still_works();
    }

    pub fn still_works(&mut self) {
        let name = self.name;
        let lines =
            format!("UNSUB 9\r\nSUB echo.{name} 9\r\nPUB echo.{name} 4\r\nmark\r\nUNSUB 9\r\n");
        let answer = self.raw.say(&lines);
        assert_eq!(answer.errors, Vec::<String>::new(), "{name}");
        let came = answer
            .messages
            .iter()
            .any(|message| message.payload == b"mark");
        assert!(came, "{name} does not hear itself: {answer:?}");
    }

    /// What the server answers, in this principal's own inbox.
    pub fn ask(&mut self, subject: &str, headers: &str, body: &str) -> Value {
        let inbox = format!("_INBOX.{}.answer", self.name);
        self.raw.say(&format!("SUB {inbox} 8\r\n"));
        let mut answer = self.send(subject, &inbox, headers, body);
        assert_eq!(answer.errors, Vec::<String>::new(), "{subject}");
        let message = answer.messages.pop();
        let message = message.unwrap_or_else(|| until_message(&mut self.raw));
        self.raw.say("UNSUB 8\r\n");
        serde_json::from_slice(&message.payload).unwrap()
    }

    pub fn send(&mut self, subject: &str, reply: &str, headers: &str, body: &str) -> Answer {
        if headers.is_empty() {
            return self.raw.publish(subject, reply, body);
        }
        let head = format!("NATS/1.0\r\n{headers}\r\n\r\n");
        let (head_length, length) = (head.len(), head.len() + body.len());
        self.raw.say(&format!(
            "HPUB {subject} {reply} {head_length} {length}\r\n{head}{body}\r\n"
        ))
    }
}
