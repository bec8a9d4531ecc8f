//! The arguments that every service takes.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What every service needs to start. Flattened into each service's own arguments.
#[derive(clap::Args, Clone, Debug)]
pub struct ServiceArgs {
    /// Settings of the service (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Folder with the service's keys and certificates (mode 0700)
    #[arg(long, value_name = "DIR")]
    pub identity: PathBuf,

    /// File with the key of the identity's bundle, in place of the one beside it
    #[arg(
        long,
        value_name = "FILE",
        env = "PORTCULLIS_IDENTITY_KEY",
        hide_env_values = true
    )]
    pub identity_key: Option<PathBuf>,

    /// Folder for what the service must remember (mode 0700, made if missing)
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,

    /// Address of the bus
    #[arg(
        long,
        value_name = "URL",
        env = "PORTCULLIS_BUS",
        default_value = "tls://127.0.0.1:4222"
    )]
    pub bus: String,

    /// Where /healthz, /readyz and /metrics listen; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub health: SocketAddr,

    /// File that the chosen health port is written to
    #[arg(long, value_name = "FILE")]
    pub health_port_file: Option<PathBuf>,

    /// Collector of traces (OTLP over HTTP), such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}
