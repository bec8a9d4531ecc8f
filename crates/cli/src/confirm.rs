//! Asks before something is done that cannot be taken back.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use crate::exit::{End, Failure};
use crate::output::Output;

/// Asks a person at the terminal; `yes` stands for the answer where nobody can be asked.
///
/// # Errors
/// When the answer is not yes, or there is nobody to ask.
pub fn confirm(question: &str, yes: bool, output: &Output) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || output.is_json() {
        return Err(Failure::new(
            End::Usage,
            "nobody is there to confirm it",
            "add --yes if it is meant",
        ));
    }
    let mut stderr = io::stderr();
    // With a stderr that is gone nobody sees the question, and the answer will not be yes.
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    answered(io::stdin().lock())
}

fn answered(mut reader: impl BufRead) -> Result<(), Failure> {
    let mut answer = String::new();
    let read = reader.read_line(&mut answer);
    let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if read.is_ok() && is_yes {
        return Ok(());
    }
    Err(Failure::new(
        End::Denied,
        "it was not confirmed, and nothing was changed",
        "answer y to go ahead",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for text in ["y\n", "Y\n", " yes \n"] {
            assert!(answered(text.as_bytes()).is_ok(), "{text:?}");
        }
        for text in ["", "\n", "n\n", "yep\n", "no, yes\n"] {
            let refused = answered(text.as_bytes()).unwrap_err();
            assert_eq!(refused.end, End::Denied, "{text:?}");
        }
    }

    #[test]
    fn a_script_has_to_say_yes() {
        let json = Output::of(true, false, true);
        assert_eq!(confirm("?", false, &json).unwrap_err().end, End::Usage);
        assert!(confirm("?", true, &json).is_ok());
    }
}
