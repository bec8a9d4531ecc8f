//! An exchange that is not there when the services start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use portcullis_domain::Reason;

use crate::envelopes;
use crate::support::{Stack, binaries, wait_for};

/// As long as this file is beside the stack's folder, the exchange does not start.
const AWAY: &str = "exchange-is-away";

/// Arguments of `dev up` for an exchange that can be kept away.
pub fn arguments(folder: &Path) -> Vec<String> {
    let built = binaries();
    let own = folder.join("binaries");
    std::fs::create_dir(&own).unwrap();
    for name in [
        "market-data",
        "audit",
        "signer",
        "risk-guard",
        "execution",
        "brain",
    ] {
        std::os::unix::fs::symlink(built.join(name), own.join(name)).unwrap();
    }
    let script = format!(
        "#!/bin/sh\nwhile [ -e '{}' ]; do sleep 0.05; done\nexec '{}' \"$@\"\n",
        folder.join(AWAY).display(),
        built.join("paper-exchange").display()
    );
    let path = own.join("paper-exchange");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    vec![format!("--binaries={}", own.display())]
}

pub fn away_at_start_is_waited_for(stack: &Stack) {
    let folder = stack.folder();
    let away = folder.parent().unwrap().join(AWAY);
    std::fs::write(&away, "").unwrap();
    stack.kill_and_wait("paper-exchange");
    let services = [
        ("market-data", "no stream of the venue"),
        ("execution", "NOT_RECONCILED"),
    ];
    for (service, _) in services {
        stack.kill_and_wait(service);
    }
    let started = services.map(|(service, _)| stack.pid(service).unwrap());
    for (service, why) in services {
        let said = wait_for(
            &format!("{service} says that the exchange is away"),
            Duration::from_secs(20),
            || {
                let ready = stack.health(service, "/readyz")?;
                let says = ready.body.contains(why);
                says.then_some(ready)
            },
        );
        assert_eq!(said.status, 503, "{service}: {}", said.body);
        assert_eq!(stack.health(service, "/healthz").unwrap().status, 200);
    }
    let status = stack.portcullis(&["status"]).1;
    assert_ne!(status["standing"], "trading", "{status}");
    let refused = envelopes::is_refused_although_right(stack);
    assert!(
        matches!(refused, Reason::StaleMarketData | Reason::NotReconciled),
        "{refused}"
    );
    std::fs::remove_file(&away).unwrap();
    stack.wait_until_trading(Duration::from_secs(60));
    let after = services.map(|(service, _)| stack.pid(service).unwrap());
    assert_eq!(after, started, "they waited, and were not started again");
}
