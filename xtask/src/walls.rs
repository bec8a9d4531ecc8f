//! The walls between crates that guard money. They stand in code and not in arch.toml, so that a
//! line added there in passing cannot open one.

/// A package that only these may depend on.
pub struct Wall {
    /// The package behind the wall, ours or another's.
    pub package: &'static str,
    /// Who may be built with it.
    pub product: &'static [&'static str],
    /// Whether any crate's tests may be built with it.
    pub any_test: bool,
    /// What the wall is for.
    pub why: &'static str,
}

/// Every wall around one package.
pub const WALLS: &[Wall] = &[
    Wall {
        package: "async-nats",
        product: &["portcullis-runtime"],
        any_test: false,
        why: "only the runtime sees the bus",
    },
    Wall {
        package: "reqwest",
        product: &["execution", "market-data", "portcullis-testkit"],
        any_test: true,
        why: "only execution and market-data reach a venue",
    },
    Wall {
        package: "tokio-tungstenite",
        product: &["execution", "market-data", "portcullis-testkit"],
        any_test: true,
        why: "only execution and market-data reach a venue",
    },
    Wall {
        package: "portcullis-testkit",
        product: &["bench", "portcullis-sim"],
        any_test: true,
        why: "nothing made for tests ships",
    },
];

/// What no core may be built with: the clock, the disk, the network, chance, and threads.
pub const NOT_IN_CORES: &[&str] = &[
    "anyhow",
    "async-nats",
    "axum",
    "chrono",
    "futures-util",
    "getrandom",
    "hyper",
    "instant",
    "jiff",
    "libc",
    "portcullis-runtime",
    "quanta",
    "rand",
    "reqwest",
    "rustls",
    "tempfile",
    "time",
    "tokio",
    "tokio-tungstenite",
    "tracing-subscriber",
    "web-time",
];

/// Crates that share no code with the rest, so that their tests prove something about it.
pub const APART: &[&str] = &["paper-exchange"];

/// Lints of the root manifest that guard money, by tool; each must be `deny` or `forbid` there.
pub const LINTS: &[(&str, &str)] = &[
    ("clippy", "allow_attributes_without_reason"),
    ("clippy", "await_holding_lock"),
    ("clippy", "expect_used"),
    ("clippy", "float_arithmetic"),
    ("clippy", "indexing_slicing"),
    ("clippy", "panic"),
    ("clippy", "todo"),
    ("clippy", "unimplemented"),
    ("clippy", "unwrap_used"),
    ("rust", "unsafe_code"),
    ("rust", "unused_must_use"),
];

/// Lints that the `lib.rs` of every core denies.
pub const CORE_LINTS: &[&str] = &[
    "arithmetic_side_effects",
    "wildcard_enum_match_arm",
    "float_arithmetic",
];

/// Cores that are not in a folder `core`.
pub const SHARED_CORES: &[&str] = &["crates/domain", "crates/venue", "crates/wire"];

/// Whether the package in this folder must be a pure state machine.
pub fn is_core(folder: &str) -> bool {
    SHARED_CORES.contains(&folder) || (folder.starts_with("crates/") && folder.ends_with("/core"))
}
