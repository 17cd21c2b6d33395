//! The server's command line: flags by name and value, to the settings of a member, or to the text
//! and exit code with which etcd would end.
//!
//! Environment variables and the configuration file are other sources of the same settings.
//! Source: contract-cluster.md, sections 1.1 to 1.4.

mod arguments;
mod features;
mod settings;
mod start;
mod table;
#[cfg(test)]
mod tests;
mod verify;

use thiserror::Error;

pub use arguments::{Command, parse_arguments};
pub use features::Features;
pub use settings::{Settings, find};
pub use table::{Flag, TABLE};

use self::start::Derived;
use self::verify::{NO_ADVERTISED_CLIENT_URLS, Wrong, verify};
use super::quote::quote;
use super::value::{self, Kind};
use super::{CompatVersion, Config};
use crate::member::io::{Level, LogLine};

/// The server does not start with these flags.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct ConfigError {
    /// Of the process.
    pub exit_code: u8,
    /// etcd's text.
    pub text: String,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Parse,
    Verify,
    Panic,
    Start,
}

impl ConfigError {
    fn new(stage: Stage, text: String) -> ConfigError {
        let exit_code = if matches!(stage, Stage::Parse | Stage::Panic) { 2 } else { 1 };
        ConfigError { exit_code, text, stage }
    }

    /// What the log says. Errors of the command line itself are not logged: their text goes to
    /// standard error, before the usage.
    pub fn lines(&self) -> Vec<LogLine> {
        let line = |level, text| LogLine::new(level, text).with("error", self.text.as_str());
        match self.stage {
            Stage::Parse | Stage::Panic => Vec::new(),
            Stage::Start => vec![line(Level::Fatal, "discovery failed")],
            Stage::Verify => {
                let mut lines = vec![line(Level::Warn, "failed to verify flags")];
                if self.text == NO_ADVERTISED_CLIENT_URLS {
                    lines.push(line(Level::Warn, "advertise client URLs are not set"));
                }
                lines
            }
        }
    }
}

/// Settings from flags, given as names without dashes and values. A boolean that stood alone has
/// the value `true`.
pub fn parse(flags: &[(String, String)]) -> Result<Config, ConfigError> {
    parse_on(flags, None)
}

/// The same on a machine whose address on its default route is known.
pub fn parse_on(
    flags: &[(String, String)],
    default_host: Option<&str>,
) -> Result<Config, ConfigError> {
    let compat = compat_version(flags)?;
    let mut settings = Settings::defaults(compat);
    let mut features = Features::defaults();
    for (name, text) in flags {
        read(name, text, compat, &mut settings, &mut features)
            .map_err(|text| ConfigError::new(Stage::Parse, text))?;
    }
    let mut derived = Derived::without_ruled_out(&settings);
    features.adopt(&settings).map_err(|text| ConfigError::new(Stage::Verify, text))?;
    let advertised = derived.advertise_client_urls.as_deref();
    verify(&settings, &features, &derived.initial_cluster, advertised, compat).map_err(
        |wrong| match wrong {
            Wrong::Text(text) => ConfigError::new(Stage::Verify, text),
            Wrong::Panic(text) => ConfigError::new(Stage::Panic, text),
        },
    )?;
    derived.fill_in(&settings, default_host);
    let compaction =
        start::check(&settings).map_err(|text| ConfigError::new(Stage::Start, text))?;
    Ok(start::config(settings, &features, derived, compaction, compat))
}

/// Which etcd's flags these are: the last `compat-version` counts.
fn compat_version(flags: &[(String, String)]) -> Result<CompatVersion, ConfigError> {
    let given = flags.iter().rev().find(|(name, _)| name == "compat-version");
    Ok(match given.map(|(_, text)| text.as_str()) {
        Some("3.5") => CompatVersion::V3_5,
        None | Some("3.6") => CompatVersion::V3_6,
        Some("3.7") => CompatVersion::V3_7,
        Some(other) => {
            let text = invalid("compat-version", Kind::Text, other, "invalid value");
            return Err(ConfigError::new(Stage::Parse, text));
        }
    })
}

fn read(
    name: &str,
    text: &str,
    compat: CompatVersion,
    settings: &mut Settings,
    features: &mut Features,
) -> Result<(), String> {
    let flag = find(name, compat);
    let flag = flag.ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
    let fail = |cause: String| invalid(name, flag.kind, text, &cause);
    let value = value::parse(flag.kind, text).map_err(fail)?;
    if flag.kind == Kind::Gates {
        features.set(text, compat).map_err(fail)?;
    }
    settings.set(flag.name, value);
    Ok(())
}

/// A bad value in the words of Go's `flag` package.
fn invalid(name: &str, kind: Kind, text: &str, cause: &str) -> String {
    let text = quote(text);
    if kind == Kind::Bool {
        return format!("invalid boolean value {text} for -{name}: {cause}");
    }
    format!("invalid value {text} for flag -{name}: {cause}")
}

/// What etcd warns of before it starts with these settings.
pub fn warnings(config: &Config) -> Vec<LogLine> {
    let warn = |text: &str| LogLine::new(Level::Warn, text);
    let mut lines = Vec::new();
    if config.flags.list("listen-client-http-urls").is_empty() {
        lines.push(warn(
            "Running http and grpc server on single port. \
             This is not recommended for production.",
        ));
    }
    if config.lease_checkpoint && !config.lease_checkpoint_persist {
        let what = match config.compat {
            CompatVersion::V3_5 => "experimental-enable-lease-checkpoint-persist",
            CompatVersion::V3_6 | CompatVersion::V3_7 => "feature gate LeaseCheckpointPersist",
        };
        lines.push(warn(&format!(
            "Detected that checkpointing is enabled without persistence. Consider enabling {what}"
        )));
    }
    if config.name == "default" && config.compat > CompatVersion::V3_5 {
        lines.push(
            warn(
                "it isn't recommended to use default name, please set a value for --name. Note \
                 that etcd might run into issue when multiple members have the same default name",
            )
            .with("name", "default"),
        );
    }
    if config.flags.text("data-dir").is_empty() {
        let line = warn("'data-dir' was empty; using default");
        lines.push(line.with("data-dir", config.data_dir.as_str()));
    }
    lines
}
