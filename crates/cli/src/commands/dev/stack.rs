//! What a local stack consists of: each process with its command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_domain::Symbol;

use super::process::{Ready, Spec};
use crate::exit::{End, Failure};
use crate::folder::{Folder, Ports};

/// The bus.
pub const NATS: &str = "nats-server";
/// The simulated exchange.
pub const EXCHANGE: &str = "paper-exchange";
/// The strategy that trades by itself.
pub const STRATEGY: &str = "sample-strategy";
/// The services, in the order in which they start.
pub const SERVICES: [&str; 6] = [
    "market-data",
    "audit",
    "signer",
    "risk-guard",
    "execution",
    "brain",
];
/// Everything, in the order in which it stops: first nothing new is proposed, then execution
/// cancels what is open while the signer and audit are still there, then the rest.
pub const STOP_ORDER: [&str; 9] = [
    STRATEGY,
    "brain",
    "execution",
    "risk-guard",
    "signer",
    "market-data",
    "audit",
    EXCHANGE,
    NATS,
];

/// Where market data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedSource {
    /// Made up from a seed.
    Generate,
    /// A recording of a real market.
    Replay(PathBuf),
}

impl std::str::FromStr for FeedSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "generate" => Ok(Self::Generate),
            Some(("replay", file)) if !file.is_empty() => Ok(Self::Replay(PathBuf::from(file))),
            None | Some(_) => Err("a feed is `generate` or `replay:FILE`".to_owned()),
        }
    }
}

/// What the stack is made from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The folder that everything lives in.
    pub folder: Folder,
    /// The folder with the settings.
    pub config: PathBuf,
    /// The folder with the binaries.
    pub binaries: PathBuf,
    /// The bus's binary.
    pub nats_server: PathBuf,
    /// The market.
    pub feed: FeedSource,
    /// The instruments of a made-up market.
    pub symbols: Vec<Symbol>,
    /// The collector of traces, if any.
    pub otlp: Option<String>,
    /// Further arguments for the exchange.
    pub exchange_arguments: Vec<String>,
    /// Where the services look for the bus and the exchange.
    pub detours: Detours,
}

/// Ports on which somebody else passes on what goes to the bus and to the exchange: a test that cuts
/// connections. The services are told these, everybody else the true ones.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Detours {
    /// Port of the bus as the services see it
    #[arg(long, value_name = "PORT", hide = true)]
    bus_detour: Option<u16>,
    /// Port of the exchange as the services see it
    #[arg(long, value_name = "PORT", hide = true)]
    exchange_detour: Option<u16>,
}

impl Detours {
    /// The ports as the services see them.
    fn apply(self, ports: &Ports) -> Ports {
        Ports {
            nats: self.bus_detour.unwrap_or(ports.nats),
            exchange: self.exchange_detour.unwrap_or(ports.exchange),
            ..ports.clone()
        }
    }
}

