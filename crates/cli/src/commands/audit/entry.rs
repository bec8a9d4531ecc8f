//! One entry of the audit log in words.

use audit::verify::{OwnedEntry, read_unsealed};
use audit_core::{BusClient, BusDenial, BusEvent, BusFollowing, Own};
use portcullis_domain::Fill;
use portcullis_wire::messages::{
    Decision, ExecutionReport, Message, Notice, Outcome, PermitTaken, SignatureRecord, Verdict,
};
use portcullis_wire::subjects::{
    DECISION, FILL, PERMIT_TAKEN, REPORT, Row, SIGNED, Subject, VERDICT,
};

use crate::view::{cause_words, halt_words, kill_words, outcome_words, short};

/// What an entry says, on one line.
pub fn describe(entry: &OwnedEntry) -> String {
    if let Some(own) = entry.own() {
        return describe_own(&own);
    }
    let text = if let Some(decision) = read(entry, &DECISION) {
        let Decision { order, outcome, .. } = decision;
        format!("{} {}", short(order), answer(outcome, "ordered"))
    } else if let Some(verdict) = read(entry, &VERDICT) {
        let Verdict { order, outcome, .. } = verdict;
        format!("{} {}", short(order), answer(outcome, "permitted"))
    } else if let Some(PermitTaken { order, .. }) = read(entry, &PERMIT_TAKEN) {
        format!("{} permit taken", short(order))
    } else if let Some(report) = read(entry, &REPORT) {
        let ExecutionReport {
            order,
            status,
            reason,
            detail,
            ..
        } = report;
        let reason = reason.map_or_else(String::new, |reason| format!(" {reason}"));
        format!("{} {status}{reason} {detail}", short(order))
    } else if let Some(fill) = read(entry, &FILL) {
        let Fill {
            order,
            side,
            quantity,
            symbol,
            price,
            fee,
            ..
        } = fill;
        format!(
            "{} {side} {quantity} {symbol} at {price}, fee {fee}",
            short(order)
        )
    } else if let Some(record) = read(entry, &SIGNED) {
        let SignatureRecord {
            order,
            action,
            outcome,
            ..
        } = record;
        let order = order.map_or_else(|| "-".to_owned(), short);
        format!("{order} {action} {}", answer(outcome, "signed"))
    } else if let Ok((_, notice)) = read_unsealed::<Notice>(&entry.content) {
        describe_notice(&notice)
    } else {
        format!("{} bytes", entry.content.len())
    };
    text.trim_end().to_owned()
}

/// The message of an entry that came on a subject.
fn read<P, M: Message>(entry: &OwnedEntry, subject: &Subject<P, M>) -> Option<M> {
    let row: &Row = subject.row;
    if !row.matches(&entry.subject) {
        return None;
    }
    read_unsealed(&entry.content)
        .ok()
        .map(|(_, message)| message)
}

fn answer(outcome: Outcome, yes: &str) -> String {
    match outcome {
        Outcome::Passed => yes.to_owned(),
        Outcome::Refused(reason) => format!("refused: {reason}"),
    }
}

fn describe_own(own: &Own) -> String {
    match own {
        Own::Started { version, cut: 0 } => format!("audit started, version {version}"),
        Own::Started { version, cut } => {
            format!("audit started, version {version}; cut off {cut} bytes of an unfinished write")
        }
        Own::Key { key } => format!("audit signs its checkpoints with key {key}"),
        Own::Gap {
            source,
            boot,
            from,
            to,
        } => {
            format!("facts {from} to {to} of {source} (start {boot}) are missing")
        }
        Own::Silence { source, boot, .. } => {
            format!("{source} (start {boot}) says nothing any more, nor that it ends")
        }
        Own::Violation { subject, code, .. } => format!("refused a message: {code} on {subject}"),
        Own::Suppressed { count, .. } => format!("{count} more refused messages"),
        Own::BusDenied {
            who,
            what,
            subject,
            from,
            ..
        } => format!(
            "the bus denied {} ({from}) {}",
            bus_client(who),
            bus_denial(*what, subject.as_str())
        ),
        Own::BusSuppressed { count, .. } => format!("{count} more denials of the bus"),
        Own::BusServer { event, config, .. } => {
            let config =
                config.map_or_else(String::new, |hash| format!(" with configuration {hash}"));
            match event {
                BusEvent::Started => format!("the bus started{config}"),
                BusEvent::Reloaded => format!("the bus went on{config}"),
                BusEvent::ReloadRefused => "the bus refused a configuration".to_owned(),
                BusEvent::Stopped => "the bus was asked to end".to_owned(),
            }
        }
        Own::BusLog { following, .. } => match following {
            BusFollowing::Begins => "from here on the log of the bus is followed",
            BusFollowing::NextFile => "the bus began another file of its log",
            BusFollowing::Lost => "lines of the bus's log are gone before they were read",
        }
        .to_owned(),
    }
}

