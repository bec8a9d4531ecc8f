//! The signer's program on a real bus: what leaves it, what survives it, and how it refuses to
//! start.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod stage;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use portcullis_domain::{KillState, Reason};
use portcullis_testkit::bus::BusServer;
use portcullis_venue::bybit::{self, Authority};
use portcullis_wire::Text;
use portcullis_wire::messages::{Kill, SignAction, SignRequest, SignResponse};
use portcullis_wire::subjects::KILL;
use stage::{SECRETS, Stage, custody, furnish, log, start_program};

fn refused(reason: Reason) -> SignResponse {
    SignResponse::Refused { reason }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_a_permitted_order_once_even_across_a_power_cut() {
    let mut stage = Stage::open().await;
    let (order, request) = stage.permitted(1);
    let answer = stage.ask(&request).await;
    let text = bybit::text_to_sign(request.timestamp_ms, "TRADE", &bybit::place(&order).payload);
    let signature = custody().sign(Authority::Trading, &text).unwrap();
    let api_key = Text::new("TRADE").unwrap();
    assert_eq!(answer, SignResponse::Signed { api_key, signature });
    assert_eq!(
        stage.ask(&request).await,
        answer,
        "the same text has the same signature"
    );

    stage.kill_program();
    stage.start().await;
    assert_eq!(
        stage.ask(&request).await,
        refused(Reason::OrderSeal),
        "sealed before it started"
    );
    let (_, again) = stage.permitted(1);
    assert_eq!(stage.ask(&again).await, refused(Reason::DuplicateOrder));
    let (_, next) = stage.permitted(2);
    assert!(matches!(
        stage.ask(&next).await,
        SignResponse::Signed { .. }
    ));

    let said = log(&stage.server);
    assert!(said.contains("refused to sign"), "{said}");
    for secret in SECRETS {
        assert!(!said.contains(secret), "a secret is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_stops_placing_but_not_cancelling_and_outlives_a_restart() {
    let mut stage = Stage::open().await;
    let operator = stage.operator.identity();
    let kill = Kill {
        realm: operator.realm,
        operator: operator.name,
        reason: Text::new("drill").unwrap(),
        at: stage.operator.now(),
    };
    let signed = operator.signing.as_ref().unwrap().sign(&kill).unwrap();
    stage
        .operator
        .publish(&KILL, None, &signed, None, None)
        .unwrap();
    stage
        .status(|status| status.kill == Some(KillState::Triggered))
        .await;

    for _ in 0..2 {
        let (order, request) = stage.permitted(3);
        assert_eq!(stage.ask(&request).await, refused(Reason::KillSwitch));
        let cancel = SignRequest {
            action: SignAction::Cancel {
                symbol: order.symbol,
                order: order.id,
            },
            timestamp_ms: stage.now_ms(),
            payload: bybit::cancel(order.symbol, order.id).payload.into_bytes(),
        };
        assert!(matches!(
            stage.ask(&cancel).await,
            SignResponse::Signed { .. }
        ));
        stage.kill_program();
        stage.start().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_to_start_without_its_secrets_and_says_what_to_do() {
    let server = BusServer::start().await;
    furnish(&server);
    let identity = server.identity("signer");
    let key = identity.join("venue.key");

    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(start_program(&server).wait().unwrap().code(), Some(2));
    assert!(log(&server).contains(&format!("next step: chmod 600 {}", key.display())));

    stage::write_secret(&key, &"5b".repeat(32));
    assert_eq!(start_program(&server).wait().unwrap().code(), Some(2));
    assert!(
        log(&server).contains("sealed with another key"),
        "{}",
        log(&server)
    );

    fs::remove_file(identity.join("venue.sealed")).unwrap();
    assert_eq!(start_program(&server).wait().unwrap().code(), Some(2));
    assert!(
        log(&server).contains("venue.sealed is missing"),
        "{}",
        log(&server)
    );
}
