//! One WebSocket: its login, its subscriptions, its heartbeat, its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hub::{QUEUE_MAX, SocketFlags};
use super::topic::Topic;
use crate::auth;
use crate::server::App;

/// Largest message a client may send, in bytes.
pub(crate) const MESSAGE_MAX: usize = 64 * 1_024;

/// Most characters of the `args` array, as the venue has it.
const ARGS_CHARACTERS_MAX: usize = 21_000;

/// Longest `req_id` that is echoed.
const REQ_ID_MAX: usize = 128;

/// A socket without any traffic is cut after this, unless the client asked otherwise.
pub(crate) const IDLE_DEFAULT: Duration = Duration::from_secs(600);

/// Which of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Public,
    Private,
}

impl Kind {
    /// Path it is connected at.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Public => "/v5/public/linear",
            Self::Private => "/v5/private",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Operation {
    #[serde(default)]
    req_id: Option<String>,
    op: String,
    #[serde(default)]
    args: Vec<Value>,
}

/// `max_active_time` of a query string: `30s` to `600s`, or `1m` to `10m`.
pub(crate) fn idle_of(query: &str) -> Option<Duration> {
    let text = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("max_active_time="))?;
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s')?, 1),
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (30..=600)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

/// Serves one socket until it ends.
pub(crate) async fn serve(app: App, kind: Kind, idle: Duration, mut socket: WebSocket) {
    let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
    let flags = Arc::new(SocketFlags::default());
    let shared = Arc::clone(&flags);
    let connected = app
        .exchange
        .run(move |state| {
            let id = state.hub.connect(kind.path(), sender, shared)?;
            let faults = state.faults.clone();
            state.hub.apply_socket_faults(&faults);
            Some(id)
        })
        .await;
    let Ok(Some(id)) = connected else { return };
    let session = Session {
        app: &app,
        kind,
        id,
        connection: format!("paper-{id:08x}"),
    };
    let mut last_traffic = Instant::now();
    loop {
        let step = tokio::select! {
            () = flags.until_cut() => break,
            () = tokio::time::sleep_until(last_traffic + idle) => break,
            message = queue.recv() => match message {
                Some(text) => deliver(&mut socket, &flags, text).await,
                None => break,
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => match session.operation(text.as_str()).await {
                    Some(reply) if !flags.is_silent() => deliver(&mut socket, &flags, reply).await,
                    Some(_) | None => Ok(()),
                },
                // The library answers WebSocket pings itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => break,
            },
        };
        if step.is_err() {
            break;
        }
        last_traffic = Instant::now();
    }
    // When the exchange has stopped there is nothing to leave.
    app.exchange.tell(move |state| state.hub.disconnect(id));
}

/// Sends a message unless the hub cuts the socket meanwhile.
async fn deliver(socket: &mut WebSocket, flags: &SocketFlags, text: String) -> Result<(), ()> {
    tokio::select! {
        () = flags.until_cut() => Err(()),
        sent = socket.send(Message::Text(text.into())) => sent.map_err(|_| ()),
    }
}

struct Session<'a> {
    app: &'a App,
    kind: Kind,
    id: u64,
    connection: String,
}

