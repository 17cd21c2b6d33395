//! `--feature-gates`, and the `experimental-` flags that became gates.
//! Source: contract-cluster.md, section 1.3.

use std::collections::BTreeMap;

use super::settings::Settings;
use crate::config::CompatVersion::{self, V3_6, V3_7};
use crate::config::value::parse_bool;

struct Gate {
    name: &'static str,
    is_alpha: bool,
    default: bool,
    first: CompatVersion,
    /// The flag that turned it on before there were gates.
    forerunner: &'static str,
}

const fn alpha(name: &'static str, first: CompatVersion, forerunner: &'static str) -> Gate {
    Gate { name, is_alpha: true, default: false, first, forerunner }
}

const fn beta(name: &'static str, first: CompatVersion, forerunner: &'static str) -> Gate {
    Gate { name, is_alpha: false, default: true, first, forerunner }
}

const GATES: [Gate; 9] = [
    alpha("CompactHashCheck", V3_6, "experimental-compact-hash-check-enabled"),
    beta("FastLeaseKeepAlive", V3_7, ""),
    alpha("InitialCorruptCheck", V3_6, "experimental-initial-corrupt-check"),
    alpha("LeaseCheckpoint", V3_6, "experimental-enable-lease-checkpoint"),
    alpha("LeaseCheckpointPersist", V3_6, "experimental-enable-lease-checkpoint-persist"),
    alpha("PriorityRequest", V3_7, ""),
    alpha("SetMemberLocalAddr", V3_6, ""),
    alpha("StopGRPCServiceOnDefrag", V3_6, "experimental-stop-grpc-service-on-defrag"),
    beta("TxnModeWriteWithSharedBuffer", V3_6, "experimental-txn-mode-write-with-shared-buffer"),
];

/// Which features are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    enabled: BTreeMap<&'static str, bool>,
    given: BTreeMap<&'static str, bool>,
}

impl Features {
    /// The defaults.
    pub fn defaults() -> Features {
        let enabled = GATES.iter().map(|gate| (gate.name, gate.default)).collect();
        Features { enabled, given: BTreeMap::new() }
    }

    /// Whether a feature is on.
    pub fn is_on(&self, name: &str) -> bool {
        *self.enabled.get(name).expect("a known gate")
    }

    /// Takes one value of `--feature-gates`; several add up.
    pub(super) fn set(&mut self, text: &str, compat: CompatVersion) -> Result<(), String> {
        let mut wanted = BTreeMap::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let Some((name, value)) = item.split_once('=') else {
                return Err(format!("missing bool value for {}", item.trim()));
            };
            let (name, value) = (name.trim(), value.trim());
            let on = parse_bool(value).ok_or_else(|| {
                let why = format!("strconv.ParseBool: parsing \"{value}\": invalid syntax");
                format!("invalid value of {name}={value}, err: {why}")
            })?;
            wanted.insert(name, on);
        }
        for (name, on) in wanted {
            let gate = GATES.iter().find(|gate| gate.name == name && gate.first <= compat);
            match (gate, name) {
                (Some(gate), _) => {
                    self.enabled.insert(gate.name, on);
                    self.given.insert(gate.name, on);
                }
                (None, "AllAlpha" | "AllBeta") => self.set_all(name == "AllAlpha", on),
                (None, _) => return Err(format!("unrecognized feature gate: {name}")),
            }
        }
        Ok(())
    }

    /// All gates of a stage but those that were given by name.
    fn set_all(&mut self, is_alpha: bool, on: bool) {
        for gate in GATES.iter().filter(|gate| gate.is_alpha == is_alpha) {
            if !self.given.contains_key(gate.name) {
                self.enabled.insert(gate.name, on);
            }
        }
    }

    /// Takes what the `experimental-` flags say. A gate and its flag together are an error.
    pub(super) fn adopt(&mut self, settings: &Settings) -> Result<(), String> {
        let gates = settings.text("feature-gates");
        for Gate { name, forerunner, .. } in &GATES {
            if forerunner.is_empty() || !settings.is_explicit(forerunner) {
                continue;
            }
            let on = settings.is_on(forerunner);
            if gates.contains(name) {
                let gate = format!("--feature-gates={name}={}", self.is_on(name));
                return Err(format!(
                    "cannot specify both flags: --{forerunner}={on} and {gate} at the same time, \
                     please just use {gate}"
                ));
            }
            self.enabled.insert(name, on);
        }
        Ok(())
    }
}
