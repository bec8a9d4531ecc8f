//! At the start everybody asks the server what it may do, and goes no further when that is not what
//! the table says.

use std::fs;
use std::time::Duration;

use crate::common::{denied, service, service_args};
use crate::raw::{RawConnection, handshake, tls_config};
use portcullis_runtime::nats_config::{PROVISIONER, development_roster};
use portcullis_runtime::provision::{ProvisionError, provision};
use portcullis_runtime::{BusError, Client, Service, StartError};
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::principal::{Execution, Operator, Principal, Strategy};

/// The server's configuration with a change in one account.
fn changed(server: &BusServer, account: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(server.configuration()).unwrap();
    let begin = text.find(&format!("\n  {account} {{")).unwrap();
    let (before, rest) = text.split_at(begin);
    let (own, after) = rest.split_at(rest.find("\n  }").unwrap());
    // The permissions stand before what is exported and imported.
    let other = own.replacen(from, to, 1);
    assert_ne!(own, other, "there is no {from} in {account}");
    format!("{before}{other}{after}")
}

async fn client_error<P: Principal>(server: &BusServer, name: &str) -> StartError {
    let outcome = Client::<P>::connect(&server.identity(name), &server.url()).await;
    outcome.unwrap_err()
}

async fn service_error(server: &BusServer) -> StartError {
    let outcome = Service::<Execution>::start(&service_args(server, "execution")).await;
    outcome.unwrap_err()
}

fn expect(error: &StartError, difference: &str) {
    assert!(
        matches!(error, StartError::Bus(BusError::Rights(_))),
        "{error:?}"
    );
    let bus = std::error::Error::source(error).unwrap();
    let cause = bus.source().unwrap().to_string();
    assert!(cause.ends_with(difference), "{cause}");
    assert!(error.is_permanent(), "a supervisor must not try again");
    let next_step = error.next_step();
    assert!(next_step.contains("configuration anew"), "{next_step}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_or_too_many_ends_the_start() {
    let server = BusServer::start().await;
    let sound = fs::read_to_string(server.configuration()).unwrap();
    let sign = "          \"cmd.signer.sign\"\n";
    server.reload(&changed(&server, "EXECUTION", sign, ""));
    let error = service_error(&server).await;
    expect(&error, "of the table: missing: publish cmd.signer.sign");

    server.reload(&sound);
    let too_many = format!("{sign}          \"cmd.risk-guard.evaluate\"\n");
    server.reload(&changed(&server, "EXECUTION", sign, &too_many));
    let error = service_error(&server).await;
    expect(
        &error,
        "of the table: too many: publish cmd.risk-guard.evaluate",
    );

    server.reload(&sound);
    let receipt = "          \"cmd.execution.receipt\"\n";
    server.reload(&changed(
        &server,
        "EXECUTION",
        receipt,
        "          \"cmd.>\"\n",
    ));
    let error = service_error(&server).await;
    expect(
        &error,
        "missing: subscribe cmd.execution.receipt; too many: subscribe cmd.>",
    );

    server.reload(&sound);
    drop(service::<Execution>(&server, "execution").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_for_operators_strategies_and_the_provisioner() {
    let server = BusServer::start_bare(development_roster());
    let sound = fs::read_to_string(server.configuration()).unwrap();
    let kill = "          \"ops.kill\"\n";
    server.reload(&changed(&server, "OPERATOR_DEV", kill, ""));
    let error = client_error::<Operator>(&server, "operator-dev").await;
    expect(&error, "of the table: missing: publish ops.kill");

    server.reload(&sound);
    let too_many = format!("{kill}          \"cmd.execution.execute\"\n");
    server.reload(&changed(&server, "OPERATOR_DEV", kill, &too_many));
    let error = client_error::<Operator>(&server, "operator-dev").await;
    expect(
        &error,
        "of the table: too many: publish cmd.execution.execute",
    );

    server.reload(&sound);
    let fill = "          \"evt.execution.fill.sample\"\n";
    let others = format!("{fill}          \"evt.execution.fill.trader\"\n");
    server.reload(&changed(&server, "STRATEGY_SAMPLE", fill, &others));
    let error = client_error::<Strategy>(&server, "strategy-sample").await;
    expect(&error, "too many: subscribe evt.execution.fill.trader");

    server.reload(&sound);
    let create = "          \"$JS.API.STREAM.CREATE.FACTS_BRAIN\"\n";
    let delete = format!("{create}          \"$JS.API.STREAM.DELETE.FACTS_BRAIN\"\n");
    server.reload(&changed(&server, "STORE", create, &delete));
    let roster = development_roster();
    let outcome = provision(&server.identity(PROVISIONER), &server.url(), &roster).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ProvisionError::Rights(_)), "{error:?}");

    server.reload(&sound);
    server.provision().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_even_ask_is_told_so() {
    let server = BusServer::start_bare(development_roster());
    let question = "          \"$SYS.REQ.USER.INFO\"\n";
    server.reload(&changed(&server, "OPERATOR_DEV", question, ""));
    let begun = std::time::Instant::now();
    let error = client_error::<Operator>(&server, "operator-dev").await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let StartError::Bus(BusError::Rights(rights)) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        rights.to_string(),
        "the bus did not tell operator-dev what it may do"
    );
}

/// Admission needs a certificate of the list and the NKey of a principal. Taking a certificate off
/// the list ends the connections that were made with it.
#[test]
fn only_listed_certificates_are_admitted_and_taking_one_off_ends_its_connections() {
    let server = BusServer::start_bare(development_roster());
    let mut brain = RawConnection::connect(&server, "brain");
    let mut signer = RawConnection::connect(&server, "signer");
    let text = fs::read_to_string(server.configuration()).unwrap();
    let line = format!("    \"{}\"\n", server.pin("brain"));
    assert!(text.contains(&line));
    server.reload(&text.replace(&line, ""));

    wait_until("the end of brain's connection", || {
        // The rest of what the server said comes first.
        brain.try_line().is_none()
    });
    let config = tls_config(&server, "brain", &rustls::version::TLS13);
    let refused = handshake(&server, config).map(|mut stream| {
        use std::io::Read;
        let mut said = Vec::new();
        // Whether it closes or resets is up to the system.
        let _ = stream.read_to_end(&mut said);
        said
    });
    let said = refused.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("INFO"), "{said}");
    // Nobody else notices, and with the certificate on the list again brain is back.
    assert!(signer.say("").errors.is_empty());
    RawConnection::connect(&server, "signer");
    server.reload(&text);
    RawConnection::connect(&server, "brain");
}

/// What the server cannot do: it knows which certificates and which NKeys there are, not which
/// belong together. Whoever steals brain's NKey needs any listed certificate with its key, and is
/// brain then, not the certificate's owner.
#[test]
fn an_nkey_with_the_certificate_of_another_principal_is_who_the_nkey_says() {
    let server = BusServer::start_bare(development_roster());
    let mut mixed = RawConnection::connect_with(&server, "brain", "signer");
    let answer = mixed.say(
        "PUB cmd.risk-guard.evaluate 0\r\n\r\nPUB evt.signer.notice 0\r\n\r\nPUB echo.brain 0\r\n\r\n",
    );
    let refused: Vec<_> = denied(&answer.errors, "Publish").into_iter().collect();
    assert_eq!(refused, ["evt.signer.notice"], "it is brain and no more");
}
