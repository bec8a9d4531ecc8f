//! What the source of a core must and must not say.

use std::collections::BTreeMap;

use crate::attributes::{attribute_at, attributes, without_tests};
use crate::finding::Finding;
use crate::lexer::{Token, TokenKind, lex};
use crate::walls;

/// Checks one core: `sources` are the Rust files below `<folder>/src/`, by path.
pub fn check_core(folder: &str, sources: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let root = format!("{folder}/src/lib.rs");
    match sources.get(&root) {
        Some(source) => findings.extend(check_root(&root, &lex(source))),
        None => findings.push(Finding::file(&root, "a core must have this file")),
    }

    let mut kept = Vec::new();
    let mut test_files = Vec::new();
    for (path, source) in sources {
        let (tokens, modules) = without_tests(&lex(source));
        for module in modules {
            test_files.extend(module_paths(path, &module));
        }
        kept.push((path, tokens));
    }
    for (path, tokens) in kept {
        let for_tests = test_files.iter().any(|file| match file.strip_suffix('/') {
            Some(_) => path.starts_with(file.as_str()),
            None => path == file,
        });
        if !for_tests {
            findings.extend(check_source(path, &tokens));
        }
    }
    findings
}

/// Where the module `name`, declared in `path`, has its code: a file, and a folder ending in `/`.
fn module_paths(path: &str, name: &str) -> [String; 2] {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let base = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    [format!("{base}/{name}.rs"), format!("{base}/{name}/")]
}

/// The attributes that `lib.rs` starts with.
fn check_root(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut no_std = false;
    let mut denied = Vec::new();
    let mut at = 0;
    while let Some(attribute) = attribute_at(tokens, at).filter(|attribute| attribute.inner) {
        match attribute.content {
            [only] if only.is_ident("no_std") => no_std = true,
            [first, ..] if first.is_ident("deny") || first.is_ident("forbid") => {
                denied.extend(
                    walls::CORE_LINTS
                        .iter()
                        .filter(|lint| attribute.mentions(lint)),
                );
            }
            _ => {}
        }
        at = attribute.end;
    }
    let mut findings = Vec::new();
    if !no_std {
        findings.push(Finding::file(
            path,
            "a core must start with #![no_std], unconditionally",
        ));
    }
    for lint in walls::CORE_LINTS
        .iter()
        .filter(|lint| !denied.contains(lint))
    {
        let problem = format!("a core must start with #![deny(clippy::{lint})]");
        findings.push(Finding::file(path, problem));
    }
    findings
}

/// Names that a core must not mention, tests aside.
fn check_source(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let problem = match &token.kind {
            TokenKind::Ident(name) if name == "std" => {
                Some("a core must not mention std: use core or alloc".to_owned())
            }
            TokenKind::Ident(name) if name == "HashMap" || name == "HashSet" => Some(format!(
                "a core must not use {name}: its order is chance; use a BTreeMap or BTreeSet"
            )),
            TokenKind::Ident(name) if is_float_name(name) => Some(format!(
                "a core must not use floats ({name}): use a decimal"
            )),
            TokenKind::Number(text) if is_float(text) && !in_decimal_macro(tokens, at) => Some(
                format!("a core must not use floats ({text}): use a decimal"),
            ),
            _ => None,
        };
        findings.extend(problem.map(|problem| Finding::line(path, token.line, problem)));
    }
    for attribute in attributes(tokens).filter(|attribute| attribute.inner) {
        let softens = ["allow", "expect", "warn"]
            .iter()
            .any(|level| attribute.applies(level));
        for lint in walls::CORE_LINTS
            .iter()
            .filter(|lint| softens && attribute.mentions(lint))
        {
            let problem = format!(
                "clippy::{lint} must not be lifted from a whole module of a core; put \
                 #[expect(…, reason = \"…\")] on the one function"
            );
            findings.push(Finding::line(path, attribute.line, problem));
        }
    }
    findings
}

/// `f64` itself, and conversions such as `to_f64`.
fn is_float_name(name: &str) -> bool {
    ["f32", "f64"].iter().any(|float| {
        name.strip_suffix(float)
            .is_some_and(|before| before.is_empty() || before.ends_with('_'))
    })
}

fn is_float(number: &str) -> bool {
    let hexadecimal = number.starts_with("0x") || number.starts_with("0b");
    !hexadecimal
        && (number.contains('.')
            || number.ends_with("f32")
            || number.ends_with("f64")
            || number.contains(['e', 'E']) && !number.ends_with("size"))
}

