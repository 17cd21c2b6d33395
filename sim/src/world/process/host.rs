//! One member's place on this machine: its folder, its log, its process.
//!
//! The process writes its log straight into a file, which all its incarnations share. It is reaped
//! only here, on the thread that also signals it, so a signal never reaches a stranger.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::log;
use crate::world::{Exit, WorldError};

/// A member's place.
#[derive(Debug)]
pub struct Host {
    directory: PathBuf,
    child: Option<Child>,
    is_paused: bool,
    log_start: u64,
    exit: Option<Exit>,
}

impl Host {
    /// Makes the folder.
    pub fn new(directory: PathBuf) -> Result<Host, WorldError> {
        std::fs::create_dir_all(&directory).map_err(|error| harness(&directory, &error))?;
        Ok(Host { directory, child: None, is_paused: false, log_start: 0, exit: None })
    }

    /// Where a data directory of this name lies.
    pub fn data(&self, name: &str) -> PathBuf {
        self.directory.join("disk").join(name)
    }

    /// Keeps everything on the member's disk aside as it is now.
    pub fn remember(&self) -> std::io::Result<()> {
        let aside = self.directory.join("remembered");
        if aside.exists() {
            std::fs::remove_dir_all(&aside)?;
        }
        copy_folder(&self.directory.join("disk"), &aside)
    }

    /// Puts back what was kept aside.
    pub fn roll_back(&self) -> std::io::Result<()> {
        let (disk, aside) = (self.directory.join("disk"), self.directory.join("remembered"));
        if !aside.exists() {
            return Ok(());
        }
        std::fs::remove_dir_all(&disk)?;
        std::fs::rename(&aside, &disk)
    }

    /// Where the log lies.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Whether the process runs, as far as `reap` has seen.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The process, as far as `reap` has seen.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process is frozen.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// How the last process ended.
    pub fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Removes everything that a process of this place has stored.
    pub fn wipe(&mut self) -> Result<(), WorldError> {
        let disk = self.directory.join("disk");
        match std::fs::remove_dir_all(&disk) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(harness(&disk, &error))
            }
            _ => Ok(()),
        }
    }

    /// Starts a process. It inherits nothing of this process's environment: an `ETCD_...` or a
    /// proxy variable would change what a run means.
    pub fn start(&mut self, program: &Path, arguments: &[String]) -> Result<(), WorldError> {
        assert!(self.child.is_none(), "the world asks for one process at a time");
        let disk = self.directory.join("disk");
        std::fs::create_dir_all(&disk).map_err(|error| harness(&disk, &error))?;
        let log = self.log_path();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| harness(&log, &error))?;
        self.log_start = file.seek(SeekFrom::End(0)).map_err(|error| harness(&log, &error))?;
        let output = file.try_clone().map_err(|error| harness(&log, &error))?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .spawn()
            .map_err(|error| harness(program, &error))?;
        self.child = Some(child);
        self.is_paused = false;
        self.exit = None;
        Ok(())
    }

    /// Ends the process at once and waits until it is gone.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It fails only when the process is gone already, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
        self.is_paused = false;
        self.exit = Some(Exit { code: 137, reason: "killed".to_owned() });
    }

    /// Asks the process to stop.
    pub fn terminate(&mut self) -> Result<(), WorldError> {
        self.signal(Signal::TERM)
    }

    /// Freezes the process, and returns when none of its threads runs any more.
    pub fn pause(&mut self) -> Result<(), WorldError> {
        self.signal(Signal::STOP)?;
        let pid = Pid::from_child(self.child.as_ref().expect("it was just signalled"));
        let changes = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), changes)
            .map_err(|error| WorldError::Harness(format!("wait for a stop: {error}")))?;
        self.is_paused = true;
        Ok(())
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<(), WorldError> {
        self.signal(Signal::CONT)?;
        self.is_paused = false;
        Ok(())
    }

    /// Notices that the process has ended by itself.
    pub fn reap(&mut self) -> Option<Exit> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.is_paused = false;
        let exit = self.describe(status);
        self.exit = Some(exit.clone());
        Some(exit)
    }

    /// The log since the last start.
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(self.log_path()).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.log_start))?;
            file.read_to_end(&mut bytes)
        });
        // A place that was never started has no log, and nothing is in it.
        read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn describe(&self, status: ExitStatus) -> Exit {
        if let Some(signal) = status.signal() {
            return Exit { code: 128 + signal, reason: format!("ended by signal {signal}") };
        }
        let code = status.code().expect("a process ends by a code or by a signal");
        Exit { code, reason: log::last_words(&self.log()) }
    }

    fn signal(&mut self, signal: Signal) -> Result<(), WorldError> {
        let Some(child) = &self.child else {
            return Err(WorldError::Harness("the member does not run".to_owned()));
        };
        kill_process(Pid::from_child(child), signal)
            .map_err(|error| WorldError::Harness(format!("signal: {error}")))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

fn harness(path: &Path, error: &std::io::Error) -> WorldError {
    WorldError::Harness(format!("{}: {error}", path.display()))
}

/// Copies a folder with everything below it; files keep their permissions.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
