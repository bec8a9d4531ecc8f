//! Rules for Rust sources, over tokens.

use crate::attributes::attributes;
use crate::finding::Finding;
use crate::lexer::{TokenKind, lex};

/// Ignored tests, unfinished code, and lint exceptions that do not say why.
pub fn check(path: &str, source: &str) -> Vec<Finding> {
    let tokens = lex(source);
    let mut findings = Vec::new();
    for attribute in attributes(&tokens) {
        let mut add = |problem| findings.push(Finding::line(path, attribute.line, problem));
        if attribute.applies("ignore") {
            add("an ignored test proves nothing: make it pass, or remove it");
        }
        if attribute.applies("allow") {
            add(
                "use #[expect(…, reason = \"…\")]: it says why, and complains once it is not needed",
            );
        }
        if attribute.applies("expect") && !attribute.mentions("reason") {
            add("an #[expect] must give its reason = \"…\"");
        }
    }
    for pair in tokens.windows(2) {
        let [name, bang] = pair else { continue };
        if let TokenKind::Ident(text) = &name.kind
            && bang.is_punct('!')
            && matches!(text.as_str(), "todo" | "unimplemented")
        {
            findings.push(Finding::line(
                path,
                name.line,
                format!("{text}!: finish it"),
            ));
        }
    }
    for (at, line) in source.lines().enumerate() {
        if is_ignored_example(line) {
            let problem = "an ignored example proves nothing: make it compile, or mark it `text`";
            findings.push(Finding::line(path, at + 1, problem));
        }
    }
    findings
}

/// A code block in a doc comment whose flags include `ignore`.
fn is_ignored_example(line: &str) -> bool {
    let line = line.trim_start();
    let Some(comment) = line
        .strip_prefix("///")
        .or_else(|| line.strip_prefix("//!"))
    else {
        return false;
    };
    let Some(flags) = comment.trim_start().strip_prefix("```") else {
        return false;
    };
    flags
        .split([',', ' '])
        .any(|flag| flag == "ignore" || flag.starts_with("ignore-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_is_finished_and_explained() {
        let source = "// #[ignore] todo!()\nconst A: &str = \"#[allow(x)]\";\n\
                      #[expect(clippy::panic, reason = \"a broken build must stop\")]\nfn f() {}\n\
                      fn todo() { todo() }\n/// ```\n/// f();\n/// ```\nfn g() {}\n";
        assert_eq!(check("a.rs", source), []);
    }

    #[test]
    fn refuses_each_bad_example() {
        for (source, part) in [
            ("#[test]\n#[ignore]\nfn f() {}", "ignored test"),
            ("#[test]\n#[ignore = \"slow\"]\nfn f() {}", "ignored test"),
            (
                "#[test]\n#[cfg_attr(unix, ignore)]\nfn f() {}",
                "ignored test",
            ),
            ("\n#[allow(dead_code)]\nfn f() {}", "use #[expect("),
            (
                "\n#![allow(dead_code, reason = \"none\")]\nfn f() {}",
                "use #[expect(",
            ),
            (
                "\n#[cfg_attr(test, allow(dead_code))]\nfn f() {}",
                "use #[expect(",
            ),
            ("\n#[expect(dead_code)]\nfn f() {}", "must give its reason"),
            ("\nfn f() { todo!() }", "todo!"),
            ("\nfn f() { unimplemented!(\"x\") }", "unimplemented!"),
            (
                "\n/// ```ignore\n/// f();\n/// ```\nfn f() {}",
                "ignored example",
            ),
            ("\n//! ```rust,ignore\n//! f();\n//! ```", "ignored example"),
        ] {
            let findings = check("a.rs", source);
            assert_eq!(findings.len(), 1, "{source}: {findings:?}");
            assert!(findings[0].problem.contains(part), "{findings:?}");
            assert_eq!(findings[0].line, Some(2), "{source}");
        }
    }
}
