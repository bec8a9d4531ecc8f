//! Feeds bytes to what the paper exchange reads from its clients and from its own disk: orders in
//! bodies and in query strings, topics, and the journal. An order that is accepted means the same in
//! its other spelling, and a journal that is cut where it is sound means the same again.
//!
//! ```text
//!  input = kind ‖ …     kind 0: body, 1: query, 2: public topic, 3: private topic, 4: journal,
//!                       5: a journal's bodies, a line each, with their digests added
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use paper_exchange::fuzzing::{self, Asked};
use portcullis_fuzz::Parts;
use rust_decimal::Decimal;
use serde_json::json;
use sha2::{Digest, Sha256};

fn order(asked: Option<Asked>) {
    let Some(asked) = asked else { return };
    let billion = Decimal::from(1_000_000_000);
    for value in [Some(asked.qty), asked.price].into_iter().flatten() {
        assert!(!value.is_sign_negative() && value <= billion);
        assert!(value.normalize().scale() <= 10);
    }
    let text = |value: bool| value.to_string();
    let mut fields = vec![
        ("category", "linear".to_owned()),
        ("symbol", asked.symbol.clone()),
        ("side", if asked.buys { "Buy" } else { "Sell" }.to_owned()),
        ("orderLinkId", asked.link_id.clone()),
        ("qty", asked.qty.to_string()),
        ("reduceOnly", text(asked.reduce_only)),
    ];
    match asked.price {
        Some(price) => {
            fields.push(("price", price.to_string()));
            fields.push(("orderType", "Limit".to_owned()));
        }
        None => fields.push(("orderType", "Market".to_owned())),
    }
    let body: serde_json::Map<_, _> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let body = serde_json::to_vec(&body).expect("a body");
    assert_eq!(fuzzing::order_of_body(&body).as_ref(), Some(&asked));
    let query: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("{name}={encoded}")
        })
        .collect();
    assert_eq!(
        fuzzing::order_of_query(&query.join("&")).as_ref(),
        Some(&asked)
    );
}

fn topic(text: &str, private: bool) {
    if let Some(spelled) = fuzzing::topic(text, private) {
        assert_eq!(fuzzing::topic(&spelled, private), Some(spelled));
    }
}

fn journal(bytes: &[u8]) {
    match fuzzing::journal(bytes) {
        Ok((commit, sound)) => {
            assert!(sound <= bytes.len());
            let whole = Ok((commit.clone(), sound));
            assert_eq!(fuzzing::journal(&bytes[..sound]), whole);
            let again = fuzzing::journal(&commit);
            assert_eq!(again, Ok((commit.clone(), commit.len())));
        }
        Err(line) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=lines).contains(&line));
        }
    }
}

/// Each line with the first 16 digits of its SHA-256 and a space before it.
fn with_digests(bodies: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for body in bodies.split_inclusive(|byte| *byte == b'\n') {
        let text = body.strip_suffix(b"\n").unwrap_or(body);
        let digest = Sha256::digest(text);
        for byte in digest.iter().take(8) {
            lines.extend(format!("{byte:02x}").bytes());
        }
        lines.push(b' ');
        lines.extend(body);
    }
    lines
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = Parts(bytes);
    let kind = parts.byte() % 6;
    let text = std::str::from_utf8(parts.0);
    match (kind, text) {
        (0, _) => order(fuzzing::order_of_body(parts.0)),
        (1, Ok(text)) => order(fuzzing::order_of_query(text)),
        (2, Ok(text)) => topic(text, false),
        (3, Ok(text)) => topic(text, true),
        (4, _) => journal(parts.0),
        (5, _) => journal(&with_digests(parts.0)),
        _ => {}
    }
});
