//! Golden vectors: the bytes on the wire, pinned, and made and read by another language too.
//!
//! The file is rewritten with `PORTCULLIS_REWRITE_GOLDEN=1`; a change of it is a change of the
//! protocol.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "golden/python.rs"]
mod python;

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_domain::{
    Book, Bps, Check, EnvelopeId, Exposure, Fill, Hash, KillCause, KillState, Level, Measure,
    Order, OrderId, OrderStatus, PrincipalName, Reason, RiskProfile, Rule, Scope, Side, StrategyId,
    Symbol, TimeInForce, Timestamp, Unit, Usd, Venue,
};
use portcullis_wire::messages::{
    Checkpoint, Closes, Decision, ExecutionReport, ExecutionStatus, Heartbeat, Kill, Message,
    Notice, Outcome, Permit, Proposal, Receipt, RiskAction, RiskCommand, SignAction, SignRequest,
    SignResponse, Size, Verdict,
};
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{self, Protection, Subject};
use portcullis_wire::{
    ContentKey, Context, Epoch, EpochRoot, KeyRing, Link, Realm, Sealed, Sealer, Signer, Text,
    Verifier,
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const EPOCH: u32 = 1;
const SEED: [u8; 32] = [0x33; 32];
const CONTENT_KEY: [u8; 32] = [0x44; 32];
const READERS: [&str; 8] = [
    "brain",
    "risk-guard",
    "execution",
    "signer",
    "audit",
    "market-data",
    "strategy-sample",
    "operator-dev",
];

fn realm() -> Realm {
    Realm::new("golden").unwrap()
}

fn root() -> EpochRoot {
    EpochRoot([0x11; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn name(text: &str) -> PrincipalName {
    PrincipalName::new(text).unwrap()
}

fn ring() -> KeyRing {
    let mut ring = KeyRing::new();
    for source in READERS {
        for audience in READERS {
            let link = Link {
                source: name(source),
                audience: name(audience),
            };
            ring.insert(
                link,
                Epoch::lasting(EPOCH),
                &root().link_key(realm(), EPOCH, link),
            );
        }
    }
    for author in READERS {
        ring.trust(name(author), Signer::from_seed(&SEED).verifying());
    }
    ring.sign_with(Signer::from_seed(&SEED));
    ring
}

/// Opens a frame that should be the same, and says whether it holds.
type Opens = Box<dyn Fn(&[u8]) -> bool>;

struct Vector {
    name: &'static str,
    source: PrincipalName,
    signed_kind: &'static str,
    protection: Protection,
    readers: Vec<PrincipalName>,
    sealed: Sealed,
    opens: Opens,
}

struct Maker {
    vectors: Vec<Vector>,
}

impl Maker {
    fn add<P: Principal, M: Message + PartialEq + Clone + 'static>(
        &mut self,
        vector: &'static str,
        signed_kind: &'static str,
        subject: &'static Subject<P, M>,
        place: Option<&str>,
        message: &M,
    ) {
        let source = match P::ROLE {
            Role::Strategy => name("strategy-sample"),
            Role::Operator => name("operator-dev"),
            role => name(role.name()),
        };
        let number = u8::try_from(self.vectors.len()).unwrap();
        let mut sealer = Sealer::new(realm(), source, 1_789_999_999_000_000, ring());
        let mut context = Context::first(NOW, EnvelopeId([number; 16]));
        if number % 2 == 1 {
            context.causation = Some(EnvelopeId([0xcc; 16]));
            context.traceparent =
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_string();
        }
        context.content_key = Some(ContentKey::from_random(CONTENT_KEY));
        let sealed = sealer.seal(subject, place, message, context).unwrap();
        let readers: Vec<_> = READERS
            .into_iter()
            .map(name)
            .filter(|reader| subject.row.may_read(reader, &sealed.subject))
            .collect();
        let (reader, concrete) = (readers[0], sealed.subject.clone());
        let expected = message.clone();
        let opens = move |frame: &[u8]| {
            let mut verifier = Verifier::new(realm(), reader, NOW, ring());
            verifier
                .open(subject, &concrete, frame, NOW)
                .is_ok_and(|received| *received.either().message() == expected)
        };
        let opens = Box::new(opens);
        self.vectors.push(Vector {
            name: vector,
            source,
            signed_kind,
            protection: subject.row.protection,
            readers,
            sealed,
            opens,
        });
    }
}

fn order() -> Order {
    Order {
        id: OrderId([0xab; 16]),
        strategy: StrategyId::new("sample").unwrap(),
        venue: Venue::Bybit,
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side: Side::Sell,
        quantity: "12.5".parse().unwrap(),
        limit_price: "2.3456".parse().unwrap(),
        time_in_force: TimeInForce::ImmediateOrCancel,
        reduce_only: true,
        profile: RiskProfile::Moderate,
        policy: Hash([0x77; 32]),
        created_at: NOW,
    }
}

fn vectors() -> Vec<Vector> {
    let mut maker = Maker {
        vectors: Vec::new(),
    };
    let symbol = Symbol::new("XRPUSDT").unwrap();
    let signer = Signer::from_seed(&SEED);
    let proposal = |size| Proposal {
        symbol,
        side: Side::Buy,
        size,
        limit_price: None,
        time_in_force: TimeInForce::PostOnly,
        reduce_only: false,
    };
    let by_quantity = proposal(Size::Quantity("0.1".parse().unwrap()));
    let by_value = proposal(Size::Notional("1000000.123456789012".parse().unwrap()));
    maker.add(
        "proposal by quantity",
        "",
        &subjects::PROPOSAL,
        Some("sample"),
        &by_quantity,
    );
    maker.add(
        "proposal by value",
        "",
        &subjects::PROPOSAL,
        Some("sample"),
        &by_value,
    );
    maker.add(
        "order with three seals",
        "",
        &subjects::ORDER,
        None,
        &order(),
    );
    let inner = maker.vectors[2].sealed.frame.clone();
    let permit = Permit {
        order: inner,
        policy: Hash([0x77; 32]),
        worst_price: Some("0.4323".parse().unwrap()),
        generation: 3,
    };
    maker.add(
        "permit around the order",
        "",
        &subjects::PERMIT,
        None,
        &permit,
    );
    let place = SignRequest {
        action: SignAction::Place {
            permit: vec![0; 300],
        },
        timestamp_ms: u64::MAX,
        payload: Vec::new(),
    };
    maker.add(
        "sign request, long and empty bytes",
        "",
        &subjects::SIGN,
        None,
        &place,
    );
    let wallet = SignRequest {
        action: SignAction::QueryWallet,
        timestamp_ms: 0,
        payload: b"accountType=UNIFIED".to_vec(),
    };
    maker.add(
        "sign request without fields",
        "",
        &subjects::SIGN,
        None,
        &wallet,
    );
    let refused = SignResponse::Refused {
        reason: Reason::BytesDiffer,
    };
    maker.add("sign response", "", &subjects::SIGNATURE, None, &refused);
    let receipt = Receipt {
        fact: Hash([1; 32]),
        order: OrderId([2; 16]),
        index: 70_000,
        entry: Hash([3; 32]),
    };
    let receipt = signer.sign(&receipt).unwrap();
    maker.add(
        "receipt, signed",
        "receipt",
        &subjects::RECEIPT,
        None,
        &receipt,
    );
    let kill = Kill {
        realm: realm(),
        operator: name("operator-dev"),
        reason: Text::new("übung: ausstieg 停止").unwrap(),
        at: NOW,
    };
    maker.add(
        "kill, signed",
        "kill",
        &subjects::KILL,
        None,
        &signer.sign(&kill).unwrap(),
    );
    let beat = Heartbeat {
        kill: KillState::RecoveryPending,
        policy: Hash([0; 32]),
        posture: portcullis_domain::Posture::Normal,
    };
    maker.add("heartbeat", "", &subjects::HEARTBEAT, None, &beat);
    let command = RiskCommand {
        realm: realm(),
        operator: name("operator-dev"),
        action: RiskAction::SetLimit {
            rule: Rule::OrderNotional,
            scope: Scope::Instrument(symbol),
            value: "100".parse().unwrap(),
        },
        reason: Text::new("drill").unwrap(),
        at: NOW,
    };
    maker.add(
        "risk command, signed",
        "risk-command",
        &subjects::RISK_COMMAND,
        None,
        &signer.sign(&command).unwrap(),
    );
    let verdict = Verdict {
        order_frame: vec![1, 2, 3],
        order: OrderId([4; 16]),
        outcome: Outcome::Refused(Reason::OrderNotional),
        checks: vec![
            Check {
                rule: Rule::KillSwitch,
                measure: None,
            },
            Check {
                rule: Rule::OrderNotional,
                measure: Some(Measure {
                    unit: Unit::Usd,
                    limit: "100".parse().unwrap(),
                    used: "100.01".parse().unwrap(),
                }),
            },
        ],
    };
    maker.add(
        "verdict with the rules it met",
        "",
        &subjects::VERDICT,
        Some("sample"),
        &verdict,
    );
    let closes = Closes {
        symbol,
        minute: 29_833_333,
        closes: vec!["0.5".parse().unwrap(), "0.5001".parse().unwrap()],
    };
    maker.add(
        "closes",
        "",
        &subjects::CLOSES,
        Some(symbol.as_str()),
        &closes,
    );
    let decision = Decision {
        proposal: vec![1, 2, 3],
        order: OrderId([4; 16]),
        outcome: Outcome::Refused(Reason::PriceCollar),
    };
    maker.add(
        "decision",
        "",
        &subjects::DECISION,
        Some("sample"),
        &decision,
    );
    let passed = Decision {
        outcome: Outcome::Passed,
        ..decision
    };
    maker.add(
        "decision, passed",
        "",
        &subjects::DECISION,
        Some("sample"),
        &passed,
    );
    let report = ExecutionReport {
        order: OrderId([5; 16]),
        strategy: StrategyId::new("sample").unwrap(),
        symbol,
        side: Side::Buy,
        quantity: "3".parse().unwrap(),
        filled: None,
        status: OrderStatus::Unknown,
        venue_order: None,
        reason: None,
        detail: Text::new("").unwrap(),
    };
    maker.add(
        "report with nothing in it",
        "",
        &subjects::REPORT,
        Some("sample"),
        &report,
    );
    let fill = Fill {
        execution: "e-1".parse().unwrap(),
        order: OrderId([5; 16]),
        venue_order: "v-1".parse().unwrap(),
        symbol,
        side: Side::Buy,
        price: "0.000001".parse().unwrap(),
        quantity: "1000000000".parse().unwrap(),
        fee: "-0.5".parse().unwrap(),
        venue_time: Timestamp(0),
    };
    maker.add(
        "fill with a rebate",
        "",
        &subjects::FILL,
        Some("sample"),
        &fill,
    );
    let started = Notice::Started {
        version: Text::new("0.1.0").unwrap(),
        policy: None,
        kill: Some(KillState::Armed),
    };
    maker.add("notice", "", &subjects::BRAIN_NOTICE, None, &started);
    maker.add(
        "notice without fields",
        "",
        &subjects::SIGNER_NOTICE,
        None,
        &Notice::Stopped,
    );
    let policy = Notice::Policy {
        service: Text::new("execution").unwrap(),
        runs: Hash([8; 32]),
        own: Hash([7; 32]),
    };
    maker.add(
        "policy notice",
        "",
        &subjects::RISK_GUARD_NOTICE,
        None,
        &policy,
    );
    let killed = Notice::KillSwitch {
        state: KillState::Triggered,
        cause: KillCause::HardLoss,
        detail: Text::new("x").unwrap(),
    };
    maker.add(
        "kill notice",
        "",
        &subjects::EXECUTION_NOTICE,
        None,
        &killed,
    );
    let status = ExecutionStatus {
        kill: KillState::Armed,
        may_trade: false,
        reason: Some(Reason::GuardSilent),
        policy: Hash([6; 32]),
        day: 20_717,
        loss: "-12.5".parse().unwrap(),
        loss_rolling: "3.25".parse().unwrap(),
        loss_max: Usd::ZERO,
        hard_limits: Hash([8; 32]),
        orders_unconfirmed: 1,
        halts: vec![portcullis_wire::messages::VenueHalt {
            symbol: Some(symbol),
            reason: Reason::VenueDiffers,
            evidence: Text::new("x").unwrap(),
        }],
        kill_confirmed_ms: Some(400),
        exposures: vec![portcullis_wire::messages::StrategyExposure {
            strategy: StrategyId::new("sample").unwrap(),
            symbol,
            position: Exposure::FLAT,
            open_buy: Some("1".parse().unwrap()),
            open_sell: None,
            orders_open: 2,
            highest_buy: Some("0.4321".parse().unwrap()),
            lowest_sell: None,
        }],
        positions: Vec::new(),
        orders: Vec::new(),
        orders_open: 0,
        orders_unknown: 128,
        fills: 65_536,
        equity: Some(portcullis_domain::Usd::ZERO),
        drawdown: portcullis_domain::Usd::ZERO,
        losses: vec![],
        network: Default::default(),
        signer: Default::default(),
    };
    maker.add(
        "execution status",
        "",
        &subjects::EXECUTION_STATUS,
        None,
        &status,
    );
    let level = |price: &str| Level {
        price: price.parse().unwrap(),
        quantity: "1".parse().unwrap(),
    };
    let book = Book::new(
        symbol,
        vec![level("1.1"), level("1")],
        vec![level("1.2")],
        7,
        NOW,
    )
    .unwrap();
    maker.add("book", "", &subjects::BOOK, Some("XRPUSDT"), &book);
    let checkpoint = Checkpoint {
        size: u64::MAX,
        head: Hash([8; 32]),
        at: NOW,
    };
    let checkpoint = signer.sign(&checkpoint).unwrap();
    maker.add(
        "checkpoint, signed",
        "checkpoint",
        &subjects::CHECKPOINT,
        None,
        &checkpoint,
    );
    maker.add(
        "notice of life",
        "",
        &subjects::MARKET_DATA_NOTICE,
        None,
        &Notice::Alive,
    );
    assert!(Bps::new(1_000_001).is_err());
    maker.vectors
}

fn golden(vectors: &[Vector]) -> Value {
    let entry = |vector: &Vector| {
        let key = |reader: &PrincipalName| {
            let link = Link {
                source: vector.source,
                audience: *reader,
            };
            hex(root().link_key(realm(), EPOCH, link).expose())
        };
        let keys: BTreeMap<String, String> = vector
            .readers
            .iter()
            .map(|reader| (reader.to_string(), key(reader)))
            .collect();
        json!({
            "name": vector.name,
            "subject": vector.sealed.subject,
            "source": vector.source.as_str(),
            "signed_kind": vector.signed_kind,
            "protection": match vector.protection {
                Protection::Sealed => "sealed",
                Protection::Confidential => "confidential",
                Protection::Signed => "signed",
            },
            "link_keys": keys,
            "frame": hex(&vector.sealed.frame),
        })
    };
    json!({
        "realm": realm().as_str(),
        "epoch": EPOCH,
        "epoch_root": hex(&root().0),
        "content_key": hex(&CONTENT_KEY),
        "ed25519_seed": hex(&SEED),
        "ed25519_public": hex(&Signer::from_seed(&SEED).verifying().to_bytes()),
        "vectors": vectors.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

#[test]
fn the_bytes_on_the_wire_are_the_golden_ones() {
    let file = folder().join("golden/envelopes.json");
    let made = serde_json::to_string_pretty(&golden(&vectors())).unwrap() + "\n";
    if std::env::var_os("PORTCULLIS_REWRITE_GOLDEN").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    assert!(
        made == golden,
        "the wire format changed: see the head of this test file"
    );
    for vector in vectors() {
        assert!((vector.opens)(&vector.sealed.frame), "{}", vector.name);
    }
}
