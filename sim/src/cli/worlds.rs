//! Makes the world of a run.

use std::path::PathBuf;

use super::Usage;
use crate::language::Script;
use crate::language::ast::{Action, Statement};
use crate::run::{WORLDS, loop_world};
use crate::world::World;
use crate::world::process::{Leave, Links, ProcessWorld};

/// Which world runs take place in.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The simulated one.
    Loop,
    /// Real processes of this program.
    Process {
        /// `etcd` or `detcd`.
        server: String,
        /// The program.
        program: PathBuf,
    },
}

impl Choice {
    /// From what the command line says.
    pub fn new(world: &str, server: Option<&str>) -> Result<Choice, Usage> {
        match (world, server) {
            ("loop", None) => Ok(Choice::Loop),
            ("loop", Some(_)) => Err(Usage("--server goes with --world process".to_owned())),
            ("process", server) => {
                let said = match server {
                    Some(text) => text.to_owned(),
                    None => format!("detcd={}", beside().display()),
                };
                let parts = said.split_once('=');
                let known = parts.filter(|(name, _)| matches!(*name, "etcd" | "detcd"));
                let Some((name, path)) = known else {
                    let what = "--server: expected `etcd=PATH` or `detcd=PATH`";
                    return Err(Usage(format!("{what}, found `{said}`")));
                };
                let program = PathBuf::from(path);
                if !program.is_file() {
                    if server.is_none() {
                        let what = "--world process: name the program with --server etcd=PATH";
                        return Err(Usage(format!("{what}; there is no {path}")));
                    }
                    return Err(Usage(format!("--server: there is no program {path}")));
                }
                Ok(Choice::Process { server: name.to_owned(), program })
            }
            (other, _) => {
                let meant = crate::language::nearest(other, WORLDS.iter().copied())
                    .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                Err(Usage(format!("--world: expected loop or process, found `{other}`{meant}")))
            }
        }
    }

    /// The options that choose it again.
    pub fn arguments(&self) -> Vec<String> {
        match self {
            Choice::Loop => Vec::new(),
            Choice::Process { server, program } => vec![
                "--world".to_owned(),
                "process".to_owned(),
                "--server".to_owned(),
                format!("{server}={}", program.display()),
            ],
        }
    }

    /// A fresh world for a script.
    pub fn make(&self, seed: u64, script: &Script) -> Result<Box<dyn World>, String> {
        match self {
            Choice::Loop => Ok(Box::new(loop_world(script, seed))),
            Choice::Process { program, .. } => {
                let links = if breaks_links(script) { Links::Relayed } else { Links::Direct };
                let world = ProcessWorld::new(program, links, Leave::Nothing);
                world.map(|world| Box::new(world) as Box<dyn World>).map_err(|it| it.to_string())
            }
        }
    }
}

/// Whether a script needs links that can be broken.
fn breaks_links(script: &Script) -> bool {
    let breaks = |action: &Action| {
        matches!(
            action,
            Action::Cut(..) | Action::Reset(_) | Action::HalfOpen(_) | Action::Link(..)
        )
    };
    script.statements().any(|(_, statement)| match statement {
        Statement::Do(action) | Statement::At(_, action) => breaks(action),
        Statement::Nemesis(nemesis) => {
            let kinds = "partition one-way flapping messages slow-link lossy heavy-tail narrow \
                         reset half-open clients";
            kinds.split(' ').any(|kind| kind == nemesis.kind)
        }
        _ => false,
    })
}

/// The server that was built beside this command.
fn beside() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("detcd")
}
