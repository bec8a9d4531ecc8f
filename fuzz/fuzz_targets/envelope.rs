//! Feeds bytes to everything in `wire` that reads bytes of strangers: frames, sealed messages, and
//! the bodies of every kind. What decodes must encode to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_domain::{Book, Fill, Order, PrincipalName, Timestamp};
use portcullis_wire::messages::{
    Checkpoint, Decision, ExecutionReport, ExecutionStatus, Heartbeat, Kill, Message, Notice,
    Permit, PermitTaken, Proposal, Receipt, ServiceStatus, SignRequest, SignResponse,
    SignatureRecord, Trade, Verdict,
};
use portcullis_wire::subjects::PERMIT;
use portcullis_wire::{EpochRoot, Frame, KeyRing, Link, Realm, Signed, Verifier, codec};

fn canonical<M: Message>(bytes: &[u8]) {
    if let Ok(message) = codec::decode::<M>(bytes, 60_000) {
        assert_eq!(codec::encode(&message).ok().as_deref(), Some(bytes));
    }
}

macro_rules! every_kind {
    ($bytes:expr; $($kind:ty),*) => { $(canonical::<$kind>($bytes);)* };
}

fuzz_target!(|bytes: &[u8]| {
    let _ = Frame::parse(bytes);
    every_kind!(bytes; Proposal, Order, Permit, SignRequest, SignResponse, Signed<Receipt>,
        Signed<Kill>, Heartbeat, Decision, Verdict, PermitTaken, ExecutionReport, Fill,
        SignatureRecord, Notice, ExecutionStatus, ServiceStatus, Signed<Checkpoint>, Book, Trade);

    let name = |text: &str| PrincipalName::new(text).expect("a name");
    let realm = Realm::new("golden").expect("a realm");
    let now = Timestamp(1_790_000_000_000_000);
    let mut ring = KeyRing::new();
    for source in ["brain", "risk-guard"] {
        let link = Link { source: name(source), audience: name("execution") };
        ring.insert(link, 1, &EpochRoot([0x11; 32]).link_key(realm, 1, link));
    }
    let mut verifier = Verifier::new(realm, name("execution"), now, ring);
    let _ = verifier.open(&PERMIT, PERMIT.row.pattern, bytes, now);
    let _ = verifier.open_permit(bytes, now);
});
