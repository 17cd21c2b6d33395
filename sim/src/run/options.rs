//! Options of a run: what a script may set with `option`, and their defaults, which plans write
//! out.

use std::time::Duration;

use crate::language::Script;
use crate::language::ast::Statement;
use crate::language::value::{Kind, Parameter, Settings};

/// The options that scripts can set.
pub const OPTIONS: &[Parameter] = &[
    Parameter {
        name: "client-timeout",
        kind: Kind::Duration,
        default: "5s",
        meaning: "how long a client waits for an answer",
    },
    Parameter {
        name: "latency",
        kind: Kind::Span,
        default: "200us..1ms",
        meaning: "how long a message travels when nothing is wrong",
    },
    Parameter {
        name: "recovery",
        kind: Kind::Duration,
        default: "10s",
        meaning: "how long recovery may take once the last fault has ended",
    },
];

/// The options of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// All of them, as a script says them.
    pub settings: Settings,
}

impl Options {
    /// What a script says, completed with the defaults.
    pub fn of(script: &Script) -> Options {
        let mut said = Settings::default();
        for (_, statement) in script.statements() {
            if let Statement::Option(settings) = statement {
                said.0.extend(settings.0.iter().cloned());
            }
        }
        // What is said last counts.
        said.0.reverse();
        Options { settings: said.with_defaults(OPTIONS) }
    }

    /// How long a client waits for an answer.
    pub fn client_timeout(&self) -> Duration {
        self.settings.duration("client-timeout").expect("it has a default")
    }

    /// How long a message travels when nothing is wrong.
    pub fn latency(&self) -> (Duration, Duration) {
        self.settings.span("latency").expect("it has a default")
    }

    /// How long recovery may take.
    pub fn recovery(&self) -> Duration {
        self.settings.duration("recovery").expect("it has a default")
    }
}
