//! What a check has to say about one place.

use std::fmt;

/// One refusal: where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// A path relative to the workspace's root.
    pub place: String,
    /// Counted from 1; absent where the whole file is meant.
    pub line: Option<usize>,
    /// One sentence: what is wrong, and what to do.
    pub problem: String,
}

impl Finding {
    /// A finding about a file as a whole.
    pub fn file(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            line: None,
            problem: problem.into(),
        }
    }

    /// A finding about one line, counted from 1.
    pub fn line(place: impl Into<String>, line: usize, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            line: Some(line),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.place, self.problem),
            None => write!(f, "{}: {}", self.place, self.problem),
        }
    }
}
