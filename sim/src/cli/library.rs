//! Where scenarios come from: the `scenarios` folder found upwards from where the command is given,
//! or else the copies in the binary; or any file that is named.

use std::path::{Path, PathBuf};

use super::Usage;
use crate::language::{Script, parse};
use crate::run::VOCABULARY;

/// The scenarios that were there when the binary was built, by name.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// A scenario or plan that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// `partition/leader-isolated`; for a file that was named, its path as it was named.
    pub name: String,
    /// What it says.
    pub script: Script,
    /// What it is about.
    pub story: Vec<String>,
}

/// The scenarios at hand.
#[derive(Debug)]
pub struct Library {
    /// Names, texts and files, in the order of names.
    entries: Vec<(String, Text)>,
}

#[derive(Debug)]
enum Text {
    File(PathBuf),
    Embedded(&'static str),
}

impl Library {
    /// Looks for the folder.
    pub fn find() -> Library {
        let here = std::env::current_dir().unwrap_or_default();
        let root = here.ancestors().map(|above| above.join("scenarios")).find(|it| it.is_dir());
        let mut entries = Vec::new();
        match root {
            Some(root) => collect(&root, &root, &mut entries),
            None => {
                let embedded =
                    EMBEDDED.iter().map(|(name, text)| ((*name).to_owned(), Text::Embedded(text)));
                entries.extend(embedded);
            }
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Library { entries }
    }

    /// The files, where scenarios are files.
    pub fn files(&self) -> Vec<PathBuf> {
        let files = self.entries.iter().filter_map(|(_, text)| match text {
            Text::File(path) => Some(path.clone()),
            Text::Embedded(_) => None,
        });
        files.collect()
    }

    /// The scenarios that are named: by name, by the group before the slash, or by file. All of
    /// them when none is named.
    pub fn select(&self, wanted: &[String]) -> Result<Vec<Loaded>, Usage> {
        if wanted.is_empty() {
            return self.entries.iter().map(|(name, text)| load(name, text)).collect();
        }
        let mut selected = Vec::new();
        for wanted in wanted {
            selected.extend(self.matching(wanted)?);
        }
        Ok(selected)
    }

    /// The one scenario or plan that is named.
    pub fn one(&self, wanted: &str) -> Result<Loaded, Usage> {
        match self.matching(wanted)?.as_slice() {
            [one] => Ok(one.clone()),
            many => Err(Usage(format!("`{wanted}` names {} scenarios: name one", many.len()))),
        }
    }

    fn matching(&self, wanted: &str) -> Result<Vec<Loaded>, Usage> {
        let group = format!("{}/", wanted.trim_end_matches('/'));
        let found: Vec<&(String, Text)> = self
            .entries
            .iter()
            .filter(|(name, _)| name == wanted || name.starts_with(&group))
            .collect();
        if !found.is_empty() {
            return found.into_iter().map(|(name, text)| load(name, text)).collect();
        }
        let path = Path::new(wanted);
        if path.is_file() {
            return Ok(vec![load(wanted, &Text::File(path.to_owned()))?]);
        }
        let names = self.entries.iter().map(|(name, _)| name.as_str());
        let groups = names.clone().filter_map(|name| name.split_once('/')).map(|(group, _)| group);
        let meant = crate::language::nearest(wanted, names.chain(groups))
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        Err(Usage(format!("there is no scenario and no file `{wanted}`{meant}")))
    }
}

fn collect(root: &Path, directory: &Path, entries: &mut Vec<(String, Text)>) {
    // A folder that cannot be read holds no scenarios.
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, entries);
        } else if path.extension().is_some_and(|extension| extension == "scenario") {
            let name = path.strip_prefix(root).unwrap_or(&path).with_extension("");
            entries.push((name.display().to_string(), Text::File(path)));
        }
    }
}

fn load(name: &str, text: &Text) -> Result<Loaded, Usage> {
    let (file, text) = match text {
        Text::Embedded(text) => (format!("scenarios/{name}.scenario"), (*text).to_owned()),
        Text::File(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Usage(format!("{}: {error}", path.display())))?;
            (shown(path), text)
        }
    };
    let script = read(&file, &text)?;
    let story = script.story().into_iter().map(str::to_owned).collect();
    Ok(Loaded { name: name.to_owned(), script, story })
}

/// Reads a script; what is wrong with it is told line by line.
pub fn read(name: &str, text: &str) -> Result<Script, Usage> {
    parse(name, text, VOCABULARY).map_err(|errors| {
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Usage(shown.join("\n"))
    })
}

/// A path as it is shorter to say from here.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
