//! `portcullis dev up`: the whole local stack in one command.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portcullis_runtime::identity::BUNDLE_FILE;
use serde_json::json;

use super::progress::{SCHEMA, Step};
use super::stack::{
    Detours, FeedSource, Parts, SERVICES, STOP_ORDER, STRATEGY, find_config, find_nats_server,
};
use super::summary::{Summary, left_open};
use super::supervisor::{Interrupted, Supervisor, Turn};
use super::{init, probe, process};
use crate::commands::keys::keep_server;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::feed::{Watcher, Where, any_operator};
use crate::folder::{Folder, NAME, Ports, private_folder};
use crate::output::{Output, Tone};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis dev up                                  a made-up market, a strategy, a live summary
  portcullis dev up --feed replay:XRPUSDT.data.zip   a recorded market
  portcullis dev up --no-strategy                    nobody trades until you do
  portcullis dev up --headless --for 30 --json       for a script

WHAT IS WHERE
  .portcullis/identity   keys and certificates   .portcullis/state   what services remember
  .portcullis/log        one log a service       .portcullis/run     process ids and ports

Ctrl-C stops everything in order and says what is left open; twice stops it faster.
The next `up` goes on from the state on disk.";

/// Start a local stack, watch it, and stop it in order on Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Up {
    /// Show no live summary
    #[arg(long)]
    headless: bool,
    /// Stop after so many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    seconds: Option<u64>,
    /// Do not start the sample strategy
    #[arg(long)]
    no_strategy: bool,
    /// Where the market comes from: `generate`, or `replay:FILE` with a recording
    #[arg(long, value_name = "FEED", default_value = "generate")]
    feed: FeedSource,
    /// Folder with the settings [default: the nearest config from here upwards]
    #[arg(long, value_name = "FOLDER")]
    config: Option<PathBuf>,
    /// Folder with the services' binaries [default: where this one is]
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// The nats-server to use [default: the one in .tools/bin beside the settings]
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_NATS_SERVER")]
    nats_server: Option<PathBuf>,
    /// Port of the bus [default: a free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    nats_port: Option<u16>,
    /// Port of the simulated exchange [default: a free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    exchange_port: Option<u16>,
    /// Collector of traces (OTLP over HTTP), such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// A further argument for the simulated exchange, such as --order-rate-per-second=100; may be
    /// given several times
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    exchange_argument: Vec<String>,
    /// The longest wait before a process that ended is started again, for tests that end many
    #[arg(long, value_name = "MILLISECONDS", hide = true)]
    restart_wait_ms_max: Option<u64>,
    #[command(flatten)]
    detours: Detours,
}

/// How often the summary is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Runs a stack until it is told to stop.
///
/// # Errors
/// What stood in the way, with the next step.
pub async fn run(up: &Up, dir: Option<&Path>, output: &Output) -> Outcome {
    let parts = parts(up, dir)?;
    parts.check_binaries(!up.no_strategy)?;
    let folder = &parts.folder;
    let next_step = "look at the permissions of the folder, or name another: --dir FOLDER";
    private_folder(&folder.run()).or_fail("make the development folder", next_step)?;
    let _lock = lock(folder)?;
    for name in process::end_left_overs(folder).await.or_fail(
        "end what an earlier start left running",
        "end those processes yourself",
    )? {
        output.talk(&format!(
            "ended {name}, which an earlier start had left running"
        ));
    }

    let step = Step::begin(output, "development identities");
    if folder.is_made() {
        step.skipped("as they are");
    } else {
        match init::make(&parts) {
            Ok(()) => step.succeeded(&format!("made in {}", folder.path().display())),
            Err(failure) => return Err(step.failed(failure)),
        }
    }
    let ports = choose_ports(up, folder)?;
    let mut supervisor =
        Supervisor::new(output, folder.clone(), ports).or_fail("listen for Ctrl-C", "try again")?;
    if let Some(wait) = up.restart_wait_ms_max {
        supervisor.restart_within(Duration::from_millis(wait));
    }
    let ran = match start(&mut supervisor, &parts, up, output).await {
        Ok(()) => watch(&mut supervisor, up, output).await,
        Err(interrupted) => Err(interrupted),
    };
    let killed = stop(&mut supervisor, output).await;
    left_open(
        output,
        supervisor.watcher.as_ref().map(|watcher| &watcher.view),
        &killed,
    );
    match ran {
        Ok(()) | Err(Interrupted::Stop) => Ok(End::Done),
        Err(Interrupted::Fatal(failure)) => Err(failure),
    }
}

