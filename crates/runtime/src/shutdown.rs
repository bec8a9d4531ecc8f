//! How a service ends: by a signal, or by a fault that it cannot go on after.

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

/// What nothing can be trusted after.
#[derive(Clone, Debug)]
pub struct Fault(Arc<dyn Error + Send + Sync>);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("service stopped itself")
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// Why a service ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// SIGTERM or SIGINT, or [`crate::Service::stop`].
    Asked,
    /// A fault.
    Fault(Fault),
}

/// Resolves when the service has to end; every clone does.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Option<Ending>>);

impl Shutdown {
    /// Waits until the service has to end.
    pub async fn wait(&mut self) -> Ending {
        match self.0.wait_for(Option::is_some).await {
            Ok(ending) => (*ending).clone().unwrap_or(Ending::Asked),
            // Nobody is left to run for.
            Err(_) => Ending::Asked,
        }
    }

    /// Why it has to end, if it has to.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.0.borrow().clone()
    }
}

impl IntoFuture for Shutdown {
    type Output = Ending;
    type IntoFuture = Pin<Box<dyn Future<Output = Ending> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}

/// Where faults are reported. The first one counts.
#[derive(Clone, Debug)]
pub(crate) struct Faults(watch::Sender<Option<Ending>>);

impl Faults {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        Shutdown(self.0.subscribe())
    }

    pub(crate) fn fail(&self, error: impl Into<Box<dyn Error + Send + Sync>>) {
        let fault = Fault(Arc::from(error.into()));
        self.end(Ending::Fault(fault));
    }

    pub(crate) fn ask(&self) {
        self.end(Ending::Asked);
    }

    fn end(&self, ending: Ending) {
        self.0.send_if_modified(|current| {
            let stronger = match (&current, &ending) {
                (None, _) | (Some(Ending::Asked), Ending::Fault(_)) => true,
                (Some(_), _) => false,
            };
            if stronger {
                *current = Some(ending);
            }
            stronger
        });
    }
}

/// Turns SIGTERM and SIGINT into the wish to end.
pub(crate) fn watch_signals(faults: Faults) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        faults.ask();
    });
    Ok(())
}
