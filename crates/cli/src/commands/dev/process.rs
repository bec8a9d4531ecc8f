//! Processes of the stack: each in its own group, with its own log and its own pid file, and dead
//! when its supervisor is.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;

use super::restart::Ended;
use crate::folder::{Folder, private_file, private_folder};

/// A log that is longer than this when its service starts is put aside.
const LOG_BYTES_MAX: u64 = 20 * 1024 * 1024;
/// How much of the end of a log is looked through for the error.
const LOG_TAIL_BYTES: u64 = 64 * 1024;
/// The most lines of a log that are shown.
const LOG_LINES_SHOWN: usize = 12;

/// How one knows that a process does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Its health server, whose port it writes into this file, answers `/readyz`.
    PortFile(PathBuf),
    /// This path on this port of the loopback interface answers.
    Http(u16, &'static str),
    /// It runs.
    Running,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, also of its files.
    pub name: &'static str,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments; no secrets, since everybody can read them.
    pub arguments: Vec<OsString>,
    /// How one knows that it does its work.
    pub ready: Ready,
    /// How long it may take to stop in order.
    pub grace: Duration,
    /// Whether it may end by itself.
    pub may_finish: bool,
}

/// A process that ended.
#[derive(Debug)]
pub struct Exit {
    /// Which.
    pub name: &'static str,
    /// How.
    pub ended: Ended,
}

/// A process that runs. It is only ever signalled by the task that also reaps it, so that no signal
/// reaches another process that was given the same number later.
#[derive(Debug)]
pub struct Process {
    /// Since when it runs.
    pub since: Instant,
    signals: mpsc::Sender<Signal>,
    log: PathBuf,
    log_from: u64,
}

impl Process {
    /// Starts it. To be called on a thread that lives as long as the supervisor: the child is told
    /// when the thread that started it ends.
    ///
    /// # Errors
    /// What stands in the way of starting it.
    pub fn start(spec: &Spec, folder: &Folder, exits: mpsc::Sender<Exit>) -> anyhow::Result<Self> {
        let log = folder.log_file(spec.name);
        let (file, log_from) = open_log(&log).with_context(|| format!("open {}", log.display()))?;
        let errors = file.try_clone().context("open the log twice")?;
        if let Ready::PortFile(path) = &spec.ready {
            // The port of the last run would answer for somebody else.
            remove(path)?;
        }
        let this = std::env::current_exe().context("find this program")?;
        let mut command = tokio::process::Command::new(this);
        command
            .args([
                "dev",
                "run-child",
                "--parent",
                &std::process::id().to_string(),
                "--",
            ])
            .arg(&spec.program)
            .args(&spec.arguments)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            // Ctrl-C goes to the group of the terminal: only the supervisor is in it.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("start {}", spec.program.display()))?;
        let pid = child.id().context("the process ended at once")?;
        let pid_file = folder.pid_file(spec.name);
        private_file(&pid_file, format!("{pid}\n").as_bytes())
            .with_context(|| format!("write {}", pid_file.display()))?;

        let (signals, mut asked) = mpsc::channel(8);
        let name = spec.name;
        tokio::spawn(async move {
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    Some(signal) = asked.recv() => send(child.id(), signal),
                }
            };
            // Whoever is gone cannot be missed: the file only helps after a crash of the supervisor.
            let _ = fs::remove_file(pid_file);
            let ended = status.map_or(Ended::Code(1), Ended::from);
            // Nobody listens only when the supervisor itself is ending.
            let _ = exits.send(Exit { name, ended }).await;
        });
        Ok(Self {
            since: Instant::now(),
            signals,
            log,
            log_from,
        })
    }

    /// Sends it a signal; does nothing when it ended.
    pub fn signal(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }

    /// What it said last, in words where it did so, since this start of it.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        read_tail(&self.log, self.log_from).map_or_else(|_| Vec::new(), |text| last_words(&text))
    }

    /// Where its log is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }
}

fn send(pid: Option<u32>, signal: Signal) {
    let pid = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    let Some(pid) = pid else { return };
    // It fails only when the process has just ended. The kill takes what it may have started along.
    let _ = if signal == Signal::KILL {
        rustix::process::kill_process_group(pid, signal)
    } else {
        rustix::process::kill_process(pid, signal)
    };
}

