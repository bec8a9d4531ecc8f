//! Real services fall silent on the real bus, and the real audit has it on its record.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use audit::verify::entries;
use audit_core::Own;
use portcullis_runtime::{Service, ServiceArgs, ServiceRole};
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;
use portcullis_wire::principal::{Brain, Signer};

/// Audit as a process of its own, for which a second without a fact is silence.
struct Audit<'a> {
    server: &'a BusServer,
    process: Child,
}

impl<'a> Audit<'a> {
    fn start(server: &'a BusServer) -> Self {
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/audit.toml");
        let settings = fs::read_to_string(settings).unwrap();
        let (known, short) = ("silence_timeout_ms = 60000", "silence_timeout_ms = 1000");
        assert!(settings.contains(known));
        let config = server.folder().join("audit.toml");
        fs::write(&config, settings.replace(known, short)).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_audit"))
            .arg("--config")
            .arg(config)
            .arg("--identity")
            .arg(server.identity("audit"))
            .arg("--state")
            .arg(server.folder().join("audit"))
            .arg("--health-port-file")
            .arg(server.folder().join("port"))
            .args(["--bus", &server.url()])
            .env("RUST_LOG", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { server, process }
    }

    /// How often the silence of a source is on the record.
    fn silences(&self, of: &str) -> usize {
        let Ok(entries) = entries(&self.server.folder().join("audit/log")) else {
            // Audit has not made it yet.
            return 0;
        };
        let own = entries.filter_map(|entry| entry.ok()?.own());
        own.filter(|own| matches!(own, Own::Silence { source, .. } if source.as_str() == of))
            .count()
    }

    fn wait_for(&self, of: &str, silences: usize) {
        wait_until(&format!("{silences} silences of {of}"), || {
            self.silences(of) == silences
        });
    }

    /// Waits until what audit answers on a path contains a text.
    fn wait_for_answer(&self, path: &str, text: &str) {
        wait_until(&format!("{text} on {path}"), || {
            let port = fs::read_to_string(self.server.folder().join("port"));
            let Ok(port) = port.unwrap_or_default().trim().parse::<u16>() else {
                return false;
            };
            let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else {
                return false;
            };
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: audit\r\nConnection: close\r\n\r\n");
            let mut answer = String::new();
            socket.write_all(request.as_bytes()).is_ok()
                && socket.read_to_string(&mut answer).is_ok()
                && answer.contains(text)
        });
    }

    fn restart(mut self) -> Self {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        Self::start(self.server)
    }
}

impl Drop for Audit<'_> {
    fn drop(&mut self) {
        // One that ended by itself has made its test fail already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn service<P: ServiceRole>(server: &BusServer, name: &str) -> Service<P> {
    let arguments = ServiceArgs {
        config: "unused".into(),
        identity: server.identity(name),
        identity_key: None,
        state: server.folder().join(name),
        bus: server.url(),
        health: ([127, 0, 0, 1], 0).into(),
        health_port_file: None,
        otlp: None,
    };
    Service::start(&arguments).await.unwrap().0
}

fn say<P: ServiceRole>(service: &Service<P>) {
    let detail = Text::lossy("something");
    service.notice(Notice::Warning { detail });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_falls_silent_is_on_the_record_and_one_that_has_stopped_is_not() {
    let server = BusServer::start().await;
    let audit = Audit::start(&server);
    audit.wait_for_answer("/readyz", "recording\n");
    let brain: Service<Brain> = service(&server, "brain").await;
    say(&brain);
    audit.wait_for("brain", 1);
    audit.wait_for_answer("/metrics", "portcullis_source_silent{source=\"brain\"} 1\n");
    audit.wait_for_answer("/readyz", "recording; nothing is heard of brain\n");

    // It is heard again, and falls silent again.
    say(&brain);
    audit.wait_for("brain", 2);

    // Who says that it ends may be silent.
    brain.stop().await.unwrap();
    audit.wait_for_answer("/metrics", "portcullis_source_silent{source=\"brain\"} 0\n");
    let signer: Service<Signer> = service(&server, "signer").await;
    say(&signer);
    audit.wait_for("signer", 1);
    assert_eq!(audit.silences("brain"), 2, "it had said that it ends");

    // A restarted audit knows from its log who should be heard.
    let audit = audit.restart();
    audit.wait_for("signer", 2);
    assert_eq!(audit.silences("brain"), 2, "it had said that it ends");
    audit.wait_for_answer("/readyz", "recording; nothing is heard of signer\n");
}
