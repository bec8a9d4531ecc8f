//! A service on the real bus: what it sends, refuses, reports and survives.

use std::time::{Duration, Instant};

use crate::common::{http_get, metric, recv, service, service_args};
use portcullis_domain::{KillState, Side, Symbol, Timestamp};
use portcullis_runtime::{BusError, Client, Ending, Service, StartError};
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::messages::{Heartbeat, Notice, ServiceStatus, Trade};
use portcullis_wire::principal::{Audit, Brain, Execution, MarketData, Operator, RiskGuard};
use portcullis_wire::subjects::{
    BOOK, BRAIN_NOTICE, HEARTBEAT, RISK_GUARD_NOTICE, RISK_GUARD_STATUS, TRADE,
};
use portcullis_wire::{Received, Text};

fn heartbeat(number: u8) -> Heartbeat {
    Heartbeat {
        kill: KillState::Armed,
        posture: portcullis_domain::Posture::Normal,
        policy: portcullis_domain::Hash([number; 32]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_verified_and_its_copy_is_a_duplicate() {
    let server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let mut inbox = execution.listen(&[(HEARTBEAT.row, None)], 8).await.unwrap();
    let sent = guard
        .publish(&HEARTBEAT, None, &heartbeat(1), None, None)
        .unwrap();
    guard.send(sent.clone()).unwrap();

    let raw = recv(&mut inbox).await;
    assert!(raw.is(&HEARTBEAT));
    let fresh = execution.open(&HEARTBEAT, &raw).unwrap().fresh().unwrap();
    assert_eq!(fresh.message(), &heartbeat(1));
    assert_eq!(
        (fresh.source().as_str(), fresh.id()),
        ("risk-guard", sent.id)
    );
    assert_eq!(fresh.header().boot, guard.boot());
    let again = execution.open(&HEARTBEAT, &recv(&mut inbox).await).unwrap();
    assert!(matches!(again, Received::Duplicate(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_message_is_refused_counted_and_put_on_record() {
    let server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let brain: Service<Brain> = service(&server, "brain").await;
    let audit: Service<Audit> = service(&server, "audit").await;
    let mut inbox = brain.listen(&[(HEARTBEAT.row, None)], 8).await.unwrap();
    let mut facts = audit.facts_consumer().await.unwrap();
    let mut forged = guard
        .seal(&HEARTBEAT, None, &heartbeat(1), None, None)
        .unwrap();
    *forged.frame.last_mut().unwrap() ^= 1;
    forged.frame[40] ^= 1;
    guard.send(forged).unwrap();
    let raw = recv(&mut inbox).await;
    assert!(brain.open(&HEARTBEAT, &raw).is_none());

    let next = tokio::time::timeout(Duration::from_secs(10), facts.recv());
    let (raw, _) = next.await.unwrap();
    assert_eq!(raw.subject, "evt.brain.notice");
    let notice = audit
        .open_fact(&portcullis_wire::subjects::BRAIN_NOTICE, &raw)
        .unwrap();
    let Notice::Violation { subject, code, .. } = notice.message() else {
        panic!("{notice:?}")
    };
    assert_eq!(
        (subject.as_str(), code.as_str()),
        ("evt.risk-guard.heartbeat", "BAD_SEAL")
    );
    let text = http_get(brain.health_address(), "/metrics").await.1;
    assert_eq!(
        metric(&text, "portcullis_refused_envelopes_total"),
        Some(1),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_while_disconnected_and_nothing_comes_late() {
    let mut server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let mut inbox = execution.listen(&[(HEARTBEAT.row, None)], 8).await.unwrap();
    guard
        .publish(&HEARTBEAT, None, &heartbeat(1), None, None)
        .unwrap();
    let first = execution
        .open(&HEARTBEAT, &recv(&mut inbox).await)
        .unwrap()
        .fresh()
        .unwrap();
    assert_eq!(first.header().seq, 1);

    server.kill();
    wait_until("the connection to be seen as lost", || {
        !guard.is_connected()
    });
    guard.set_ready(true, "guarding");
    let ready = http_get(guard.health_address(), "/readyz").await;
    assert_eq!(ready, (503, "not connected to the bus\n".into()));
    for number in 2..20 {
        let refused = guard.publish(&HEARTBEAT, None, &heartbeat(number), None, None);
        assert!(
            matches!(refused, Err(BusError::Disconnected)),
            "{refused:?}"
        );
        let sealed = guard
            .seal(&RISK_GUARD_STATUS, None, &status(), None, None)
            .unwrap();
        assert!(matches!(guard.send(sealed), Err(BusError::Disconnected)));
    }
    server.restart();
    wait_until("both connections", || {
        guard.is_connected() && execution.is_connected()
    });
    assert_eq!(
        http_get(guard.health_address(), "/readyz").await,
        (200, "guarding\n".into())
    );
    // Execution's subscription is there again once something comes through it.
    let mut number = 100;
    let next = loop {
        guard
            .publish(&HEARTBEAT, None, &heartbeat(number), None, None)
            .unwrap();
        number += 1;
        let next = tokio::time::timeout(Duration::from_millis(100), inbox.recv());
        if let Ok(raw) = next.await {
            break execution
                .open(&HEARTBEAT, &raw.unwrap())
                .unwrap()
                .fresh()
                .unwrap();
        }
    };
    assert!(
        next.message().policy.0[0] >= 100,
        "sent while disconnected: {next:?}"
    );
    let expected = 2 + u64::from(next.message().policy.0[0]) - 100;
    assert_eq!(
        next.header().seq,
        expected,
        "refused messages used up places"
    );
}

fn status() -> ServiceStatus {
    ServiceStatus {
        ready: true,
        detail: Text::lossy(""),
        kill: None,
        policy: None,
        counts: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_are_dropped_and_counted_when_a_reader_does_not_keep_up() {
    let server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let mut inbox = execution.listen(&[(HEARTBEAT.row, None)], 2).await.unwrap();
    for number in 0..10 {
        guard
            .publish(&HEARTBEAT, None, &heartbeat(number), None, None)
            .unwrap();
    }
    let dropped = async || {
        let text = http_get(execution.health_address(), "/metrics").await.1;
        metric(&text, "portcullis_bus_dropped_total").unwrap_or(0)
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while dropped().await < 8 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} dropped",
            dropped().await
        );
    }
    let kept: Vec<_> = (0..2).map(|_| inbox.try_recv().unwrap()).collect();
    assert!(inbox.try_recv().is_none());
    let first = execution
        .open(&HEARTBEAT, &kept[0])
        .unwrap()
        .fresh()
        .unwrap();
    assert_eq!(first.message(), &heartbeat(0), "the oldest were kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_publish_is_counted_and_a_denied_subscription_ends_the_service() {
    let server = BusServer::start().await;
    let market: Service<MarketData> = service(&server, "market-data").await;
    // An instrument that the server's configuration does not know.
    let trade = Trade {
        symbol: Symbol::new("DOGEUSDT").unwrap(),
        side: Side::Buy,
        price: "0.1".parse().unwrap(),
        quantity: "1".parse().unwrap(),
        venue_time: Timestamp(1),
    };
    market
        .publish(&TRADE, Some("DOGEUSDT"), &trade, None, None)
        .unwrap();
    let denials = async || {
        let text = http_get(market.health_address(), "/metrics").await.1;
        metric(&text, "portcullis_bus_permission_denied_total").unwrap_or(0)
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while denials().await == 0 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "no denial was counted"
        );
    }
    assert!(
        market.shutdown().ending().is_none(),
        "one denied publish ends nothing"
    );

    let brain: Service<Brain> = service(&server, "brain").await;
    // It is told at once, or a little later.
    if let Err(error) = brain.listen(&[(BOOK.row, Some("DOGEUSDT"))], 8).await {
        assert!(matches!(error, BusError::Denied(_)), "{error}");
    }
    let ending = tokio::time::timeout(Duration::from_secs(10), brain.shutdown())
        .await
        .unwrap();
    let Ending::Fault(fault) = ending else {
        panic!("{ending:?}")
    };
    let cause = std::error::Error::source(&fault).unwrap().to_string();
    assert!(cause.contains("data.bybit.DOGEUSDT.book"), "{cause}");
    assert!(
        brain.stop().await.is_err(),
        "the fault is what main returns"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_alive_at_once_and_ready_only_when_the_service_says_so() {
    let server = BusServer::start().await;
    let mut args = service_args(&server, "signer");
    let port_file = server.folder().join("port");
    args.health_port_file = Some(port_file.clone());
    let (signer, _state) = Service::<portcullis_wire::principal::Signer>::start(&args)
        .await
        .unwrap();
    let address = signer.health_address();
    assert_eq!(
        std::fs::read_to_string(port_file).unwrap(),
        format!("{}\n", address.port())
    );
    assert_eq!(http_get(address, "/healthz").await.0, 200);
    assert_eq!(
        http_get(address, "/readyz").await,
        (503, "starting\n".into())
    );
    signer.set_ready(false, "no venue key");
    assert_eq!(
        http_get(address, "/readyz").await,
        (503, "no venue key\n".into())
    );
    signer.set_ready(true, "signing");
    assert_eq!(
        http_get(address, "/readyz").await,
        (200, "signing\n".into())
    );
    assert_eq!(http_get(address, "/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stops_leaves_a_notice_in_the_stream() {
    let server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    guard.stop().await.unwrap();
    let audit: Service<Audit> = service(&server, "audit").await;
    let mut facts = audit.facts_consumer().await.unwrap();
    let (raw, _) = tokio::time::timeout(Duration::from_secs(10), facts.recv())
        .await
        .unwrap();
    let notice = audit.open_fact(&RISK_GUARD_NOTICE, &raw).unwrap();
    assert_eq!(notice.message(), &Notice::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_has_nothing_to_say_says_that_it_lives_until_it_stops() {
    let server = BusServer::start().await;
    let audit: Service<Audit> = service(&server, "audit").await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let brain: Service<Brain> = service(&server, "brain").await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let started = Instant::now();
    let mut facts = audit.facts_consumer().await.unwrap();
    let mut word = tokio::time::interval(Duration::from_secs(4));
    // The brain has something to say all the time, so that it need not say that it lives.
    let first = loop {
        assert!(started.elapsed() < Duration::from_secs(30));
        tokio::select! {
            _ = word.tick() => {
                brain.notice(Notice::Warning { detail: Text::lossy("a word") });
            }
            (raw, acknowledger) = facts.recv() => {
                acknowledger.acknowledge().await.unwrap();
                if raw.is(&RISK_GUARD_NOTICE) {
                    break audit.open_fact(&RISK_GUARD_NOTICE, &raw).unwrap();
                }
                assert_eq!(raw.subject, "evt.brain.notice", "execution speaks for itself");
                let notice = audit.open_fact(&BRAIN_NOTICE, &raw).unwrap();
                assert!(matches!(notice.message(), Notice::Warning { .. }));
            }
        }
    };
    assert_eq!(first.message(), &Notice::Alive);
    assert!(started.elapsed() > Duration::from_secs(19));
    assert!(execution.is_sign_of_life_due());
    assert!(!execution.is_sign_of_life_due(), "it was told already");
    assert!(!brain.is_sign_of_life_due());

    guard.stop().await.unwrap();
    let last = loop {
        let (raw, acknowledger) = facts.recv().await;
        acknowledger.acknowledge().await.unwrap();
        if raw.is(&RISK_GUARD_NOTICE) {
            break audit.open_fact(&RISK_GUARD_NOTICE, &raw).unwrap();
        }
    };
    assert_eq!(last.message(), &Notice::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_on_the_same_state_is_refused() {
    let server = BusServer::start().await;
    let _first: Service<RiskGuard> = service(&server, "risk-guard").await;
    let second = Service::<RiskGuard>::start(&service_args(&server, "risk-guard")).await;
    let error = second.unwrap_err();
    assert!(matches!(error, StartError::State(_)), "{error:?}");
    assert!(
        error.next_step().contains("stop the other instance"),
        "{}",
        error.next_step()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_service_is_heard_again_and_its_old_messages_are_not() {
    let server = BusServer::start().await;
    let operator: Client<Operator> =
        Client::connect(&server.identity("operator-dev"), &server.url())
            .await
            .unwrap();
    let mut inbox = operator.listen(&[(HEARTBEAT.row, None)], 8).await.unwrap();
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let first_boot = guard.boot();
    let old = guard
        .seal(&HEARTBEAT, None, &heartbeat(1), None, None)
        .unwrap();
    guard
        .publish(&HEARTBEAT, None, &heartbeat(2), None, None)
        .unwrap();
    assert!(operator.open(&HEARTBEAT, &recv(&mut inbox).await).is_some());
    guard.stop().await.unwrap();

    let guard: Service<RiskGuard> = start_again(&server).await;
    assert!(guard.boot() > first_boot);
    guard
        .publish(&HEARTBEAT, None, &heartbeat(3), None, None)
        .unwrap();
    let heard = operator
        .open(&HEARTBEAT, &recv(&mut inbox).await)
        .unwrap()
        .fresh()
        .unwrap();
    assert_eq!(heard.message(), &heartbeat(3));
    guard.send(old).unwrap();
    assert!(
        operator.open(&HEARTBEAT, &recv(&mut inbox).await).is_none(),
        "an old boot counted"
    );
}

/// The lock on the state folder goes with the last task of the stopped service.
async fn start_again(server: &BusServer) -> Service<RiskGuard> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Service::start(&service_args(server, "risk-guard")).await {
            Ok((service, _)) => return service,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error:?}"),
        }
    }
}