impl Session<'_> {
    /// Carries out one operation; answers what to say at once. Replies that must keep their place
    /// before a snapshot go through the hub instead.
    async fn operation(&self, text: &str) -> Option<String> {
        let Ok(operation) = serde_json::from_str::<Operation>(text) else {
            return Some(self.reply("", None, false, "Params Error"));
        };
        let req_id = operation.req_id.filter(|req_id| req_id.len() <= REQ_ID_MAX);
        let req_id = req_id.as_deref();
        match operation.op.as_str() {
            "ping" => Some(self.pong(req_id)),
            "auth" if self.kind == Kind::Private => self.login(req_id, &operation.args).await,
            "subscribe" => self.subscription(req_id, &operation.args, true).await,
            "unsubscribe" => self.subscription(req_id, &operation.args, false).await,
            _ => Some(self.reply("", req_id, false, "error:handler not found")),
        }
    }

    fn pong(&self, req_id: Option<&str>) -> String {
        match self.kind {
            Kind::Public => json!({
                "success": true,
                "ret_msg": "pong",
                "conn_id": self.connection,
                "req_id": req_id.unwrap_or_default(),
                "op": "ping",
            }),
            Kind::Private => json!({
                "req_id": req_id.unwrap_or_default(),
                "op": "pong",
                "args": [self.app.clock.now_ms().to_string()],
                "conn_id": self.connection,
            }),
        }
        .to_string()
    }

    fn reply(&self, op: &str, req_id: Option<&str>, success: bool, message: &str) -> String {
        let mut reply = json!({
            "success": success,
            "ret_msg": message,
            "op": op,
            "conn_id": self.connection,
        });
        // The public socket always has a req_id, the private one only when the client gave it.
        let echoed = match self.kind {
            Kind::Public => Some(req_id.unwrap_or_default()),
            Kind::Private => req_id,
        };
        if let (Some(req_id), Some(reply)) = (echoed, reply.as_object_mut()) {
            reply.insert("req_id".to_owned(), json!(req_id));
        }
        reply.to_string()
    }

    async fn login(&self, req_id: Option<&str>, args: &[Value]) -> Option<String> {
        let [key, expires, signature] = args else {
            return Some(self.reply("auth", req_id, false, "Params Error"));
        };
        let expires = expires.as_i64().or_else(|| expires.as_str()?.parse().ok());
        let (Some(key), Some(expires), Some(signature)) =
            (key.as_str(), expires, signature.as_str())
        else {
            return Some(self.reply("auth", req_id, false, "Params Error"));
        };
        let now = self.app.clock.now_ms();
        match auth::check_login(&self.app.accounts, now, key, expires, signature) {
            Err(refusal) => Some(self.reply("auth", req_id, false, &refusal.to_string())),
            Ok(credential) => {
                let (id, account) = (self.id, credential.account.clone());
                let reply = self.reply("auth", req_id, true, "");
                let _ = self
                    .app
                    .exchange
                    .run(move |state| {
                        state.hub.authenticate(id, &account);
                        state.hub.reply(id, reply);
                    })
                    .await;
                None
            }
        }
    }

    async fn subscription(
        &self,
        req_id: Option<&str>,
        args: &[Value],
        subscribe: bool,
    ) -> Option<String> {
        let op = if subscribe {
            "subscribe"
        } else {
            "unsubscribe"
        };
        let mut topics = Vec::new();
        let mut characters = 0_usize;
        for argument in args {
            let text = argument.as_str().unwrap_or_default();
            characters = characters.saturating_add(text.len());
            let topic = match self.kind {
                Kind::Public => Topic::public(text).filter(|topic| self.app.lists(topic.symbol())),
                Kind::Private => Topic::private(text),
            };
            match topic {
                Some(topic) if characters <= ARGS_CHARACTERS_MAX => topics.push(topic),
                Some(_) | None => {
                    let shown: String = text.chars().take(64).collect();
                    let message = format!("error:handler not found,topic:{shown}");
                    return Some(self.reply(op, req_id, false, &message));
                }
            }
        }
        if topics.is_empty() {
            return Some(self.reply(op, req_id, false, "Params Error"));
        }
        let id = self.id;
        let private = self.kind == Kind::Private;
        let accepted = self.reply(op, req_id, true, "");
        let unauthorised = self.reply(op, req_id, false, "Request not authorized");
        let too_many = self.reply(op, req_id, false, "too many topics for one connection");
        let _ = self
            .app
            .exchange
            .run(move |state| {
                if private && state.hub.account_of(id).is_none() {
                    state.hub.reply(id, unauthorised);
                } else if !subscribe {
                    state.hub.unsubscribe(id, &topics);
                    state.hub.reply(id, accepted);
                } else if state.hub.subscribe(id, &topics) {
                    if topics.contains(&Topic::Protection)
                        && let Some(account) = state.hub.account_of(id)
                    {
                        state.watch.begin(account);
                    }
                    state.hub.reply(id, accepted);
                    let now = state.clock.now_ms();
                    state.hub.snapshots(&state.engine, now, id, &topics);
                } else {
                    state.hub.reply(id, too_many);
                }
            })
            .await;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_alive_time_within_the_venues_bounds() {
        assert_eq!(
            idle_of("max_active_time=30s"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            idle_of("a=b&max_active_time=2m"),
            Some(Duration::from_secs(120))
        );
        for query in [
            "",
            "max_active_time=29s",
            "max_active_time=601s",
            "max_active_time=11m",
        ] {
            assert_eq!(idle_of(query), None, "{query}");
        }
    }
}
