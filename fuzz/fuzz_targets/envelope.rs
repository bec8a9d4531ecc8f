//! Feeds bytes to everything in `wire` that reads messages of strangers, and of principals that turned
//! against the others: bodies of every kind, and whole envelopes, as they come and sealed anew with the
//! right key. What decodes must encode to the same bytes, and what is opened is what was sealed.
#![no_main]

use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use portcullis_domain::{Book, Fill, Order, PrincipalName, Timestamp};
use portcullis_fuzz::frame_in_full;
use portcullis_wire::messages::{
    Checkpoint, Closes, Decision, ExecutionReport, ExecutionStatus, Heartbeat, Kill, Message,
    Notice, Permit, PermitTaken, Proposal, Receipt, RiskCommand, RiskStatus, ServiceStatus,
    SignRequest, SignResponse, SignatureRecord, Trade, Verdict,
};
use portcullis_wire::principal::Principal;
use portcullis_wire::subjects::{
    BOOK, CLOSES, EXECUTION_STATUS, HEARTBEAT, KILL, ORDER, PERMIT, PROPOSAL, Protection, RECEIPT,
    REPORT, RISK_COMMAND, SIGN, SIGNATURE, Subject, VERDICT,
};
use portcullis_wire::{
    Epoch, EpochRoot, Frame, KeyId, KeyRing, Link, Realm, Signed, Verifier, codec, inspect,
};
use sha2::Sha256;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const BODY_LENGTH_MAX: usize = 60_000;

fn canonical<M: Message>(bytes: &[u8]) {
    if let Ok(message) = codec::decode::<M>(bytes, BODY_LENGTH_MAX) {
        assert_eq!(codec::encode(&message).ok().as_deref(), Some(bytes));
    }
}

macro_rules! every_kind {
    ($bytes:expr; $($kind:ty),*) => { $(canonical::<$kind>($bytes);)* };
}

fn bodies(bytes: &[u8]) {
    every_kind!(bytes; Proposal, Order, Permit, SignRequest, SignResponse, Signed<Receipt>,
        Signed<Kill>, Heartbeat, Decision, Verdict, PermitTaken, ExecutionReport, Fill,
        SignatureRecord, Notice, ExecutionStatus, ServiceStatus, Signed<Checkpoint>, Book, Trade,
        Closes, RiskStatus, Signed<RiskCommand>);
}

fn realm() -> Realm {
    Realm::new("golden").expect("a realm")
}

/// A verifier that holds the keys of these links, the first of which is its own.
fn verifier(links: &[Link]) -> Verifier {
    let mut ring = KeyRing::new();
    for link in links {
        let key = EpochRoot([0x11; 32]).link_key(realm(), 1, *link);
        ring.insert(*link, Epoch::lasting(1), &key);
    }
    Verifier::new(realm(), links[0].audience, NOW, ring)
}

fn link(source: &str, audience: &str) -> Link {
    let name = |text: &str| PrincipalName::new(text).expect("a name");
    Link {
        source: name(source),
        audience: name(audience),
    }
}

/// The same header and body with a seal that holds, as `source` makes it for `audience`.
fn sealed_anew(frame: &Frame<'_>, link: Link) -> Vec<u8> {
    let key = EpochRoot([0x11; 32]).link_key(realm(), 1, link);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key");
    mac.update(b"portcullis/seal/v1\0");
    for part in [frame.header, frame.body] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let key_id = KeyId::new(link, 1);
    frame_in_full(&Frame {
        header: frame.header,
        body: frame.body,
        seals: vec![(key_id.as_str(), mac.finalize().into_bytes().into())],
    })
}

fn opened<P: Principal, M: Message>(
    subject: &Subject<P, M>,
    source: &str,
    audience: &str,
    frame: &Frame<'_>,
    arrived_on: &str,
) {
    if !subject.row.matches(arrived_on) {
        return;
    }
    let link = link(source, audience);
    let bytes = sealed_anew(frame, link);
    let mut verifier = verifier(&[link]);
    let Ok(received) = verifier.open(subject, arrived_on, &bytes, NOW) else {
        return;
    };
    let verified = received.fresh().expect("the first is no duplicate");
    let header = verified.header();
    assert_eq!((header.realm, header.source), (realm(), link.source));
    assert!(header.audience.contains(&link.audience) && header.subject == arrived_on);
    assert!(header.issued_at >= NOW && header.expires_at > NOW);
    assert_eq!(verified.frame(), bytes);
    if subject.row.protection == Protection::Sealed {
        let body = codec::encode(verified.message());
        assert_eq!(body.ok().as_deref(), Some(frame.body));
    }
    // Again it is the same one, and nothing to act on.
    let again = verifier.open(subject, arrived_on, &bytes, NOW);
    assert!(again.is_ok_and(|received| received.fresh().is_none()));
}

fuzz_target!(|bytes: &[u8]| {
    bodies(bytes);
    let links = [link("risk-guard", "execution"), link("brain", "execution")];
    let mut execution = verifier(&links);
    let _ = execution.open(&PERMIT, PERMIT.row.pattern, bytes, NOW);
    let _ = execution.open_permit(bytes, NOW);

    let Ok(frame) = Frame::parse(bytes) else {
        return;
    };
    bodies(frame.body);
    let subject = inspect(bytes).map_or(String::new(), |(header, _)| header.subject);
    opened(&PROPOSAL, "strategy-sample", "brain", &frame, &subject);
    opened(&ORDER, "brain", "risk-guard", &frame, &subject);
    opened(&PERMIT, "risk-guard", "execution", &frame, &subject);
    opened(&SIGN, "execution", "signer", &frame, &subject);
    opened(&SIGNATURE, "signer", "execution", &frame, &subject);
    opened(&RECEIPT, "audit", "execution", &frame, &subject);
    opened(&HEARTBEAT, "risk-guard", "execution", &frame, &subject);
    opened(&REPORT, "execution", "risk-guard", &frame, &subject);
    opened(
        &EXECUTION_STATUS,
        "execution",
        "risk-guard",
        &frame,
        &subject,
    );
    opened(&KILL, "operator-dev", "execution", &frame, &subject);
    opened(
        &RISK_COMMAND,
        "operator-dev",
        "risk-guard",
        &frame,
        &subject,
    );
    opened(&VERDICT, "risk-guard", "brain", &frame, &subject);
    opened(&BOOK, "market-data", "brain", &frame, &subject);
    opened(&CLOSES, "market-data", "risk-guard", &frame, &subject);
});