/// Becomes another program that ends when the process that asked for it does. The supervisor starts
/// its children through this, because the death signal must be asked for by the child itself.
///
/// # Errors
/// Why it could not become the program; it does not return otherwise.
pub fn become_child(parent: u32, program: &[OsString]) -> anyhow::Result<()> {
    let (name, arguments) = program.split_first().context("no program is named")?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("ask for the parent's death signal")?;
    // Asked too late when the parent died before: then somebody else is the parent already.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    anyhow::ensure!(
        now.and_then(|pid| u32::try_from(pid).ok()) == Some(parent),
        "the supervisor {parent} is gone"
    );
    let cause = std::process::Command::new(name).args(arguments).exec();
    Err(cause).with_context(|| format!("run {}", Path::new(name).display()))
}

fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    if fs::metadata(path).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn read_tail(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = from.max(file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines for people if there are any, else the last lines of the log.
fn last_words(log: &str) -> Vec<String> {
    let words: Vec<_> = log.lines().filter(|line| !line.is_empty()).collect();
    let spoken: Vec<_> = words
        .iter()
        .copied()
        .filter(|line| !line.starts_with('{'))
        .collect();
    let chosen = if spoken.is_empty() { words } else { spoken };
    let skipped = chosen.len().saturating_sub(LOG_LINES_SHOWN);
    let printable = |line: &str| {
        let plain = line.chars().map(|c| if c.is_control() { ' ' } else { c });
        plain.take(400).collect()
    };
    chosen.into_iter().skip(skipped).map(printable).collect()
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(cause).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Processes of an earlier supervisor that was killed and that still run: asked to stop, then
/// killed. Only to be called while the folder's lock is held. Gives back their names.
///
/// # Errors
/// When one of them does not go.
pub async fn end_left_overs(folder: &Folder) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder.run()) else {
        return Ok(found);
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "pid") {
            continue;
        }
        if let Some(pid) = left_over(&path, folder) {
            for (signal, patience) in [(Signal::TERM, 10), (Signal::KILL, 5)] {
                let _ = rustix::process::kill_process(pid, signal);
                let deadline = Instant::now() + Duration::from_secs(patience);
                while left_over(&path, folder).is_some() && Instant::now() < deadline {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            anyhow::ensure!(left_over(&path, folder).is_none(), "{name} does not end");
            found.push(name);
        }
        remove(&path)?;
    }
    Ok(found)
}

/// The process of a pid file, if it is still one that works in this folder.
#[must_use]
pub fn left_over(pid_file: &Path, folder: &Folder) -> Option<Pid> {
    let number: i32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{number}/cmdline")).ok()?;
    let ours = folder.path().as_os_str().as_encoded_bytes();
    let is_ours = command.windows(ours.len()).any(|window| window == ours);
    if is_ours { Pid::from_raw(number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_for_people_is_shown_before_the_log() {
        let log = "{\"level\":\"INFO\"}\nerror: key \x1b[2J missing\nnext step: add it\n{}\n";
        assert_eq!(
            last_words(log),
            ["error: key  [2J missing", "next step: add it"]
        );
        assert_eq!(
            last_words("{\"a\":1}\n\n{\"b\":2}\n"),
            ["{\"a\":1}", "{\"b\":2}"]
        );
        let many: String = (0..20).map(|n| format!("line {n}\n")).collect();
        assert_eq!(
            last_words(&many).first().map(String::as_str),
            Some("line 8")
        );
    }

    #[test]
    fn a_long_log_is_put_aside_and_a_short_one_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log/brain.log");
        drop(open_log(&path).unwrap());
        fs::write(&path, "old\n").unwrap();
        assert_eq!(open_log(&path).unwrap().1, 4);
        File::create(&path)
            .unwrap()
            .set_len(LOG_BYTES_MAX + 1)
            .unwrap();
        assert_eq!(open_log(&path).unwrap().1, 0);
        assert!(root.path().join("log/brain.log.old").exists());
    }

    #[test]
    fn a_pid_that_now_belongs_to_somebody_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        private_folder(&folder.run()).unwrap();
        let pid_file = folder.pid_file("brain");
        fs::write(&pid_file, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(
            left_over(&pid_file, &folder),
            None,
            "this test is no process of the folder"
        );
    }

    #[test]
    fn a_child_of_somebody_else_refuses_to_run() {
        let refusal = become_child(1, &["true".into()]).unwrap_err();
        assert_eq!(refusal.to_string(), "the supervisor 1 is gone");
    }
}
