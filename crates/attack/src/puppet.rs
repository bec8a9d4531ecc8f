//! A thief on a thread of its own, doing one thing again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::stolen::Thief;

/// Goes on until it is dropped, or the bus has enough of it.
pub struct Puppet {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Puppet {
    /// Does something now and then after each pause.
    pub fn start(
        mut thief: Thief,
        pause: Duration,
        mut act: impl FnMut(&mut Thief) -> Result<()> + Send + 'static,
    ) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) && act(&mut thief).is_ok() {
                std::thread::park_timeout(pause);
            }
        });
        Self {
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only ever ends in order.
            let _ = thread.join();
        }
    }
}
