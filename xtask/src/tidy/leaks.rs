//! What would tell a reader about one machine, or hand him a key.

use crate::finding::Finding;

/// Spelled in two halves, as everything here that the check would find in this file.
const MACHINE_PATHS: [&str; 2] = [concat!("/ro", "ot/"), concat!("/wo", "rk/")];

/// Where packages come from is a matter of each machine's settings.
const REGISTRIES: [&str; 13] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("--index", "-url"),
    concat!("--extra-index", "-url"),
    concat!("--find", "-links"),
    concat!("--trusted", "-host"),
    concat!("--registry", "="),
];

const KEY_START: &str = concat!("-----BEG", "IN ");
const KEY_END: &str = concat!("PRIVATE", " KEY");

/// Base32 characters after the two letters of an NKey seed.
const SEED_BODY: usize = 56;

/// Every leak, in any text file.
pub fn check(path: &str, source: &str) -> Vec<Finding> {
    let mut findings = check_keys(path, source);
    for (at, line) in source.lines().enumerate() {
        let mut add = |problem| findings.push(Finding::line(path, at + 1, problem));
        for machine in MACHINE_PATHS
            .iter()
            .filter(|machine| starts_path(line, machine))
        {
            add(format!("{machine} is a path of one machine"));
        }
        // Cargo itself writes the registry's name into its lock file.
        let named = REGISTRIES.iter().filter(|name| line.contains(**name));
        for name in named.filter(|_| !path.ends_with("Cargo.lock")) {
            add(format!(
                "{name} names a package registry: leave that to the machine's settings"
            ));
        }
    }
    findings
}

/// Private keys only: what even a file that is not text must not hold.
pub fn check_keys(path: &str, source: &str) -> Vec<Finding> {
    // Golden bytes need fixed keys; they guard nothing.
    if format!("/{path}").contains("/tests/golden/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in source.lines().enumerate() {
        if holds_private_key(line) {
            findings.push(Finding::line(path, at + 1, "a private key"));
        }
        if holds_seed(line) {
            findings.push(Finding::line(path, at + 1, "the seed of an NKey"));
        }
    }
    findings
}

/// An absolute path, not the middle of a longer one.
fn starts_path(line: &str, machine: &str) -> bool {
    line.match_indices(machine).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}*".contains(c))
    })
}

fn holds_private_key(line: &str) -> bool {
    line.split(KEY_START).skip(1).any(|rest| {
        rest.find(KEY_END).is_some_and(|end| {
            rest.chars()
                .take(end)
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ')
        })
    })
}

fn holds_seed(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| {
            let mut chars = word.chars();
            word.len() == SEED_BODY + 2
                && chars.next() == Some('S')
                && chars.next().is_some_and(|kind| "UAOCNX".contains(kind))
                && chars.all(|c| c.is_ascii_uppercase() || ('2'..='7').contains(&c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_one(path: &str, line: &str, part: &str) {
        let findings = check(path, &format!("first\n{line}\n"));
        assert_eq!(findings.len(), 1, "{line}: {findings:?}");
        assert_eq!(findings[0].line, Some(2));
        assert!(findings[0].problem.contains(part), "{findings:?}");
    }

    #[test]
    fn refuses_paths_of_one_machine() {
        for machine in MACHINE_PATHS {
            assert_one("a.md", &format!("cd {machine}main"), "one machine");
            assert_one("a.md", &format!("HOME={machine}x"), "one machine");
            let inside = format!("src{machine}x ~{machine}x ${{HOME}}{machine}x");
            assert_eq!(check("a.md", &inside), []);
        }
    }

    #[test]
    fn refuses_package_registries_except_in_the_lock_file() {
        for name in REGISTRIES {
            assert_one(
                "requirements.txt",
                &format!("x {name} y"),
                "package registry",
            );
            assert_eq!(check("Cargo.lock", name), []);
        }
    }

    #[test]
    fn refuses_private_keys_of_every_form() {
        for form in ["", "EC ", "RSA ", "OPENSSH ", "ENCRYPTED "] {
            let line = format!("key = \"{KEY_START}{form}{KEY_END}-----\"");
            assert_one("config/a.pem", &line, "a private key");
            assert_eq!(check("crates/wire/tests/golden/a.pem", &line), []);
        }
        assert_eq!(check("a.pem", &format!("{KEY_START}CERTIFICATE-----")), []);
    }

    #[test]
    fn refuses_seeds_of_nkeys() {
        for kind in ["SU", "SA", "SO", "SC", "SN", "SX"] {
            let line = format!("seed: {kind}{}", "A7".repeat(SEED_BODY / 2));
            assert_one("nats/a.conf", &line, "seed of an NKey");
            assert_eq!(check("crates/wire/tests/golden/a.conf", &line), []);
        }
        // A public key, a word that is too long, and one with other characters.
        for passes in [
            format!("U{}", "A".repeat(55)),
            format!("SU{}", "A".repeat(57)),
            format!("SU{}", "1".repeat(56)),
        ] {
            assert_eq!(check("a.conf", &passes), []);
        }
    }
}