fn parts(up: &Up, dir: Option<&Path>) -> Result<Parts, Failure> {
    let config = find_config(up.config.as_deref())?;
    let folder = folder(dir, &config);
    let binaries = match &up.binaries {
        Some(binaries) => binaries.clone(),
        None => std::env::current_exe()
            .ok()
            .and_then(|this| this.parent().map(Path::to_owned))
            .unwrap_or_default(),
    };
    if let FeedSource::Replay(file) = &up.feed
        && !file.is_file()
    {
        return Err(Failure::new(
            End::Usage,
            format!("there is no recording {}", file.display()),
            "name a file of Bybit's public ob500 recordings, plain or zipped",
        ));
    }
    Ok(Parts {
        nats_server: find_nats_server(up.nats_server.as_deref(), &config)?,
        symbols: init::symbols(&config)?,
        folder,
        config,
        binaries,
        feed: up.feed.clone(),
        otlp: up.otlp.clone(),
        exchange_arguments: up.exchange_argument.clone(),
        detours: up.detours,
    })
}

/// The folder that was asked for, or [`NAME`] beside the settings.
pub fn folder(dir: Option<&Path>, config: &Path) -> Folder {
    let beside = || config.parent().unwrap_or(Path::new(".")).join(NAME);
    Folder::at(&dir.map_or_else(beside, Path::to_owned))
}

/// Keeps a second `up` out of the same folder, for as long as the file is open.
fn lock(folder: &Folder) -> Result<File, Failure> {
    let path = folder.run().join("up.lock");
    let next_step = "look at the permissions of the folder";
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = file.or_fail(format!("open {}", path.display()), next_step)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            End::Failed,
            format!("a stack already runs from {}", folder.path().display()),
            "stop it with Ctrl-C where it runs, or start another: --dir FOLDER",
        )),
        Err(TryLockError::Error(cause)) => Err(Failure::caused(
            End::Failed,
            "lock the folder",
            cause,
            next_step,
        )),
    }
}

fn choose_ports(up: &Up, folder: &Folder) -> Result<Ports, Failure> {
    for (option, port) in [
        ("--nats-port", up.nats_port),
        ("--exchange-port", up.exchange_port),
    ] {
        if let Some(port) = port
            && !probe::is_free(port)
        {
            return Err(Failure::new(
                End::Failed,
                format!("port {port} is taken by another program"),
                format!("choose another with {option}, or leave it out for a free one"),
            ));
        }
    }
    let last = Ports::read(folder).unwrap_or_default();
    let wish = |asked: Option<u16>, last: u16| asked.or((last != 0).then_some(last));
    let wished = [
        wish(up.nats_port, last.nats),
        wish(None, last.nats_monitor),
        wish(up.exchange_port, last.exchange),
    ];
    let [nats, nats_monitor, exchange] =
        probe::free_ports(wished).or_fail("find free ports", "close some programs")?;
    Ok(Ports {
        nats,
        nats_monitor,
        exchange,
        ..Ports::default()
    })
}

async fn start(
    supervisor: &mut Supervisor<'_>,
    parts: &Parts,
    up: &Up,
    output: &Output,
) -> Result<(), Interrupted> {
    let ports = supervisor.ports.clone();
    ports.write(&parts.folder).map_err(|cause| Failure {
        end: End::Failed,
        problem: cause,
        next_step: "look at the permissions of the folder".to_owned(),
    })?;

    let step = Step::begin(output, "the bus (nats-server)");
    let detail = format!("127.0.0.1:{}", ports.nats);
    let began = match init::write_nats_config(parts, &ports) {
        Ok(()) => launched(supervisor, parts.nats(&ports), &step).await,
        Err(failure) => Err(failure.into()),
    };
    finished(step, began, &detail)?;

    let step = Step::begin(output, "the stream of facts");
    let provisioned = init::provision(parts, &ports)
        .await
        .map_err(Interrupted::from);
    finished(step, provisioned, "")?;

    let place = Where {
        folder: parts.folder.clone(),
        bus: ports.bus_url(),
    };
    let operator = any_operator(&place.folder);
    supervisor.watcher = Some(Watcher::open(&place, &operator).await?);

    let step = Step::begin(output, "the exchange (paper-exchange)");
    let began = launched(supervisor, parts.exchange(&ports), &step).await;
    finished(step, began, &format!("127.0.0.1:{}", ports.exchange))?;

    // All of them are started before any is waited for: some wait for each other.
    for name in SERVICES {
        supervisor.start(parts.service(name, &ports))?;
    }
    for name in SERVICES {
        let step = Step::begin(output, name);
        let ready = supervisor.ready(name, &step).await;
        finished(step, ready, "")?;
    }
    record_ports(supervisor, &parts.folder)?;

    let bundle = parts.folder.identity("strategy-sample").join(BUNDLE_FILE);
    if !up.no_strategy && !bundle.exists() {
        let step = Step::begin(output, "the strategy (sample-strategy)");
        step.succeeded("left out: its keys were taken away (portcullis keys show)");
    } else if !up.no_strategy {
        let step = Step::begin(output, "the strategy (sample-strategy)");
        let began = launched(supervisor, parts.strategy(&ports), &step).await;
        finished(step, began, "")?;
    }
    output.object(
        SCHEMA,
        json!({ "event": "ready", "ports": supervisor.ports }),
    );
    output.line("");
    Ok(())
}

