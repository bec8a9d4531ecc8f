//! Each rule with an example that it must refuse.

use super::*;

/// A small workspace: a core, its shell, and what each depends on.
fn packages(list: &[(&str, &str, &[&str], &[&str])]) -> Packages {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    list.iter()
        .map(|(name, folder, product, tests)| {
            let uses = Uses {
                folder: (*folder).to_owned(),
                product: set(product),
                tests: set(tests),
            };
            ((*name).to_owned(), uses)
        })
        .collect()
}

fn problems(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .map(|finding| finding.problem.as_str())
        .collect()
}

#[track_caller]
fn assert_one(findings: &[Finding], part: &str) {
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].problem.contains(part), "{findings:?}");
}

const ARCH: &str = r#"
[crates.core]
tests_use = ["kit"]
[crates.kit]
[crates.shell]
uses = ["core"]
[dependencies.tokio]
why = "runs the shell"
crates = ["shell"]
[dependencies.proptest]
why = "properties"
tests = ["core"]
"#;

const GOOD: &[(&str, &str, &[&str], &[&str])] = &[
    ("core", "crates/x/core", &[], &["kit", "proptest"]),
    ("kit", "crates/kit", &[], &[]),
    ("shell", "crates/x", &["core", "tokio"], &[]),
];

fn check(arch: &str, list: &[(&str, &str, &[&str], &[&str])]) -> Vec<Finding> {
    let arch = Arch::parse(arch).unwrap();
    let packages = packages(list);
    let mut findings = check_crates(&arch, &packages);
    findings.extend(check_dependencies(&arch, &packages));
    findings
}

#[test]
fn accepts_what_is_listed_and_used() {
    assert_eq!(check(ARCH, GOOD), []);
}

#[test]
fn refuses_a_workspace_dependency_that_is_not_listed() {
    let mut list = GOOD.to_vec();
    list[1].2 = &["core"];
    assert_one(
        &check(ARCH, &list),
        "kit depends on core, which uses of [crates.kit]",
    );
    list[1] = ("kit", "crates/kit", &[], &["core"]);
    assert_one(
        &check(ARCH, &list),
        "kit depends on core, which tests_use of [crates.kit]",
    );
}

#[test]
fn refuses_a_listed_workspace_dependency_that_is_not_used() {
    let mut list = GOOD.to_vec();
    list[2].2 = &["tokio"];
    assert_one(&check(ARCH, &list), "uses of [crates.shell] lists core");
}

#[test]
fn refuses_a_test_dependency_that_became_a_product_dependency() {
    let mut list = GOOD.to_vec();
    list[0] = ("core", "crates/x/core", &["kit"], &["proptest"]);
    let findings = check(ARCH, &list);
    assert!(
        problems(&findings)[0].starts_with("core depends on kit, which uses"),
        "{findings:?}"
    );
    assert!(problems(&findings)[1].starts_with("tests_use of [crates.core] lists kit"));
}

#[test]
fn refuses_a_package_that_arch_does_not_know_and_the_reverse() {
    let mut list = GOOD.to_vec();
    list.push(("stranger", "crates/stranger", &[], &[]));
    assert_one(
        &check(ARCH, &list),
        "the package stranger has no [crates.stranger]",
    );
    let arch = format!("{ARCH}\n[crates.gone]\n");
    assert_one(&check(&arch, GOOD), "[crates.gone] names no package");
}

#[test]
fn refuses_an_external_dependency_that_is_not_listed() {
    let mut list = GOOD.to_vec();
    list[2].2 = &["core", "tokio", "left-pad"];
    assert_one(
        &check(ARCH, &list),
        "shell depends on left-pad, but `crates` of",
    );
    list[2].2 = &["core", "tokio", "proptest"];
    assert_one(
        &check(ARCH, &list),
        "shell depends on proptest, but `crates` of",
    );
    list[2] = ("shell", "crates/x", &["core", "tokio"], &["proptest"]);
    assert_one(
        &check(ARCH, &list),
        "shell depends on proptest, but `tests` of",
    );
}

#[test]
fn refuses_a_listed_external_dependency_that_is_not_used() {
    let mut list = GOOD.to_vec();
    list[2].2 = &["core"];
    assert_one(
        &check(ARCH, &list),
        "`crates` of [dependencies.tokio] lists shell",
    );
    let arch = format!("{ARCH}\n[dependencies.idle]\nwhy = \"one day\"\n");
    assert_one(&check(&arch, GOOD), "[dependencies.idle] is for nobody");
}