impl Parts {
    /// Whether every binary is there.
    ///
    /// # Errors
    /// Names those that are missing.
    pub fn check_binaries(&self, with_strategy: bool) -> Result<(), Failure> {
        let mut needed: Vec<&str> = SERVICES.to_vec();
        needed.push(EXCHANGE);
        if with_strategy {
            needed.push(STRATEGY);
        }
        needed.retain(|name| !self.binaries.join(name).is_file());
        if needed.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            End::Usage,
            format!(
                "not built: {} (in {})",
                needed.join(", "),
                self.binaries.display()
            ),
            "start with ./scripts/up, which builds everything",
        ))
    }

    /// The bus.
    #[must_use]
    pub fn nats(&self, ports: &Ports) -> Spec {
        Spec {
            name: NATS,
            program: self.nats_server.clone(),
            arguments: arguments(&[
                OsStr::new("-c"),
                self.folder.nats().join("nats.conf").as_os_str(),
            ]),
            ready: Ready::Http(ports.nats_monitor, "/healthz"),
            grace: Duration::from_secs(10),
            may_finish: false,
        }
    }

    /// The exchange.
    #[must_use]
    pub fn exchange(&self, ports: &Ports) -> Spec {
        let exchange = self.folder.exchange();
        let mut arguments = arguments(&[
            OsStr::new("--listen"),
            OsStr::new(&format!("127.0.0.1:{}", ports.exchange)),
            OsStr::new("--accounts"),
            exchange.join("accounts.toml").as_os_str(),
            OsStr::new("--state"),
            exchange.join("state").as_os_str(),
        ]);
        match &self.feed {
            FeedSource::Generate => {
                for symbol in &self.symbols {
                    arguments.extend(["--generate".into(), symbol.as_str().into()]);
                }
            }
            FeedSource::Replay(file) => {
                arguments.extend(["--replay".into(), file.into(), "--loop".into()]);
                for symbol in not_recorded(file, &self.symbols) {
                    arguments.extend(["--generate".into(), symbol.as_str().into()]);
                }
            }
        }
        arguments.extend(self.exchange_arguments.iter().map(Into::into));
        Spec {
            name: EXCHANGE,
            program: self.binaries.join(EXCHANGE),
            arguments,
            ready: Ready::Http(ports.exchange, "/v5/market/time"),
            grace: Duration::from_secs(5),
            may_finish: false,
        }
    }

    /// One of [`SERVICES`].
    #[must_use]
    pub fn service(&self, name: &'static str, ports: &Ports) -> Spec {
        let folder = &self.folder;
        let ports = self.detours.apply(ports);
        let health = folder.health_port_file(name);
        let mut arguments = arguments(&[
            OsStr::new("--config"),
            self.config.join(format!("{name}.toml")).as_os_str(),
            OsStr::new("--identity"),
            folder.identity(name).as_os_str(),
            OsStr::new("--state"),
            folder.state(name).as_os_str(),
            OsStr::new("--bus"),
            OsStr::new(&ports.bus_url()),
            OsStr::new("--health"),
            OsStr::new("127.0.0.1:0"),
            OsStr::new("--health-port-file"),
            health.as_os_str(),
        ]);
        if let Some(otlp) = &self.otlp {
            arguments.extend(["--otlp".into(), otlp.into()]);
        }
        if matches!(name, "brain" | "risk-guard" | "execution") {
            arguments.extend([
                "--policy".into(),
                self.config.join("risk-policy.toml").into(),
            ]);
        }
        if name == "audit" {
            // The only witness of what the bus denies.
            arguments.extend(["--bus-log".into(), folder.log_file(NATS).into()]);
        }
        if matches!(name, "market-data" | "execution") {
            let rest = format!("http://127.0.0.1:{}", ports.exchange);
            arguments.extend(["--venue-rest".into(), rest.into()]);
            let stream = format!("ws://127.0.0.1:{}", ports.exchange);
            arguments.extend(["--venue-stream".into(), stream.into()]);
        }
        // Execution cancels what is open before it stops.
        let grace = if name == "execution" { 15 } else { 5 };
        Spec {
            name,
            program: self.binaries.join(name),
            arguments,
            ready: Ready::PortFile(health),
            grace: Duration::from_secs(grace),
            may_finish: false,
        }
    }

    /// The sample strategy.
    #[must_use]
    pub fn strategy(&self, ports: &Ports) -> Spec {
        Spec {
            name: STRATEGY,
            program: self.binaries.join(STRATEGY),
            arguments: arguments(&[
                OsStr::new("--config"),
                self.config.join("sample-strategy.toml").as_os_str(),
                OsStr::new("--identity"),
                self.folder.identity("strategy-sample").as_os_str(),
                OsStr::new("--bus"),
                OsStr::new(&ports.bus_url()),
            ]),
            ready: Ready::Running,
            grace: Duration::from_secs(3),
            may_finish: true,
        }
    }
}

/// The instruments that a recording lacks, told by its name (`2024-12-01_XRPUSDT_ob500.data.zip`):
/// without a market their books would be missing. None when the name tells nothing.
fn not_recorded<'a>(file: &Path, symbols: &'a [Symbol]) -> impl Iterator<Item = &'a Symbol> {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_uppercase();
    let told = symbols.iter().any(|symbol| name.contains(symbol.as_str()));
    symbols
        .iter()
        .filter(move |symbol| told && !name.contains(symbol.as_str()))
}

fn arguments(parts: &[&OsStr]) -> Vec<OsString> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// The folder with the settings: the one asked for, or the nearest `config` from here upwards that
/// has a risk policy.
///
/// # Errors
/// When there is none.
pub fn find_config(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let has_policy = |folder: PathBuf| folder.join("risk-policy.toml").is_file().then_some(folder);
    let found = match asked {
        Some(asked) => has_policy(here.join(asked)),
        None => here
            .ancestors()
            .find_map(|above| has_policy(above.join("config"))),
    };
    found.ok_or_else(|| {
        let place = asked.map_or_else(
            || format!("no folder `config` here or above {}", here.display()),
            |asked| format!("{}", asked.display()),
        );
        Failure::new(
            End::Usage,
            format!("{place} with a risk-policy.toml"),
            "run this in the checkout, or name the folder: --config FOLDER",
        )
    })
}