async fn launched(
    supervisor: &mut Supervisor<'_>,
    spec: process::Spec,
    step: &Step<'_>,
) -> Result<(), Interrupted> {
    let name = spec.name;
    supervisor.start(spec)?;
    supervisor.ready(name, step).await
}

fn finished(
    step: Step<'_>,
    result: Result<(), Interrupted>,
    detail: &str,
) -> Result<(), Interrupted> {
    match result {
        Ok(()) => {
            step.succeeded(detail);
            Ok(())
        }
        Err(Interrupted::Stop) => {
            step.skipped("interrupted");
            Err(Interrupted::Stop)
        }
        Err(Interrupted::Fatal(failure)) => Err(Interrupted::Fatal(step.failed(failure))),
    }
}

/// Writes down the health ports as they are now: a service that was restarted has another one.
fn record_ports(supervisor: &mut Supervisor<'_>, folder: &Folder) -> Result<(), Failure> {
    let before = supervisor.ports.health.clone();
    for name in SERVICES {
        if let Some(port) = probe::port_in(&folder.health_port_file(name)) {
            supervisor.ports.health.insert(name.to_owned(), port);
        }
    }
    if before == supervisor.ports.health && Ports::read(folder).as_ref() == Some(&supervisor.ports)
    {
        return Ok(());
    }
    supervisor.ports.write(folder).map_err(|cause| Failure {
        end: End::Failed,
        problem: cause,
        next_step: "free some space on the disk".to_owned(),
    })
}

async fn watch(
    supervisor: &mut Supervisor<'_>,
    up: &Up,
    output: &Output,
) -> Result<(), Interrupted> {
    let end = up
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let folder = supervisor.folder().clone();
    let mut summary = Summary::new(output, up.headless);
    let mut show_at = Instant::now() + SHOW_EVERY;
    let mut not_kept = None;
    loop {
        let until = end.map_or(show_at, |end| end.min(show_at));
        match supervisor.turn(until).await {
            Turn::Changed => {}
            Turn::Stop => return Err(Interrupted::Stop),
            Turn::Fatal(failure) => return Err(Interrupted::Fatal(failure)),
            Turn::Quiet => {}
        }
        let present = Instant::now();
        if present >= show_at {
            show_at = present + SHOW_EVERY;
            record_ports(supervisor, &folder)?;
            let kept = keep_server(&folder)
                .err()
                .map(|failure| failure.to_string());
            // Nothing is admitted that was not before, and the next second tries again.
            if let Some(problem) = kept.as_ref().filter(|_| kept != not_kept) {
                output.talk(&format!("keep the bus in step with the keys: {problem}"));
            }
            not_kept = kept;
            let processes = supervisor.processes();
            if let Some(watcher) = &supervisor.watcher {
                summary.show(&watcher.view, &processes);
            }
        }
        if end.is_some_and(|end| present >= end) {
            return Ok(());
        }
    }
}

/// Stops everything in order. Gives back who had to be killed.
async fn stop(supervisor: &mut Supervisor<'_>, output: &Output) -> Vec<&'static str> {
    output.line("");
    let mut killed = Vec::new();
    for name in STOP_ORDER {
        if !supervisor.runs(name) {
            // It may be about to be started again.
            supervisor.stop(name).await;
            continue;
        }
        if name == "execution" {
            supervisor.settle().await;
        }
        let what = match name {
            STRATEGY => format!("stop {name}: nothing new is proposed"),
            "brain" => "stop brain: nothing new is ordered".to_owned(),
            "execution" => "stop execution: it cancels what is open".to_owned(),
            _ => format!("stop {name}"),
        };
        let step = Step::begin(output, what);
        if supervisor.stop(name).await {
            step.succeeded("");
        } else {
            step.skipped(&output.paint(Tone::Bad, "did not stop in time and was killed"));
            killed.push(name);
        }
    }
    killed
}
