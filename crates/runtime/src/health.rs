//! Answers whether the service lives and works, and its metrics, over plain HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::bus::Bus;
use crate::service::StartError;
use crate::{file, telemetry};

/// Whether the service does its work. Clones share it.
#[derive(Clone)]
pub(crate) struct Health(Arc<Inner>);

struct Inner {
    readiness: Mutex<Readiness>,
    /// Without its connection no service does its work, whatever it says.
    bus: OnceLock<Bus>,
}

struct Readiness {
    ready: bool,
    detail: String,
}

impl Health {
    pub(crate) fn new() -> Self {
        let readiness = Readiness {
            ready: false,
            detail: "starting".into(),
        };
        Self(Arc::new(Inner {
            readiness: Mutex::new(readiness),
            bus: OnceLock::new(),
        }))
    }

    pub(crate) fn watch(&self, bus: Bus) {
        // It is set once, at the start.
        let _ = self.0.bus.set(bus);
    }

    pub(crate) fn set(&self, ready: bool, detail: &str) {
        let mut readiness = self
            .0
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if readiness.ready == ready && readiness.detail == detail {
            return;
        }
        if readiness.ready != ready {
            tracing::info!(ready, detail, "readiness changed");
            metrics::gauge!("portcullis_ready").set(if ready { 1.0 } else { 0.0 });
        }
        *readiness = Readiness {
            ready,
            detail: detail.into(),
        };
    }
}

/// Listens, writes the chosen port down, and answers for as long as the process lives.
pub(crate) async fn serve(
    health: &Health,
    address: SocketAddr,
    port_file: Option<&Path>,
) -> Result<SocketAddr, StartError> {
    let metrics = telemetry::recorder();
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|cause| StartError::Health { address, cause })?;
    let chosen = listener
        .local_addr()
        .map_err(|cause| StartError::Health { address, cause })?;
    if let Some(path) = port_file {
        file::replace(path, format!("{}\n", chosen.port()).as_bytes()).map_err(|cause| {
            StartError::HealthPort {
                path: path.into(),
                cause,
            }
        })?;
    }
    let router = Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async move || metrics.render()))
        .with_state(health.clone());
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "health server stopped");
        }
    });
    Ok(chosen)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let readiness = health
        .0
        .readiness
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if health.0.bus.get().is_some_and(|bus| !bus.is_connected()) {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "not connected to the bus\n".into(),
        );
    }
    let code = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{}\n", readiness.detail))
}
