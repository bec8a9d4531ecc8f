//! Unguessable bytes from the operating system.

use portcullis_domain::EnvelopeId;

/// Random bytes, asked for in larger pieces than are used, because each question is a system call.
pub(crate) struct Random {
    pool: [u8; 512],
    used: usize,
}

impl Random {
    pub(crate) const fn new() -> Self {
        Self {
            pool: [0; 512],
            used: 512,
        }
    }

    /// Sixteen bytes nobody has seen.
    pub(crate) fn bytes16(&mut self) -> Result<[u8; 16], getrandom::Error> {
        if self.used.saturating_add(16) > self.pool.len() {
            getrandom::fill(&mut self.pool)?;
            self.used = 0;
        }
        let end = self.used.saturating_add(16);
        let mut bytes = [0; 16];
        if let Some(fresh) = self.pool.get_mut(self.used..end) {
            bytes.copy_from_slice(fresh);
            fresh.fill(0);
        }
        self.used = end;
        Ok(bytes)
    }

    /// Thirty-two bytes nobody has seen.
    pub(crate) fn bytes32(&mut self) -> Result<[u8; 32], getrandom::Error> {
        let mut bytes = [0; 32];
        for half in bytes.chunks_exact_mut(16) {
            half.copy_from_slice(&self.bytes16()?);
        }
        Ok(bytes)
    }
}

/// A fresh, unguessable id.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn envelope_id() -> Result<EnvelopeId, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(EnvelopeId(bytes))
}
