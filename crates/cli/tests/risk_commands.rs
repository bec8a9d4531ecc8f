//! Commands to risk-guard over a real bus, as processes: what they sign, how often they send it, and
//! how they end. Risk-guard is played here; it verifies every command as the real one does.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use portcullis_domain::{Hash, Posture, Span, Timestamp};
use portcullis_runtime::{Client, Raw};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::messages::{
    CommandOutcome, Notice, PendingCommand, RiskAction, RiskCommand, RiskStatus,
};
use portcullis_wire::principal::RiskGuard;
use portcullis_wire::subjects::{RISK_COMMAND, RISK_GUARD_NOTICE, RISK_STATUS};
use portcullis_wire::{Received, Text, command};
use serde_json::Value;

/// How often it says what it limits.
const STATUS_EVERY: Duration = Duration::from_millis(100);

/// A risk-guard that hears a command only when it comes again.
struct Played {
    client: Client<RiskGuard>,
    pending: Vec<PendingCommand>,
    heard: BTreeMap<Vec<u8>, usize>,
}

impl Played {
    async fn join(server: &BusServer) -> Self {
        let identity = server.identity("risk-guard");
        Self {
            client: Client::connect(&identity, &server.url()).await.unwrap(),
            pending: vec![],
            heard: BTreeMap::new(),
        }
    }

    async fn play(mut self) {
        let rows = [(RISK_COMMAND.row, None)];
        let mut inbox = self.client.listen(&rows, 64).await.unwrap();
        let mut tick = tokio::time::interval(STATUS_EVERY);
        loop {
            tokio::select! {
                _ = tick.tick() => self.say(),
                raw = inbox.recv() => self.hear(&raw.unwrap()),
            }
        }
    }

    fn say(&self) {
        let status = RiskStatus {
            posture: Posture::Cautious,
            generation: 1,
            breakers: vec![],
            halts: vec![],
            suspended: vec![],
            pending: self.pending.clone(),
            limits: vec![],
            left_out: 0,
        };
        let said = self.client.publish(&RISK_STATUS, None, &status, None, None);
        said.unwrap();
    }

    fn hear(&mut self, raw: &Raw) {
        let times = self.heard.entry(raw.bytes.to_vec()).or_default();
        *times += 1;
        if *times != 2 {
            return;
        }
        let opened = self.client.open(&RISK_COMMAND, raw);
        let verified = opened.and_then(Received::fresh).unwrap();
        let identity = self.client.identity();
        let keys = identity.trust.operator_keys();
        let command = command::verify(&verified, identity.realm, &keys).unwrap();
        let digest = verified.message().digest();
        let (outcome, detail) = self.judge(&command, digest);
        let notice = Notice::Commanded {
            operator: command.operator,
            digest,
            outcome,
            detail: Text::lossy(detail),
        };
        let said = self
            .client
            .publish(&RISK_GUARD_NOTICE, None, &notice, None, None);
        said.unwrap();
    }

    fn judge(&mut self, command: &RiskCommand, digest: Hash) -> (CommandOutcome, &'static str) {
        match command.action {
            RiskAction::LiftHalt { .. } | RiskAction::CloseBreaker { .. } => {
                let mut shown = command.clone();
                if matches!(command.action, RiskAction::CloseBreaker { .. }) {
                    // It lies: another command than was signed.
                    shown.action = RiskAction::RaisePosture;
                }
                self.pending.push(PendingCommand {
                    digest,
                    command: shown,
                    expires_at: self.client.now().plus(Span::from_secs(600)),
                });
                (CommandOutcome::AwaitsApproval, "lift")
            }
            RiskAction::Approve { digest } => {
                let before = self.pending.len();
                self.pending.retain(|one| one.digest != digest);
                match self.pending.len() < before {
                    true => (CommandOutcome::Done, "the halt is lifted"),
                    false => (CommandOutcome::Refused, "nothing of that digest waits"),
                }
            }
            RiskAction::Halt { until, .. } => {
                assert!(until > Some(Timestamp(0)), "{until:?}");
                (CommandOutcome::Done, "halted")
            }
            RiskAction::SetLimit { .. } => (CommandOutcome::Refused, "above its ceiling"),
            RiskAction::OpenBreaker { .. }
            | RiskAction::RaisePosture
            | RiskAction::Release { .. } => (CommandOutcome::Done, "done"),
        }
    }
}

