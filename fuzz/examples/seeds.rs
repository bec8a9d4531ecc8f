//! Writes the seed corpora anew, from the golden envelopes, the settings in `config/` and sound files
//! of every format: `docs/fuzzing.md` says when.

use std::fs;
use std::path::{Path, PathBuf};

use audit_core::{Chain, Draft, Kind, Own};
use execution_core::Record;
use portcullis_domain::{Timestamp, Usd};
use portcullis_fuzz::log::{chain_key, make};
use portcullis_fuzz::with_checksum;
use portcullis_testkit::seals::{NOW, World, order, principal};
use portcullis_wire::{Text, codec};

fn corpus(target: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("remove the old corpus");
    }
    fs::create_dir_all(&folder).expect("make the folder");
    folder
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(folder.join(name), bytes).expect("write a seed");
}

/// The seed of a target that tells its kinds of input apart by their first byte.
fn kinded(folder: &Path, name: &str, kind: u8, bytes: impl AsRef<[u8]>) {
    write(folder, name, [&[kind], bytes.as_ref()].concat());
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).expect("a digit") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn envelopes() {
    let golden = fs::read(repository("crates/wire/tests/golden/envelopes.json"));
    let golden: serde_json::Value =
        serde_json::from_slice(&golden.expect("the golden envelopes")).expect("JSON");
    let folders = [corpus("envelope"), corpus("frame")];
    for vector in golden["vectors"].as_array().expect("vectors") {
        let text = |field: &str| vector[field].as_str().expect("a text").to_owned();
        let name: String = text("name")
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        for folder in &folders {
            write(folder, &name, hex(&text("frame")));
        }
    }
    write(&folders[1], "key-id", "risk-guard>execution/1");
}

const ORDER: &str = r#"{"category":"linear","orderId":"5f0c1b2e-1111-4222-8333-0123456789ab","orderLinkId":"00112233445566778899aabbccddeeff","symbol":"XRPUSDT","price":"0.5000","qty":"10.0","side":"Sell","orderStatus":"PartiallyFilled","avgPrice":"0.50012345678901234567","cumExecQty":"2.50","leavesQty":"","cumExecFee":"-0.00125","rejectReason":"EC_NoError","reduceOnly":true,"createdTime":"1790000000001","updatedTime":"1790000000002"}"#;
const EXECUTION: &str = r#"{"category":"linear","symbol":"XRPUSDT","orderId":"5f0c","orderLinkId":"00112233445566778899aabbccddeeff","side":"Buy","execId":"e-1","execType":"Trade","execPrice":"0.5","execQty":"10","execFee":"0.0000001234567891","execTime":"1790000000005","isMaker":false}"#;
const POSITION: &str = r#"{"positionIdx":0,"symbol":"XRPUSDT","side":"Buy","size":"10","avgPrice":"0.5","entryPrice":"0.5","markPrice":"0.51","unrealisedPnl":"0.1","updatedTime":"1790000000005"}"#;
const WALLET: &str = r#"{"accountType":"UNIFIED","totalEquity":"1000.123456789012345","totalWalletBalance":"999","totalAvailableBalance":"","coin":[{"coin":"USDT","equity":"1000.1","walletBalance":"999","usdValue":"1"}]}"#;
const MOVEMENT: &str = r#"{"id":"592324_XRPUSDT_161440249321","symbol":"XRPUSDT","category":"linear","side":"Buy","transactionTime":"1790000000004","type":"SETTLEMENT","qty":"100","size":"100","currency":"USDT","tradePrice":"0.3676","funding":"-0.003676","fee":"0","cashFlow":"0","change":"-0.003676","cashBalance":"5086.55"}"#;
const INSTRUMENT: &str = r#"{"symbol":"XRPUSDT","status":"Trading","priceFilter":{"tickSize":"0.0001"},"lotSizeFilter":{"minOrderQty":"0.1","maxOrderQty":"1000","qtyStep":"0.1","minNotionalValue":"5"}}"#;