fn bus_client(who: &BusClient) -> String {
    match who {
        BusClient::Principal { name, .. } => name.to_string(),
        BusClient::Claimed { nkey } => format!("whoever named the key {nkey}"),
        BusClient::Stranger => "a stranger".to_owned(),
    }
}

fn bus_denial(what: BusDenial, subject: &str) -> String {
    let more = |text: &str| match subject {
        "" => text.to_owned(),
        subject => format!("{text}: {subject}"),
    };
    match what {
        BusDenial::Publish => format!("to publish on {subject}"),
        BusDenial::Subscribe => format!("to subscribe to {subject}"),
        BusDenial::Login => more("to log in"),
        BusDenial::Handshake => more("a connection"),
        BusDenial::Connections => more("one connection more"),
        BusDenial::Subscriptions => more("one subscription more"),
        BusDenial::Payload => more("a message so large"),
        BusDenial::Protocol => more("what is not its protocol"),
        BusDenial::SlowConsumer => more("to be so slow"),
        BusDenial::Other => more("something"),
    }
}

fn describe_notice(notice: &Notice) -> String {
    match notice {
        Notice::Started { version, .. } => format!("started, version {version}"),
        Notice::Stopped => "stopped".to_owned(),
        Notice::Alive => "alive".to_owned(),
        Notice::KillSwitch {
            state,
            cause,
            detail,
        } => {
            format!("kill switch {state} ({}): {detail}", cause_words(*cause))
        }
        Notice::Violation { subject, code, .. } => {
            format!("refused a message: {code} on {subject}")
        }
        Notice::Refused { reason, detail } => format!("{reason}: {detail}"),
        Notice::Reconciled {
            open,
            changed,
            fills,
        } => {
            format!("compared with the venue: {open} open, {changed} changed, {fills} new fills")
        }
        Notice::VenueHalt {
            symbol,
            reason,
            is_over,
            evidence,
        } => halt_words(*symbol, *reason, *is_over, evidence),
        Notice::KillConfirmed {
            venue,
            orders,
            after_ms,
        } => kill_words(*venue, *orders, *after_ms),
        Notice::DayBegan {
            day,
            baseline,
            chain,
        } => format!("day {day} began with an equity of {baseline} USD (chain {chain})"),
        Notice::Policy { service, runs, own } if runs == own => {
            format!("{service} runs the same risk policy")
        }
        Notice::Policy { service, runs, own } => {
            format!("{service} runs risk policy {runs}, not {own}")
        }
        Notice::Breaker {
            breaker,
            from,
            to,
            detail,
            ..
        } => format!("circuit breaker {breaker} {from} to {to}: {detail}"),
        Notice::Posture { from, to, detail } => format!("posture {from} to {to}: {detail}"),
        Notice::Commanded {
            operator,
            outcome,
            detail,
            ..
        } => format!("{operator}: {detail}: {}", outcome_words(*outcome)),
        Notice::Warning { detail } => format!("warning: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use audit_core::BusPlace;
    use portcullis_domain::{KillCause, KillState, Reason, Timestamp};
    use portcullis_wire::Text;

    use super::*;

    #[test]
    fn says_what_happened_and_why() {
        let gap = Own::Gap {
            source: "brain".parse().unwrap(),
            boot: 7,
            from: 3,
            to: 5,
        };
        assert_eq!(
            describe_own(&gap),
            "facts 3 to 5 of brain (start 7) are missing"
        );
        let silence = Own::Silence {
            source: "signer".parse().unwrap(),
            boot: 7,
            since: Timestamp(1),
        };
        assert_eq!(
            describe_own(&silence),
            "signer (start 7) says nothing any more, nor that it ends"
        );
        assert_eq!(describe_notice(&Notice::Alive), "alive");
        let denied = |who, what, subject| Own::BusDenied {
            who,
            what,
            subject: Text::lossy(subject),
            from: Text::lossy("127.0.0.1:7"),
            at: Timestamp(1),
            place: BusPlace::first(Timestamp(1), b"first"),
        };
        let brain = BusClient::Principal {
            name: "brain".parse().unwrap(),
            nkey: Text::lossy("UB"),
        };
        assert_eq!(
            describe_own(&denied(brain, BusDenial::Publish, "cmd.execution.execute")),
            "the bus denied brain (127.0.0.1:7) to publish on cmd.execution.execute"
        );
        assert_eq!(
            describe_own(&denied(BusClient::Stranger, BusDenial::Login, "")),
            "the bus denied a stranger (127.0.0.1:7) to log in"
        );
        let notice = Notice::KillSwitch {
            state: KillState::Triggered,
            cause: KillCause::Operator,
            detail: Text::lossy("drill"),
        };
        assert_eq!(
            describe_notice(&notice),
            "kill switch TRIGGERED (by an operator): drill"
        );
        let refused = Outcome::Refused(Reason::PriceCollar);
        assert_eq!(answer(refused, "permitted"), "refused: PRICE_COLLAR");
    }
}
