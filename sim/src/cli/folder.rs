//! The folder of reports: for failed runs their records, plans and pages, and an index of all runs.
//!
//! A failure that a thousand seeds share needs no thousand pages: records and pages are kept of the
//! first few runs that fail alike, and of any that is shorter than those. Plans are kept always.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use detsim_reports::outline::Outline;
use detsim_reports::record::RunRecord;
use detsim_reports::{junit, page, sweep};

/// Runs that failed alike of which records and pages are kept, however long they are.
const ALIKE: u32 = 10;

/// A folder that is being filled.
#[derive(Debug)]
pub struct Folder {
    directory: PathBuf,
    /// How many records are kept of a scenario's failure, and the fewest operations among them.
    kept: BTreeMap<(String, String), (u32, u64)>,
}

impl Folder {
    /// A folder that need not be there yet.
    pub fn new(directory: PathBuf) -> Folder {
        Folder { directory, kept: BTreeMap::new() }
    }

    /// Where reports of `detsim run` go when nobody says so.
    pub fn usual() -> PathBuf {
        let here = std::env::current_dir().unwrap_or_default();
        project(&here).map_or_else(|| here.join("detsim-runs"), |it| it.join("reports/out/run"))
    }

    /// Where those of another command go: into the project's `reports/out` too, or beside where the
    /// command is given when that is no project.
    pub fn usual_of(command: &str) -> PathBuf {
        let here = std::env::current_dir().unwrap_or_default();
        let beside = || here.join(format!("detsim-{command}"));
        project(&here).map_or_else(beside, |it| it.join("reports/out").join(command))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Keeps a failed run; its outline then says where its page is.
    pub fn keep(&mut self, record: &RunRecord, outline: &mut Outline) -> std::io::Result<()> {
        let name = file_name(record);
        let base = self.directory.join(&name);
        if let Some(folder) = base.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(ended(&base, ".plan"), &record.plan)?;
        let alike = (outline.scenario.clone(), outline.failure().to_owned());
        let (many, fewest) = self.kept.entry(alike).or_insert((0, u64::MAX));
        if *many >= ALIKE && record.operations >= *fewest {
            return Ok(());
        }
        (*many, *fewest) = (*many + 1, record.operations.min(*fewest));
        std::fs::write(ended(&base, ".json"), serde_json::to_vec(record)?)?;
        std::fs::write(ended(&base, ".html"), page::page_with(record, &outline.command))?;
        outline.page = Some(format!("{name}.html"));
        Ok(())
    }

    /// Writes the index of all runs; tells where it is.
    pub fn index(&self, runs: &[Outline]) -> std::io::Result<PathBuf> {
        let path = self.directory.join("index.html");
        std::fs::create_dir_all(&self.directory)?;
        std::fs::write(&path, sweep::index("detsim run", runs))?;
        Ok(path)
    }
}

/// The project around a folder, if it is in one.
fn project(here: &Path) -> Option<&Path> {
    here.ancestors()
        .find(|above| above.join("scenarios").is_dir() && above.join("reports/src").is_dir())
}

/// Writes all runs as JUnit's XML.
pub fn write_junit(path: &Path, runs: &[Outline]) -> std::io::Result<()> {
    write(path, &junit::xml(runs))
}

/// Writes a file into a folder that need not be there yet.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

/// Where a run's files lie in a folder, without their endings: below the scenario's group.
pub fn file_name(record: &RunRecord) -> String {
    let scenario = record.scenario.trim_end_matches(".scenario").trim_end_matches(".plan");
    let parts: Vec<&str> =
        scenario.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    format!("{}-{}", parts.join("/"), record.seed)
}

fn ended(base: &Path, ending: &str) -> PathBuf {
    let mut path = base.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}