/// `dec!(1.5)` is written like a float and never is one.
fn in_decimal_macro(tokens: &[Token], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|index| tokens.get(index));
    let opens = |back| {
        matches!(
            (before(back), before(back + 1), before(back + 2)),
            (Some(open), Some(bang), Some(name))
                if open.is_punct('(') && bang.is_punct('!') && name.is_ident("dec")
        )
    };
    opens(1) || (before(1).is_some_and(|token| token.is_punct('-')) && opens(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "//! A core.\n#![no_std]\n#![deny(clippy::arithmetic_side_effects, \
                        clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]\n";

    fn core(files: &[(&str, &str)]) -> Vec<Finding> {
        let sources = files
            .iter()
            .map(|(path, text)| (format!("crates/x/core/src/{path}"), (*text).to_owned()))
            .collect();
        check_core("crates/x/core", &sources)
    }

    #[track_caller]
    fn assert_one(findings: &[Finding], part: &str) {
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].problem.contains(part), "{findings:?}");
    }

    #[test]
    fn accepts_a_core_that_keeps_the_rules() {
        let text = format!("{ROOT}extern crate alloc;\nuse alloc::collections::BTreeMap;\n");
        assert_eq!(core(&[("lib.rs", &text)]), []);
    }

    #[test]
    fn refuses_a_core_without_its_root_file() {
        assert_one(&core(&[("main.rs", "")]), "must have this file");
    }

    #[test]
    fn refuses_a_core_that_is_not_no_std() {
        for instead in ["", "#![cfg_attr(not(test), no_std)]\n", "// #![no_std]\n"] {
            let text = ROOT.replace("#![no_std]\n", instead);
            assert_one(&core(&[("lib.rs", &text)]), "#![no_std]");
        }
    }

    #[test]
    fn refuses_a_core_that_lacks_one_of_its_lints() {
        for lint in walls::CORE_LINTS {
            let text = ROOT.replace(lint, "todo");
            assert_one(&core(&[("lib.rs", &text)]), lint);
        }
        let findings = core(&[("lib.rs", &ROOT.replace("deny(", "warn("))]);
        let missing = findings
            .iter()
            .filter(|finding| finding.problem.contains("#![deny("));
        assert_eq!(missing.count(), walls::CORE_LINTS.len(), "{findings:?}");
    }

    #[test]
    fn refuses_what_a_core_must_not_mention() {
        for (code, part) in [
            ("use std::time::Instant;", "mention std"),
            ("extern crate std;", "mention std"),
            ("use hashbrown::HashMap;", "HashMap"),
            ("fn f(x: f64) {}", "(f64)"),
            ("fn f(x: D) { x.to_f32() }", "(to_f32)"),
            ("const A: D = 1.5;", "(1.5)"),
            ("const A: D = 2f64;", "(2f64)"),
            ("const A: D = 1e3;", "(1e3)"),
            (
                "#![expect(clippy::arithmetic_side_effects, reason = \"short\")]",
                "whole module",
            ),
        ] {
            let findings = core(&[("lib.rs", ROOT), ("price.rs", code)]);
            assert_one(&findings, part);
            assert_eq!(findings[0].place, "crates/x/core/src/price.rs");
            assert_eq!(findings[0].line, Some(1));
        }
    }

    #[test]
    fn what_only_looks_like_a_float_or_std_passes() {
        let code = "// std::f64\nconst A: &str = \"std::f64\"; const B: D = dec!(-0.5) + dec!(1.5);\
                    fn f() { 0..10; x.0.1; 7usize; 0x1e5; std_deviation(); buf64(); }";
        assert_eq!(core(&[("lib.rs", ROOT), ("price.rs", code)]), []);
    }

    #[test]
    fn tests_of_a_core_may_use_std_but_nothing_beside_them() {
        let lib = format!("{ROOT}#[cfg(test)] extern crate std; #[cfg(test)] mod tests; mod book;");
        let book = "#[cfg(test)] mod tests { use std::vec; } use std::vec;";
        let findings = core(&[
            ("lib.rs", &lib),
            ("tests.rs", "use std::vec; mod more;"),
            ("tests/more.rs", "use std::vec;"),
            ("book.rs", book),
        ]);
        assert_one(&findings, "mention std");
        assert_eq!(findings[0].place, "crates/x/core/src/book.rs");
    }
}
