//! Follows a log from its first entry to its last, without writing anything.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use audit_core::{ChainKey, Entry, Follower};
use portcullis_domain::Hash;

use super::segment::{self, Scan, Step, to_u64};
use super::tail::{self, Tail};
use super::{LogError, Problem};

/// How often a writer that is at work is looked at again.
pub const PAUSE: Duration = Duration::from_millis(5);

/// Where a log ends.
#[derive(Clone, Debug)]
pub struct End {
    /// The last segment.
    pub path: PathBuf,
    /// Where in it the next record goes.
    pub offset: u64,
    /// How many bytes of an unfinished write stand there.
    pub torn: u64,
}

/// Follows a log.
#[derive(Debug)]
pub struct Walker {
    later: VecDeque<(u64, PathBuf)>,
    path: PathBuf,
    scan: Option<Scan>,
    follower: Follower,
    bytes: u64,
    /// Until when a writer may still finish what it has begun.
    until: Option<Instant>,
    patience: Duration,
    end: Option<End>,
}

impl Walker {
    /// With a key, the MACs are checked too. A writer that is at work gets `patience` to finish a
    /// write.
    pub fn new(folder: &Path, key: Option<ChainKey>, patience: Duration) -> Result<Self, LogError> {
        let listed = segment::list(folder);
        let later = listed.map_err(|cause| LogError::io("list the segments in", folder, cause))?;
        Ok(Self {
            later: later.into(),
            path: folder.into(),
            scan: None,
            follower: Follower::new(key),
            bytes: 0,
            until: None,
            patience,
            end: None,
        })
    }

    /// Whether there is no segment at all.
    pub fn is_empty(&self) -> bool {
        self.later.is_empty() && self.scan.is_none() && self.end.is_none()
    }

    /// How many entries held so far.
    pub fn size(&self) -> u64 {
        self.follower.size()
    }

    /// How many bytes of records held so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next entry and its hash; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(Entry<'_>, Hash)>, LogError> {
        let Some(range) = self.advance()? else {
            return Ok(None);
        };
        let Some(scan) = &self.scan else {
            return Ok(None);
        };
        let payload = scan.payload(range);
        self.bytes = self.bytes.saturating_add(to_u64(payload.len()));
        let number = self.follower.size();
        let followed = self.follower.follow(payload);
        followed.map(Some).map_err(|broken| LogError::Damaged {
            entry: number,
            path: self.path.clone(),
            offset: scan.offset(),
            problem: Problem::Broken(broken),
        })
    }

    /// An error at the entry that was given last.
    pub fn damaged(&self, entry: u64, problem: Problem) -> LogError {
        let offset = self.scan.as_ref().map_or(0, Scan::offset);
        LogError::Damaged {
            entry,
            path: self.path.clone(),
            offset,
            problem,
        }
    }

    /// The hash of the last entry that held; zeroes before the first.
    pub fn head(&self) -> Hash {
        self.follower.head()
    }

    /// Where the log ends, once it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The end of the chain, and where the log ends; `None` for a log without a segment.
    pub fn into_end(self) -> (Follower, Option<End>) {
        (self.follower, self.end)
    }

    fn advance(&mut self) -> Result<Option<Range<usize>>, LogError> {
        loop {
            if self.end.is_some() {
                return Ok(None);
            }
            let Some(scan) = &mut self.scan else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            let step = scan.step();
            let step = step.map_err(|cause| LogError::io("read segment", &self.path, cause))?;
            let problem = match step {
                Step::Record(range) => {
                    self.until = None;
                    return Ok(Some(range));
                }
                Step::End => None,
                Step::Unfit(problem) => Some(problem),
            };
            let rest = scan.rest();
            let rest = rest.map_err(|cause| LogError::io("read segment", &self.path, cause))?;
            let offset = scan.offset();
            if !self.later.is_empty() {
                if let Some(problem) = problem.or((!rest.is_empty()).then_some(Problem::Trailing)) {
                    return Err(self.damaged(self.size(), problem));
                }
                self.scan = None;
                continue;
            }
            let judged = tail::judge(&rest, offset);
            if judged != Tail::Clean && self.wait() {
                continue;
            }
            let torn = match judged {
                Tail::Clean => 0,
                Tail::Torn(bytes) => bytes,
                Tail::Damaged => {
                    let problem = problem.unwrap_or(Problem::Trailing);
                    return Err(self.damaged(self.size(), problem));
                }
            };
            self.end = Some(End {
                path: self.path.clone(),
                offset,
                torn,
            });
        }
    }

    fn open_next(&mut self) -> Result<bool, LogError> {
        let Some((first, path)) = self.later.pop_front() else {
            return Ok(false);
        };
        self.path = path;
        if first != self.size() {
            return Err(self.damaged(self.size(), Problem::Missing { found: first }));
        }
        let scan = Scan::open(&self.path);
        self.scan = Some(scan.map_err(|cause| LogError::io("open segment", &self.path, cause))?);
        Ok(true)
    }

    /// Gives a writer time; says whether it is worth looking again.
    fn wait(&mut self) -> bool {
        let now = Instant::now();
        let until = *self.until.get_or_insert(now + self.patience);
        if now >= until {
            return false;
        }
        std::thread::sleep(PAUSE);
        if let Some(scan) = &mut self.scan {
            scan.reload();
        }
        true
    }
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            cause,
        }
    }
}