fn venue() {
    let rest = corpus("venue_rest");
    let answer = |result: &str| {
        format!(
            r#"{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":1790000000003}}"#
        )
    };
    for (name, item) in [
        ("orders", ORDER),
        ("executions", EXECUTION),
        ("positions", POSITION),
        ("wallet", WALLET),
        ("movements", MOVEMENT),
        ("instruments", INSTRUMENT),
    ] {
        let page = format!(r#"{{"list":[{item}],"category":"linear","nextPageCursor":"a%3A1"}}"#);
        write(&rest, name, answer(&page));
    }
    write(
        &rest,
        "minutes",
        answer(
            r#"{"category":"linear","symbol":"XRPUSDT","list":[["1790000040000","0.50","0.51","0.49","0.505","12","6.06"],["1789999980000","0.5","0.5","0.5","0.5","0","0"]]}"#,
        ),
    );
    write(
        &rest,
        "trades",
        answer(
            r#"{"category":"linear","list":[{"execId":"t-1","symbol":"XRPUSDT","price":"0.5000","size":"3","side":"Buy","time":"1790000000009","isBlockTrade":false}]}"#,
        ),
    );
    write(
        &rest,
        "placed",
        answer(r#"{"orderId":"5f0c","orderLinkId":"00112233445566778899aabbccddeeff"}"#),
    );
    write(
        &rest,
        "time",
        answer(r#"{"timeSecond":"1790000000","timeNano":"1790000000123456789"}"#),
    );
    write(
        &rest,
        "cancelled",
        answer(r#"{"list":[{"orderId":"5f0c","orderLinkId":""}],"success":"1"}"#),
    );
    write(
        &rest,
        "refused",
        r#"{"retCode":110007,"retMsg":"ab not enough\nfor new order","result":{},"retExtInfo":{},"time":1790000000003}"#,
    );

    let stream = corpus("venue_stream");
    for (topic, item) in [
        ("order", ORDER),
        ("execution.linear", EXECUTION),
        ("position", POSITION),
        ("wallet", WALLET),
    ] {
        let text = format!(
            r#"{{"id":"1","topic":"{topic}","creationTime":1790000000009,"data":[{item}]}}"#
        );
        write(&stream, topic, text);
    }
    write(
        &stream,
        "login",
        r#"{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}"#,
    );
    write(
        &stream,
        "pong",
        r#"{"req_id":"1","op":"pong","args":["1790000000000"],"conn_id":"c"}"#,
    );
    for (name, form, update) in [
        ("snapshot", "snapshot", 5),
        ("delta", "delta", 6),
        ("restart", "delta", 1),
    ] {
        let text = format!(
            r#"{{"topic":"orderbook.50.XRPUSDT","type":"{form}","ts":1790000000010,"cts":1790000000009,"data":{{"s":"XRPUSDT","b":[["0.5","10"],["0.4","0"]],"a":[["0.6","1.5"]],"u":{update},"seq":77}}}}"#
        );
        write(&stream, name, text);
    }
    write(
        &stream,
        "trades",
        r#"{"topic":"publicTrade.XRPUSDT","type":"snapshot","ts":1790000000010,"data":[{"T":1790000000009,"s":"XRPUSDT","S":"Buy","v":"3","p":"0.5","L":"PlusTick","i":"t-1","BT":false}]}"#,
    );
}

fn records() -> Vec<Vec<u8>> {
    let order = order(1, NOW);
    let id = order.id;
    let records = [
        Record::Accepted {
            order,
            expires_at: NOW,
            at: NOW,
        },
        Record::Sent {
            order: id,
            timestamp_ms: 1_790_000_000_000,
        },
        Record::InDoubt { order: id, at: NOW },
        Record::Equity {
            equity: Usd::ZERO,
            strategies: None,
        },
    ];
    let encoded = records
        .iter()
        .map(|one| codec::encode(one).expect("a record"));
    encoded.collect()
}

fn journal() {
    let folder = corpus("journal");
    let records = records();
    let whole: Vec<u8> = records.iter().flat_map(|one| with_checksum(one)).collect();
    kinded(&folder, "whole", 0, &whole);
    kinded(&folder, "torn", 0, &whole[..whole.len() - 5]);
    let hole = [&whole[..20], &[0; 64], &whole[20..]].concat();
    kinded(&folder, "hole", 0, hole);
    let far = [&with_checksum(&records[1]), [0; 64].as_slice(), &[7]].concat();
    kinded(&folder, "bytes-behind", 0, far);
    kinded(&folder, "empty", 0, []);
    // count, then length and record, then where, what happens, and with what
    let mut written = vec![3];
    for record in &records[1..] {
        written.push(record.len() as u8);
        written.extend(record);
    }
    for (name, end) in [
        ("written-and-tail", &[0, 0, 0, 9, 9, 9][..]),
        ("written-and-cut", &[0, 70, 1]),
        ("written-and-changed", &[0, 40, 2, 0x10]),
    ] {
        kinded(&folder, name, 1, [&written, end].concat());
    }
}

fn state() {
    let folder = corpus("state");
    let armed = "state = \"ARMED\"\ndetail = \"armed when its identity was made\"\nat_us = 1790000000000000\n";
    let triggered = "state = \"TRIGGERED\"\ncause = \"operator\"\ndetail = \"stop\"\nat_us = 1790000000000000\n";
    let line = format!("# crc32c {:08x}\n", crc32c::crc32c(armed.as_bytes()));
    kinded(&folder, "armed-whole", 0, format!("{line}{armed}"));
    kinded(&folder, "armed-edited", 0, format!("{line}{triggered}"));
    kinded(&folder, "armed", 1, armed);
    kinded(&folder, "triggered", 1, triggered);
    kinded(&folder, "unknown-key", 1, format!("{armed}more = 1\n"));
    kinded(&folder, "boot", 2, "1790000000000000\n");
    kinded(&folder, "boot-far-ahead", 2, "9999999999999999999\n");
    kinded(&folder, "boot-last", 2, "18446744073709551615\n");
    kinded(&folder, "boot-unfinished", 2, "179000");
    kinded(
        &folder,
        "key",
        3,
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
    );
}

fn audit() {
    let folder = corpus("audit_log");
    let made = make(&mut World::new(NOW));
    let end = made
        .segment
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap_or_default()
        + 1;
    kinded(&folder, "whole", 0, [&[0], &made.segment[..end]].concat());
    kinded(
        &folder,
        "torn",
        0,
        [&[0], &made.segment[..end - 20]].concat(),
    );
    kinded(&folder, "empty", 0, [0]);
    let far = |place: usize| [(place >> 8) as u8, place as u8];
    let at = |operation: u8, file: u8, place: usize, rest: &[u8]| {
        [&[1, operation, file], far(place).as_slice(), rest].concat()
    };
    write(&folder, "unchanged", [1]);
    write(&folder, "byte-in-the-middle", at(0, 1, 400, &[0x10]));
    write(&folder, "byte-in-a-checkpoint", at(0, 0, 20, &[0x10]));
    write(&folder, "last-entry-unfinished", at(1, 1, end - 30, &[]));
    write(&folder, "cut-behind-a-checkpoint", at(1, 1, 300, &[]));
    write(&folder, "sector-missing", at(2, 1, 1_100, &[]));
    write(&folder, "checkpoints-cut", at(3, 0, 100, &[]));
    write(&folder, "doubled", at(4, 1, 0, &[200, 4, 0]));

    let folder = corpus("audit_entry");
    let source = principal("audit");
    let own = [
        Own::Started {
            version: Text::lossy("0.1.0"),
            cut: 7,
        },
        Own::Gap {
            source: principal("brain"),
            boot: 1,
            from: 2,
            to: 5,
        },
        Own::Suppressed {
            count: 3,
            since: Timestamp(5),
        },
    ];
    let own = own.iter().map(|one| codec::encode(one).expect("an entry"));
    let golden = fs::read(corpus_file("envelope", "notice")).expect("a golden frame");
    let contents = own.map(|bytes| (Kind::Own, bytes));
    for (number, (kind, content)) in contents.chain([(Kind::Fact, golden)]).enumerate() {
        let draft = Draft {
            received_at: NOW,
            kind,
            subject: "audit.own",
            source: &source,
            boot: 1,
            seq: 1,
            id: portcullis_domain::EnvelopeId([0; 16]),
            content: &content,
        };
        let mut record = Vec::new();
        let appended = Chain::new(chain_key()).append(&draft, &mut record);
        appended.expect("a record");
        write(
            &folder,
            &format!("entry-{number}"),
            &record[8..record.len() - 64],
        );
    }
}

fn corpus_file(target: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
        .join(name)
}

fn sealed_file() {
    let folder = corpus("sealed_file");
    let text = |fields: [&str; 4]| -> Vec<u8> {
        let lengthed =
            |field: &str| [&(field.len() as u16).to_be_bytes(), field.as_bytes()].concat();
        fields.into_iter().flat_map(lengthed).collect()
    };
    let sound = ["TRADE", "0123456789abcdef", "READ", "fedcba9876543210"];
    kinded(
        &folder,
        "head",
        0,
        [b"PORTCULLIS-VENUE\x01\x01".as_slice(), &[7; 44]].concat(),
    );
    kinded(
        &folder,
        "passphrase",
        0,
        [b"PORTCULLIS-VENUE\x01\x02".as_slice(), &[7; 44]].concat(),
    );
    kinded(
        &folder,
        "later-version",
        0,
        [b"PORTCULLIS-VENUE\x02\x01".as_slice(), &[7; 44]].concat(),
    );
    kinded(&folder, "unchanged", 1, []);
    kinded(&folder, "changed", 1, [0, 60, 1]);
    kinded(&folder, "changed-head", 1, [0, 17, 3]);
    kinded(&folder, "made-up", 2, text(sound));
    kinded(
        &folder,
        "one-key-for-both",
        2,
        text([sound[0], sound[1], sound[0], sound[1]]),
    );
    kinded(
        &folder,
        "short-secret",
        2,
        text([sound[0], "short", sound[2], sound[3]]),
    );
    let longer = [text(sound), vec![0]].concat();
    kinded(&folder, "one-byte-more", 2, longer);
}

fn settings() {
    let folder = corpus("settings");
    for name in ["risk-policy.toml", "audit.toml"] {
        let text = fs::read_to_string(repository("config").join(name)).expect("settings");
        // Without comments, so that a change of a byte is a change of a setting.
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect();
        let text = lines.join("\n");
        write(&folder, name, &text);
        write(
            &folder,
            &format!("unknown-key-{name}"),
            format!("more = 1\n{text}"),
        );
        write(
            &folder,
            &format!("nothing-{name}"),
            text.replace(" = 1", " = 0"),
        );
    }
}

fn exchange() {
    let folder = corpus("exchange_request");
    let limit = r#"{"category":"linear","symbol":"XRPUSDT","side":"Buy","orderType":"Limit","qty":"10","price":"0.5","timeInForce":"GTC","positionIdx":0,"orderLinkId":"00112233445566778899aabbccddeeff","reduceOnly":false}"#;
    let market = r#"{"category":"linear","symbol":"XRPUSDT","side":"Sell","orderType":"Market","qty":"10","reduceOnly":true}"#;
    kinded(&folder, "limit", 0, limit);
    kinded(&folder, "market", 0, market);
    kinded(
        &folder,
        "number-for-a-price",
        0,
        limit.replace("\"0.5\"", "0.5"),
    );
    kinded(
        &folder,
        "query",
        1,
        "category=linear&symbol=XRPUSDT&side=Buy&orderType=Limit&qty=10&price=0%2E5&orderLinkId=a%3A1",
    );
    kinded(&folder, "twice", 1, "category=linear&category=spot");
    kinded(&folder, "book", 2, "orderbook.50.XRPUSDT");
    kinded(&folder, "trades", 2, "publicTrade.XRPUSDT");
    kinded(&folder, "order", 3, "order.linear");
    let events = concat!(
        r#"[{"event":"opened","account":"main","balance":"1000"}]"#,
        "\n",
        r#"[{"event":"leverage","account":"main","symbol":"XRPUSDT","leverage":"5"}]"#,
        "\n",
    );
    kinded(&folder, "journal", 5, events);
    kinded(&folder, "journal-torn", 5, &events[..events.len() - 3]);
    kinded(&folder, "journal-without-digests", 4, events);
}

fn main() {
    envelopes();
    venue();
    journal();
    state();
    audit();
    sealed_file();
    settings();
    exchange();
}