/// The bus's binary: the one asked for, or that which `scripts/tools` put beside the settings.
///
/// # Errors
/// When there is none.
pub fn find_nats_server(asked: Option<&Path>, config: &Path) -> Result<PathBuf, Failure> {
    let ours = || {
        config
            .parent()
            .map(|root| root.join(".tools/bin").join(NATS))
    };
    let path = asked.map(Path::to_owned).or_else(ours).unwrap_or_default();
    if path.is_file() {
        return std::path::absolute(&path).map_err(|cause| {
            Failure::caused(
                End::Usage,
                "find nats-server",
                cause,
                "name it by its full path",
            )
        });
    }
    Err(Failure::new(
        End::Usage,
        format!("there is no nats-server at {}", path.display()),
        "run ./scripts/tools run, or name one: --nats-server FILE",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(feed: FeedSource) -> Parts {
        Parts {
            folder: Folder::at(Path::new("/f")),
            config: "/c".into(),
            binaries: "/b".into(),
            nats_server: "/n".into(),
            feed,
            symbols: vec![Symbol::new("XRPUSDT").unwrap()],
            otlp: None,
            exchange_arguments: vec!["--seed=7".into()],
            detours: Detours::default(),
        }
    }

    fn line(spec: &Spec) -> String {
        let words: Vec<_> = spec
            .arguments
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    #[test]
    fn every_service_gets_what_its_command_line_takes() {
        let ports = Ports {
            nats: 1,
            nats_monitor: 2,
            exchange: 3,
            health: Default::default(),
        };
        let parts = parts(FeedSource::Generate);
        for name in SERVICES {
            let line = line(&parts.service(name, &ports));
            assert!(
                line.starts_with(&format!("--config /c/{name}.toml --identity")),
                "{line}"
            );
            assert!(
                line.contains("--bus tls://127.0.0.1:1 --health 127.0.0.1:0"),
                "{line}"
            );
            let policy = matches!(name, "brain" | "risk-guard" | "execution");
            assert_eq!(
                line.contains("--policy /c/risk-policy.toml"),
                policy,
                "{line}"
            );
            assert_eq!(
                line.contains("--venue-rest http://127.0.0.1:3"),
                matches!(name, "market-data" | "execution")
            );
        }
        let around = Detours {
            bus_detour: Some(8),
            exchange_detour: Some(9),
        };
        let detours = Parts {
            detours: around,
            ..parts.clone()
        };
        let line_around = line(&detours.service("execution", &ports));
        for part in [
            "tls://127.0.0.1:8 ",
            "http://127.0.0.1:9 ",
            "ws://127.0.0.1:9",
        ] {
            assert!(line_around.contains(part), "{line_around}");
        }
        let audit = line(&parts.service("audit", &ports));
        assert!(
            audit.ends_with("--bus-log /f/log/nats-server.log"),
            "{audit}"
        );
        let line = line(&parts.service("market-data", &ports));
        assert!(line.ends_with("--venue-stream ws://127.0.0.1:3"), "{line}");
    }

    #[test]
    fn a_feed_is_generated_or_replayed_and_nothing_else() {
        assert_eq!("generate".parse(), Ok(FeedSource::Generate));
        assert_eq!(
            "replay:a:b.zip".parse(),
            Ok(FeedSource::Replay("a:b.zip".into()))
        );
        for bad in ["", "replay", "replay:", "live", "generate:x"] {
            assert!(bad.parse::<FeedSource>().is_err(), "{bad:?}");
        }
        let ports = Ports::default();
        let replay = line(&parts(FeedSource::Replay("x.zip".into())).exchange(&ports));
        assert!(
            replay.ends_with("--replay x.zip --loop --seed=7"),
            "{replay}"
        );
        let both = [
            Symbol::new("BTCUSDT").unwrap(),
            Symbol::new("XRPUSDT").unwrap(),
        ];
        let lacks = |name| -> Vec<_> { not_recorded(Path::new(name), &both).collect() };
        for name in [
            "d/2024-12-01_XRPUSDT_ob500.data.zip",
            "xrpusdt-ob500.data.zip",
        ] {
            assert_eq!(lacks(name), [&both[0]]);
        }
        assert!(lacks("recording.zip").is_empty());
        let generate = line(&parts(FeedSource::Generate).exchange(&ports));
        assert!(
            generate.ends_with("--generate XRPUSDT --seed=7"),
            "{generate}"
        );
    }

    #[test]
    fn everything_that_starts_also_stops_and_the_bus_is_the_last() {
        for name in SERVICES {
            assert!(STOP_ORDER.contains(&name), "{name}");
        }
        let at = |name: &str| STOP_ORDER.iter().position(|other| *other == name).unwrap();
        assert!(
            at("brain") < at("execution"),
            "nothing new while execution cancels"
        );
        assert!(at("execution") < at("signer") && at("execution") < at("audit"));
        assert_eq!(at(NATS), STOP_ORDER.len() - 1);
    }

    #[test]
    fn what_is_not_built_is_named() {
        let failure = parts(FeedSource::Generate)
            .check_binaries(true)
            .unwrap_err();
        assert_eq!(failure.end, End::Usage);
        assert!(
            failure
                .to_string()
                .starts_with("not built: market-data, audit"),
            "{failure}"
        );
        assert!(failure.next_step.contains("./scripts/up"));
    }
}
