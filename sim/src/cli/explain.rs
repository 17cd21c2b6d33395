//! `detsim explain`: the page of one run, from its record or by doing it again.

use std::path::Path;

use detsim_reports::page;
use detsim_reports::record::RunRecord;

use super::campaign::{self, Job, Keep};
use super::folder::{Folder, file_name, write};
use super::library::shown;
use super::worlds::Choice;
use super::{Explain, Usage, output};

/// Writes the page and tells where it is.
pub fn explain(command: &Explain) -> Result<u8, Usage> {
    let path = Path::new(&command.run);
    let (record, text) = match path.extension().is_some_and(|it| it == "json") && path.is_file() {
        true => {
            let record = read(path)?;
            let text = page::page(&record);
            (record, text)
        }
        false => run(command)?,
    };
    let usual = || Folder::usual().join(file_name(&record) + ".html");
    let out = command.out.clone().unwrap_or_else(usual);
    write(&out, &text).map_err(|error| Usage(format!("{}: {error}", shown(&out))))?;
    println!("{}", shown(&out));
    Ok(0)
}

fn read(path: &Path) -> Result<RunRecord, Usage> {
    let fail = |what: String| Usage(format!("{}: {what}", shown(path)));
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| fail(format!("it is no record: {error}")))
}

fn run(command: &Explain) -> Result<(RunRecord, String), Usage> {
    let (loaded, seed) = super::one(&command.run, command.seed)?;
    let choice = Choice::new(&command.place.world, command.place.server.as_deref())?;
    let job = Job { scenario: &loaded, seed };
    let (record, _) = campaign::run_one(&job, &choice, Keep::Nothing);
    let command = output::replay_command(&loaded, &record, &choice);
    let text = page::page_with(&record, &command);
    Ok((record, text))
}
