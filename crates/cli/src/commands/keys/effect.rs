//! Whether a change of keys has arrived: seen on the running stack, not assumed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use portcullis_domain::{PrincipalName, Timestamp};
use portcullis_runtime::{Client, Raw};
use portcullis_wire::messages::Message;
use portcullis_wire::principal::{Operator, Principal};
use portcullis_wire::subjects::{
    AUDIT_STATUS, BRAIN_STATUS, EXECUTION_STATUS, MARKET_DATA_STATUS, RISK_GUARD_STATUS,
    SIGNER_STATUS, Subject,
};
use rustix::process::Pid;
use serde_json::Value;

use super::server;
use crate::commands::dev::{SERVICES, Step, fetch, left_over};
use crate::exit::{End, Failure, OrFail as _};
use crate::feed::{Where, any_operator, now};
use crate::folder::{Folder, Ports};

/// How long after the moment from which new keys are used they may take to be seen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the bus is asked who is connected.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How many statuses may wait to be read.
const QUEUE_LENGTH: usize = 1_024;

/// The local stack that runs from a folder.
pub struct LocalStack {
    folder: Folder,
    ports: Ports,
    bus: Pid,
}

impl LocalStack {
    /// The stack that was started from this folder, if its bus runs.
    pub fn find(folder: &Folder) -> Option<Self> {
        Some(Self {
            bus: server::running(folder)?,
            ports: Ports::read(folder)?,
            folder: folder.clone(),
        })
    }

    /// The folder it was started from.
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Makes the bus read its configuration again.
    ///
    /// # Errors
    /// When it is gone.
    pub fn reload(&self) -> Result<(), Failure> {
        server::reload(self.bus).or_fail("reload the bus", "look whether the stack still runs")
    }

    /// The services that run.
    pub fn services(&self) -> Vec<&'static str> {
        let runs = |name: &&str| left_over(&self.folder.pid_file(name), &self.folder).is_some();
        SERVICES.into_iter().filter(runs).collect()
    }

    /// The NKeys of everybody who is connected.
    ///
    /// # Errors
    /// When the bus does not say.
    pub async fn connected(&self) -> Result<BTreeSet<String>, Failure> {
        let next_step = "look at the log of nats-server";
        let asked = fetch(self.ports.nats_monitor, "/connz?auth=true&limit=4096").await;
        let text = asked.or_fail("ask the bus who is connected", next_step)?;
        let value: Value = serde_json::from_str(&text)
            .or_fail("understand who is connected to the bus", next_step)?;
        let connections = value.get("connections").and_then(Value::as_array);
        let users = connections.into_iter().flatten();
        let users = users.filter_map(|one| one.get("authorized_user").and_then(Value::as_str));
        Ok(users.map(str::to_owned).collect())
    }

    /// Waits until all or none of these NKeys are connected.
    ///
    /// # Errors
    /// When it does not come to that in time.
    pub async fn wait_for_login(
        &self,
        nkeys: &[String],
        there: bool,
        from: Timestamp,
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        let deadline = deadline(from);
        loop {
            let connected = self.connected().await?;
            if nkeys.iter().all(|nkey| connected.contains(nkey) == there) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = if there {
                    "the new NKey was not used in time"
                } else {
                    "the connection still stands"
                };
                return Err(Failure::new(
                    End::Unknown,
                    what,
                    "the keys are changed; look with portcullis keys doctor, and at the logs of \
                     nats-server and of the service",
                ));
            }
            step.pending(&waiting(from));
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Waits until each of these services was heard sealing with this epoch or a later one. Gives back
    /// those that were not.
    ///
    /// # Errors
    /// When nobody can listen.
    pub async fn wait_for_epoch(
        &self,
        epoch: u32,
        services: &[&'static str],
        from: Timestamp,
        step: &Step<'_>,
    ) -> Result<Vec<&'static str>, Failure> {
        let place = Where {
            folder: self.folder.clone(),
            bus: self.ports.bus_url(),
        };
        let client: Client<Operator> = place.connect(&any_operator(&self.folder)).await?;
        let rows = [
            BRAIN_STATUS.row,
            RISK_GUARD_STATUS.row,
            EXECUTION_STATUS.row,
            SIGNER_STATUS.row,
            AUDIT_STATUS.row,
            MARKET_DATA_STATUS.row,
        ];
        let rows = rows.map(|row| (row, None));
        let listening = client.listen(&rows, QUEUE_LENGTH).await;
        let mut inbox = listening.or_fail("listen to the services", "look at nats-server's log")?;
        let mut heard: BTreeMap<PrincipalName, u32> = BTreeMap::new();
        let deadline = deadline(from);
        loop {
            let missing: Vec<_> = services
                .iter()
                .copied()
                .filter(|name| {
                    let of = PrincipalName::new(name)
                        .ok()
                        .and_then(|name| heard.get(&name));
                    of.is_none_or(|used| *used < epoch)
                })
                .collect();
            if missing.is_empty() || Instant::now() >= deadline {
                client.close().await;
                return Ok(missing);
            }
            let seen = services.len().saturating_sub(missing.len());
            step.pending(&format!("{seen} of {}; {}", services.len(), waiting(from)));
            if let Ok(Some(raw)) = tokio::time::timeout(ASK_EVERY, inbox.recv()).await
                && let Some((source, used)) = epoch_of(&client, &raw)
            {
                heard.insert(source, used);
            }
        }
    }
}

/// Who sealed it, and with which epoch.
fn epoch_of(client: &Client<Operator>, raw: &Raw) -> Option<(PrincipalName, u32)> {
    of(client, &BRAIN_STATUS, raw)
        .or_else(|| of(client, &RISK_GUARD_STATUS, raw))
        .or_else(|| of(client, &EXECUTION_STATUS, raw))
        .or_else(|| of(client, &SIGNER_STATUS, raw))
        .or_else(|| of(client, &AUDIT_STATUS, raw))
        .or_else(|| of(client, &MARKET_DATA_STATUS, raw))
}

fn of<P: Principal, M: Message>(
    client: &Client<Operator>,
    subject: &Subject<P, M>,
    raw: &Raw,
) -> Option<(PrincipalName, u32)> {
    if !raw.is(subject) {
        return None;
    }
    let verified = client.open(subject, raw)?.either();
    Some((verified.source(), verified.epoch()))
}

fn deadline(from: Timestamp) -> Instant {
    Instant::now() + ahead(from) + PATIENCE
}

fn ahead(from: Timestamp) -> Duration {
    Duration::from_micros(from.0.saturating_sub(now().0))
}

fn waiting(from: Timestamp) -> String {
    match ahead(from).as_secs() {
        0 => "used from now on".to_owned(),
        seconds => format!("used in {seconds} s"),
    }
}