/// The command, beside a risk-guard that is played on another thread.
struct Stack {
    server: BusServer,
    _runtime: tokio::runtime::Runtime,
}

impl Stack {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(BusServer::start());
        let played = runtime.block_on(Played::join(&server));
        runtime.spawn(played.play());
        Self {
            server,
            _runtime: runtime,
        }
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["--bus", &self.server.url(), "--dir"])
            .arg(self.server.folder())
            .args(line.split_whitespace())
            .output()
            .unwrap()
    }

    fn json(&self, line: &str) -> (i32, Value) {
        let output = self.run(&format!("{line} --json"));
        let text = String::from_utf8(output.stdout).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (output.status.code().unwrap(), value)
    }

    fn said(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        (output.status.code().unwrap(), text)
    }
}

#[test]
fn a_command_is_sent_again_until_it_is_answered_and_ends_as_it_was_answered() {
    let stack = Stack::start();
    let (code, value) = stack.json("halt strategy:sample --for 10m --reason drill");
    assert_eq!((code, &value["outcome"]), (0, &Value::from("done")));
    assert_eq!(value["schema"], "portcullis.command/1");
    assert_eq!(value["operator"], "operator-dev");
    let (code, said) = stack.said("limits set order_notional all 5000 --reason drill");
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("refused by risk-guard: above its ceiling") && said.contains("next step:"),
        "{said}"
    );
    let (code, said) = stack.said("limits");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("posture CAUTIOUS"), "{said}");
}

#[test]
fn what_one_operator_asks_for_another_one_approves() {
    let stack = Stack::start();
    let (code, value) = stack.json("halt lift all --reason calm");
    assert_eq!(
        (code, &value["outcome"]),
        (8, &Value::from("awaits_approval"))
    );
    let digest = value["digest"].as_str().unwrap();
    let next_step = value["next_step"].as_str().unwrap();
    let line = format!("portcullis approve {digest} --reason TEXT --operator operator-second");
    assert!(next_step.ends_with(&line), "{next_step}");

    let short = digest.get(..8).unwrap();
    let own = stack.said(&format!("approve {short} --yes --reason x"));
    assert_eq!(own.0, 3, "{}", own.1);
    assert!(own.1.contains("whoever asks does not approve"), "{}", own.1);
    let second = format!("approve {short} --reason x --operator second");
    let unasked = stack.said(&second);
    assert_eq!(unasked.0, 2, "{}", unasked.1);
    assert!(
        unasked.1.contains("what     lift the halt of all")
            && unasked.1.contains("asked    by operator-dev")
            && unasked.1.contains("nobody is there to confirm it"),
        "{}",
        unasked.1
    );
    let done = stack.said(&format!("{second} --yes"));
    assert_eq!(done.0, 0, "{}", done.1);
    assert!(done.1.contains("done: the halt is lifted"), "{}", done.1);
    let again = stack.said(&format!("{second} --yes"));
    assert_eq!(again.0, 1, "nothing waits any more: {}", again.1);
}

#[test]
fn a_risk_guard_that_shows_another_command_than_was_signed_gets_no_approval() {
    let stack = Stack::start();
    let (_, value) = stack.json("breakers close network:bybit --reason calm");
    let digest = value["digest"].as_str().unwrap();
    let line = format!("approve {digest} --yes --reason x --operator second");
    let (code, said) = stack.said(&line);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("approve nothing"), "{said}");
}
