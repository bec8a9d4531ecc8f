//! Reads settings: TOML, unknown keys refused, every problem named with file and line.
//!
//! Settings have two types: a raw one that serde fills, and the checked one that the service builds
//! from it. [`Problems`] collects what is wrong with the raw one, so that all of it is said at once.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::file;

/// The longest settings file.
const LENGTH_MAX: usize = 1 << 20;

/// Why settings were not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("read settings {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file is longer than any settings are.
    #[error("settings {path} are longer than {LENGTH_MAX} bytes")]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// Not TOML, an unknown key, a missing key or a value of another type.
    #[error("{path}:{line}: {problem}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Every value was readable, some make no sense.
    #[error("{path}: {problems}")]
    Values {
        /// Which file.
        path: PathBuf,
        /// What is wrong with them.
        problems: Problems,
    },
}

impl ConfigError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("check that {} exists and is readable", path.display())
            }
            Self::TooLong { path } | Self::Syntax { path, .. } | Self::Values { path, .. } => {
                format!("correct {}", path.display())
            }
        }
    }
}

/// What is wrong with settings, all of it.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

#[derive(Debug)]
struct Problem {
    key: String,
    problem: String,
}

impl Problems {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the value of `key` (such as `strategies.sample.budget`) is wrong; `problem` says
    /// what would be right.
    pub fn add(&mut self, key: impl Into<String>, problem: impl fmt::Display) {
        self.0.push(Problem {
            key: key.into(),
            problem: problem.to_string(),
        });
    }

    /// Takes the value of a check, or notes its error under `key`.
    pub fn take<T, E: fmt::Display>(&mut self, key: &str, checked: Result<T, E>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(problem) => {
                self.add(key, problem);
                None
            }
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The checked settings, unless something is wrong with them.
    ///
    /// # Errors
    /// [`ConfigError::Values`] with everything that was noted, or when there is no value.
    pub fn into_result<T>(mut self, path: &Path, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            Some(_) | None => {
                if self.is_empty() {
                    self.add("(file)", "is incomplete");
                }
                Err(ConfigError::Values {
                    path: path.into(),
                    problems: self,
                })
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { key, problem }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{key} {problem}")?;
        }
        Ok(())
    }
}

/// Reads a settings file into its raw type, which must refuse unknown keys
/// (`#[serde(deny_unknown_fields)]`).
///
/// # Errors
/// [`ConfigError`], with file and line where there is one.
pub fn load<Raw: DeserializeOwned>(path: &Path) -> Result<Raw, ConfigError> {
    let read_error = |cause| ConfigError::Read {
        path: path.into(),
        cause,
    };
    let file = File::open(path).map_err(read_error)?;
    let bytes = file::read_bounded(file, LENGTH_MAX)
        .map_err(read_error)?
        .ok_or_else(|| ConfigError::TooLong { path: path.into() })?;
    let text = String::from_utf8(bytes).map_err(|cause| {
        let line = line_of(cause.as_bytes(), cause.utf8_error().valid_up_to());
        ConfigError::Syntax {
            path: path.into(),
            line,
            problem: "is not UTF-8 text".into(),
        }
    })?;
    parse(path, &text)
}

/// As [`load`], from a text that was read already; `path` is only named in errors.
///
/// # Errors
/// [`ConfigError::Syntax`].
pub fn parse<Raw: DeserializeOwned>(path: &Path, text: &str) -> Result<Raw, ConfigError> {
    toml::from_str(text).map_err(|cause| {
        let at = cause.span().map_or(0, |span| span.start);
        let problem = cause.message().trim().replace('\n', ", ");
        ConfigError::Syntax {
            path: path.into(),
            line: line_of(text.as_bytes(), at),
            problem,
        }
    })
}

fn line_of(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        #[expect(dead_code, reason = "only its reading is tested")]
        limit: u64,
    }

    fn problem(text: &str) -> String {
        parse::<Raw>(Path::new("a/b.toml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_what_would_be_right() {
        assert_eq!(
            problem("# limits\nlimit = 1\nlimti = 2\n"),
            "a/b.toml:3: unknown field `limti`, expected `limit`"
        );
    }

    #[test]
    fn a_missing_key_a_wrong_type_and_bad_syntax_have_their_line() {
        assert_eq!(problem("\n"), "a/b.toml:1: missing field `limit`");
        let wrong = problem("\nlimit = \"1\"\n");
        assert_eq!(
            wrong,
            "a/b.toml:2: invalid type: string \"1\", expected u64"
        );
        let syntax = problem("limit = 1\nx = [\n");
        assert!(syntax.starts_with("a/b.toml:2: "), "{syntax}");
        assert!(!syntax.contains('\n'), "{syntax}");
    }

    #[test]
    fn all_problems_are_said_at_once() {
        let mut problems = Problems::new();
        let first: Option<u8> = problems.take("a.b", "300".parse::<u8>());
        problems.add("c", "is 0: at least 1 is needed");
        let error = problems
            .into_result(Path::new("x.toml"), first)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "x.toml: a.b number too large to fit in target type; c is 0: at least 1 is needed"
        );
    }

    #[test]
    fn a_value_is_never_lost_between_the_checks() {
        assert!(Problems::new().into_result(Path::new("x"), Some(1)).is_ok());
        assert!(
            Problems::new()
                .into_result(Path::new("x"), None::<u8>)
                .is_err()
        );
    }

    #[test]
    fn a_file_that_is_too_long_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, vec![b'#'; LENGTH_MAX + 1]).unwrap();
        assert!(matches!(
            load::<Raw>(&path),
            Err(ConfigError::TooLong { .. })
        ));
        std::fs::write(&path, b"#\n\xff").unwrap();
        assert!(matches!(
            load::<Raw>(&path),
            Err(ConfigError::Syntax { line: 2, .. })
        ));
        std::fs::remove_file(&path).unwrap();
        let error = load::<Raw>(&path).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error:?}");
    }
}
