//! The facts of a running stack, opened with an operator's or a strategy's keys.

use std::path::Path;
use std::time::Duration;

use portcullis_domain::Timestamp;
use portcullis_runtime::nats_config::OperatorId;
use portcullis_runtime::{Client, Clock, Inbox, Raw};
use portcullis_wire::Received;
use portcullis_wire::messages::{Message, Notice, ServiceStatus};
use portcullis_wire::principal::{Operator, Principal, Role};
use portcullis_wire::subjects::{
    AUDIT_STATUS, BRAIN_NOTICE, BRAIN_STATUS, CHECKPOINT, DECISION, EXECUTION_NOTICE,
    EXECUTION_STATUS, FILL, MARKET_DATA_NOTICE, MARKET_DATA_STATUS, REPORT, RISK_GUARD_NOTICE,
    RISK_GUARD_STATUS, RISK_STATUS, Row, SIGNER_NOTICE, SIGNER_STATUS, Subject, VERDICT,
};

use crate::exit::{End, Failure, OrFail as _};
use crate::folder::{Folder, Ports};
use crate::view::View;

/// The operator of a development folder.
pub const OPERATOR: &str = "operator-dev";
/// How long the bus may take to let somebody in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How many messages may wait to be read.
const QUEUE_LENGTH: usize = 8_192;

/// An operator to listen as, where it does not matter which: all of them see the same.
#[must_use]
pub fn any_operator(folder: &Folder) -> String {
    let first = folder.operators().into_iter().next();
    first.unwrap_or_else(|| OPERATOR.to_owned())
}

/// As which operator a command speaks.
#[derive(Debug, clap::Args)]
pub struct AsOperator {
    /// The operator to log in as, such as operator-second [default: operator-dev, or the only one
    /// with an identity in the folder]
    #[arg(long, value_name = "NAME", value_parser = operator)]
    operator: Option<String>,
}

/// With or without the prefix that every operator's name has.
fn operator(text: &str) -> Result<String, String> {
    let prefix = Role::Operator.name();
    let id = text.strip_prefix(prefix).unwrap_or(text);
    let id = OperatorId::new(id).map_err(|problem| problem.to_string())?;
    Ok(format!("{prefix}{id}"))
}

impl AsOperator {
    /// Whose identity to take.
    ///
    /// # Errors
    /// When there is none of that name, or nobody said which of several.
    pub fn among(&self, folder: &Folder) -> Result<String, Failure> {
        let held = folder.operators();
        let problem = match (&self.operator, held.as_slice()) {
            (Some(asked), _) if held.contains(asked) => return Ok(asked.clone()),
            (None, [only]) => return Ok(only.clone()),
            // A local stack has a second operator only for approving what the first one asks for.
            (None, several) if several.iter().any(|name| name == OPERATOR) => {
                return Ok(OPERATOR.to_owned());
            }
            (_, []) => "there is no identity of an operator".to_owned(),
            (Some(asked), _) => format!("there is no identity of {asked}"),
            (None, _) => "there are identities of several operators".to_owned(),
        };
        let next_step = if held.is_empty() {
            "name the folder that has one: --dir FOLDER".to_owned()
        } else {
            format!("say as whom: --operator {}", held.join(" or --operator "))
        };
        let path = folder.identities();
        Err(Failure::new(
            End::Usage,
            format!("{problem} in {}", path.display()),
            next_step,
        ))
    }
}

/// Who speaks to which bus.
#[derive(Clone, Debug)]
pub struct Where {
    /// The folder with the identities.
    pub folder: Folder,
    /// The address of the bus.
    pub bus: String,
}

impl Where {
    /// The folder that was asked for or found, and the bus that was asked for or recorded there.
    ///
    /// # Errors
    /// When there is no folder, or nothing is known to run.
    pub fn find(dir: Option<&Path>, bus: Option<&str>) -> Result<Self, Failure> {
        let folder = Folder::find(dir)?;
        let recorded = || Ports::read(&folder).map(|ports| ports.bus_url());
        let bus = bus.map(str::to_owned).or_else(recorded).ok_or_else(|| {
            Failure::new(
                End::Failed,
                format!("nothing has been started from {}", folder.path().display()),
                "start the stack: ./scripts/up",
            )
        })?;
        Ok(Self { folder, bus })
    }

    /// Logs in as one of the folder's principals.
    ///
    /// # Errors
    /// When the bus does not answer or does not know the identity.
    pub async fn connect<P: Principal>(&self, principal: &str) -> Result<Client<P>, Failure> {
        let identity = self.folder.identity(principal);
        let client = Client::connect(&identity, &self.bus);
        let next_step = "look whether the stack runs and start it if not: ./scripts/up";
        tokio::time::timeout(CONNECT_PATIENCE, client)
            .await
            .or_fail(
                format!("the bus at {} does not answer", self.bus),
                next_step,
            )?
            .or_fail(
                format!("log in to the bus at {} as {principal}", self.bus),
                next_step,
            )
    }
}

/// An operator's view of everything, kept up to date.
pub struct Watcher {
    /// What was seen so far.
    pub view: View,
    client: Client<Operator>,
    inbox: Inbox,
}