#[test]
fn refuses_a_dependency_without_a_reason() {
    let arch = ARCH.replace("runs the shell", " ");
    assert_one(&check(&arch, GOOD), "`why` of [dependencies.tokio]");
}

#[test]
fn refuses_keys_that_arch_does_not_have() {
    assert!(Arch::parse("[crates.core]\nuse = []\n").is_err());
    assert!(Arch::parse("[dependencies.x]\nwhy = \"\"\nonly = []\n").is_err());
    assert!(Arch::parse("[tidy.skip]\n").is_err());
}

#[test]
fn nobody_but_the_runtime_sees_the_bus_not_even_in_tests() {
    let list = [(
        "brain",
        "crates/brain",
        &["async-nats"] as &[&str],
        &[] as &[&str],
    )];
    assert_one(
        &check_walls(&packages(&list)),
        "brain must not depend on async-nats",
    );
    let list = [(
        "brain",
        "crates/brain",
        &[] as &[&str],
        &["async-nats"] as &[&str],
    )];
    assert_one(
        &check_walls(&packages(&list)),
        "brain must not depend on async-nats",
    );
    let list = [(
        "portcullis-runtime",
        "crates/runtime",
        &["async-nats"] as &[&str],
        &[] as &[&str],
    )];
    assert_eq!(check_walls(&packages(&list)), []);
}

#[test]
fn nobody_but_execution_and_market_data_reaches_a_venue_except_in_tests() {
    for client in ["reqwest", "tokio-tungstenite"] {
        let product = [client];
        let list = [(
            "signer",
            "crates/signer",
            &product as &[&str],
            &[] as &[&str],
        )];
        assert_one(
            &check_walls(&packages(&list)),
            "only execution and market-data",
        );
        let list = [(
            "signer",
            "crates/signer",
            &[] as &[&str],
            &product as &[&str],
        )];
        assert_eq!(check_walls(&packages(&list)), []);
        let list = [(
            "execution",
            "crates/execution",
            &product as &[&str],
            &[] as &[&str],
        )];
        assert_eq!(check_walls(&packages(&list)), []);
    }
}

#[test]
fn what_is_made_for_tests_does_not_ship() {
    let list = [(
        "brain",
        "crates/brain",
        &["portcullis-testkit"] as &[&str],
        &[] as &[&str],
    )];
    assert_one(
        &check_walls(&packages(&list)),
        "nothing made for tests ships",
    );
}

#[test]
fn a_core_has_no_clock_and_no_input() {
    for banned in ["tokio", "chrono", "getrandom", "portcullis-runtime"] {
        for folder in ["crates/wire", "crates/brain/core"] {
            let product = [banned];
            let list = [("a-core", folder, &product as &[&str], &[] as &[&str])];
            assert_one(
                &check_walls(&packages(&list)),
                "is a core and must not depend on",
            );
        }
    }
    let list = [(
        "brain",
        "crates/brain",
        &["tokio"] as &[&str],
        &[] as &[&str],
    )];
    assert_eq!(check_walls(&packages(&list)), []);
}

#[test]
fn the_simulated_exchange_shares_no_code_with_what_it_tests() {
    let list = [
        (
            "paper-exchange",
            "crates/paper-exchange",
            &["portcullis-venue"] as &[&str],
            &[] as &[&str],
        ),
        ("portcullis-venue", "crates/venue", &[], &[]),
    ];
    assert_one(&check_walls(&packages(&list)), "would prove nothing");
}

#[test]
fn refuses_a_banned_package_anywhere_in_the_lock_file() {
    let arch = Arch::parse("[banned.openssl]\nwhy = \"one TLS\"\n").unwrap();
    let lock = "version = 4\n[[package]]\nname = \"openssl\"\nversion = \"1.0.0\"\n";
    assert_one(
        &check_banned(&arch, lock).unwrap(),
        "openssl is banned (one TLS)",
    );
    let lock = "version = 4\n[[package]]\nname = \"openssl-probe\"\nversion = \"1.0.0\"\n";
    assert_eq!(check_banned(&arch, lock).unwrap(), []);
    assert!(
        check_banned(&arch, "").is_err(),
        "a lock file without packages proves nothing"
    );
}