impl Watcher {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the bus does not let this operator in.
    pub async fn open(place: &Where, operator: &str) -> Result<Self, Failure> {
        let client: Client<Operator> = place.connect(operator).await?;
        let mut subjects: Vec<(&'static Row, Option<&str>)> = vec![
            (BRAIN_NOTICE.row, None),
            (RISK_GUARD_NOTICE.row, None),
            (EXECUTION_NOTICE.row, None),
            (SIGNER_NOTICE.row, None),
            (MARKET_DATA_NOTICE.row, None),
            (BRAIN_STATUS.row, None),
            (RISK_GUARD_STATUS.row, None),
            (RISK_STATUS.row, None),
            (EXECUTION_STATUS.row, None),
            (SIGNER_STATUS.row, None),
            (AUDIT_STATUS.row, None),
            (MARKET_DATA_STATUS.row, None),
            (CHECKPOINT.row, None),
        ];
        // Nobody on the bus may use a wildcard: the strategies are listened to one by one.
        let strategies = place.folder.strategies();
        for strategy in &strategies {
            for row in [DECISION.row, VERDICT.row, REPORT.row, FILL.row] {
                subjects.push((row, Some(strategy)));
            }
        }
        let inbox = client.listen(&subjects, QUEUE_LENGTH).await.or_fail(
            "listen to the facts on the bus",
            "look at the log of nats-server",
        )?;
        Ok(Self {
            view: View::default(),
            client,
            inbox,
        })
    }

    /// The login that is used.
    #[must_use]
    pub const fn client(&self) -> &Client<Operator> {
        &self.client
    }

    /// Waits for the next message; `None` when the bus is gone for good. Safe to be abandoned.
    pub async fn next(&mut self) -> Option<Raw> {
        self.inbox.recv().await
    }

    /// Adds a message to the view. What does not verify changes nothing.
    pub fn apply(&mut self, raw: &Raw) {
        let at = raw.received_at;
        if raw.is(&DECISION) {
            if let Some((name, message)) = named(&self.client, &DECISION, raw) {
                self.view.decision(at, name, &message);
            }
        } else if raw.is(&VERDICT) {
            if let Some((name, message)) = named(&self.client, &VERDICT, raw) {
                self.view.verdict(at, name, &message);
            }
        } else if raw.is(&REPORT) {
            if let Some((_, message)) = named(&self.client, &REPORT, raw) {
                self.view.report(at, &message);
            }
        } else if raw.is(&FILL) {
            if let Some((name, message)) = named(&self.client, &FILL, raw) {
                self.view.fill(at, name, &message);
            }
        } else if raw.is(&EXECUTION_STATUS) {
            if let Some(message) = fresh(&self.client, &EXECUTION_STATUS, raw) {
                self.view.execution(at, message);
            }
        } else if raw.is(&RISK_STATUS) {
            if let Some(message) = fresh(&self.client, &RISK_STATUS, raw) {
                self.view.risk(at, message);
            }
        } else if raw.is(&CHECKPOINT) {
            self.checkpoint(at, raw);
        } else {
            self.notice(&BRAIN_NOTICE, raw);
            self.notice(&RISK_GUARD_NOTICE, raw);
            self.notice(&EXECUTION_NOTICE, raw);
            self.notice(&SIGNER_NOTICE, raw);
            self.notice(&MARKET_DATA_NOTICE, raw);
            self.status(&BRAIN_STATUS, raw);
            self.status(&RISK_GUARD_STATUS, raw);
            self.status(&SIGNER_STATUS, raw);
            self.status(&AUDIT_STATUS, raw);
            self.status(&MARKET_DATA_STATUS, raw);
        }
    }

    /// Reads for so long, or until `enough` says so; whether it did.
    pub async fn watch_until(
        &mut self,
        patience: Duration,
        enough: impl Fn(&View) -> bool,
    ) -> bool {
        let reading = async {
            while !enough(&self.view) {
                let Some(raw) = self.inbox.recv().await else {
                    return false;
                };
                self.apply(&raw);
            }
            true
        };
        tokio::time::timeout(patience, reading)
            .await
            .unwrap_or(false)
    }

    fn notice<P: Principal>(&mut self, subject: &Subject<P, Notice>, raw: &Raw) {
        if raw.is(subject)
            && let Some(notice) = fresh(&self.client, subject, raw)
        {
            self.view.notice(raw.received_at, P::ROLE, &notice);
        }
    }

    fn status<P: Principal>(&mut self, subject: &Subject<P, ServiceStatus>, raw: &Raw) {
        if raw.is(subject)
            && let Some(status) = fresh(&self.client, subject, raw)
        {
            self.view.status(raw.received_at, P::ROLE, &status);
        }
    }

    fn checkpoint(&mut self, at: Timestamp, raw: &Raw) {
        let Some(signed) = fresh(&self.client, &CHECKPOINT, raw) else {
            return;
        };
        let identity = self.client.identity();
        let key = identity.trust.audit.as_ref();
        match key.map(|key| signed.verify(key)) {
            Some(Ok(checkpoint)) => self.view.checkpoint(at, checkpoint),
            Some(Err(_)) | None => self.view.checkpoint_unsigned(at),
        }
    }
}

/// The message, if its envelope holds and it comes for the first time.
pub fn fresh<Me: Principal, P: Principal, M: Message + Clone>(
    client: &Client<Me>,
    subject: &Subject<P, M>,
    raw: &Raw,
) -> Option<M> {
    let verified = client.open(subject, raw).and_then(Received::fresh)?;
    Some(verified.message().clone())
}

/// The same, with the name in its subject.
fn named<'a, M: Message + Clone, P: Principal>(
    client: &Client<Operator>,
    subject: &Subject<P, M>,
    raw: &'a Raw,
) -> Option<(&'a str, M)> {
    let message = fresh(client, subject, raw)?;
    Some((subject.row.name_in(&raw.subject).unwrap_or("-"), message))
}

/// The present.
#[must_use]
pub fn now() -> Timestamp {
    Clock::system().now()
}
