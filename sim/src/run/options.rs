//! Options of a run: what a script may set with `option`, and their defaults, which plans write
//! out.

use std::time::Duration;

use detcd::planted::Defect;

use crate::language::Script;
use crate::language::ast::Statement;
use crate::language::value::{Kind, Parameter, Settings, Value};
use crate::seed::{Draw, Streams};
use crate::world::loop_world::DatabaseKind;

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
        default: "100us..1ms",
        meaning: "how long a message travels when nothing is wrong",
    },
    Parameter {
        name: "client-window",
        kind: Kind::Size,
        default: "64KB",
        meaning: "how much of a stream is on its way before its client must make room: the more, the \
                  more revisions come in one message to who watches the past",
    },
    Parameter {
        name: "codec",
        kind: Kind::Words(&["drawn", "on", "off"]),
        default: "drawn",
        meaning: "raft messages pass through their encoding; drawn: in one seed of sixteen",
    },
    Parameter {
        name: "wal-segment",
        kind: Kind::Words(&["drawn", "64KB", "256KB", "1MB", "4MB"]),
        default: "drawn",
        meaning: "how large a segment of a log is before the next one is begun; one of several is \
                  drawn by the seed, one of all for `drawn`",
    },
    Parameter {
        name: "database",
        kind: Kind::Words(&["none", "logical", "pages"]),
        default: "none",
        meaning: "what members keep beside their logs: nothing, so that no log is ever truncated; a \
                  database whose rows the harness holds and whose commits are a small write and a \
                  sync; or one in etcd's own file format; one of several is drawn by the seed",
    },
    Parameter {
        name: "planted",
        kind: Kind::Text,
        default: "none",
        meaning: "a defect that is planted into the members, in a build that holds them",
    },
    Parameter {
        name: "recovery",
        kind: Kind::Duration,
        default: "10s",
        meaning: "how long recovery may take once the last fault has ended",
    },
];

/// Sizes of log segments that a seed draws from.
const SEGMENTS: [&str; 4] = ["64KB", "256KB", "1MB", "4MB"];

/// Leaves one of an option's words, which the seed draws where there are several.
fn draw_one(option: &str, words: &mut Vec<String>, seed: u64) {
    if words.len() > 1 {
        *words = vec![Streams::new(seed).stream(option).pick(words).clone()];
    }
}

/// The options of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// All of them, as a script says them.
    pub settings: Settings,
}

impl Options {
    /// What a script says, completed with the defaults and with what the seed decides.
    pub fn of(script: &Script, seed: u64) -> Options {
        let mut said = Settings::default();
        for (_, statement) in script.statements() {
            if let Statement::Option(settings) = statement {
                said.0.extend(settings.0.iter().cloned());
            }
        }
        // What is said last counts.
        said.0.reverse();
        let mut settings = said.with_defaults(OPTIONS);
        let is_on = match settings.words("codec") {
            [word] if word == "on" => true,
            [word] if word == "off" => false,
            _ => Streams::new(seed).stream("codec").below(16) == 0,
        };
        let word = if is_on { "on" } else { "off" };
        for (name, value) in &mut settings.0 {
            match (name.as_str(), &mut *value) {
                ("codec", _) => *value = Value::Words(vec![word.to_owned()]),
                ("wal-segment", Value::Words(words)) => {
                    if words.iter().any(|word| word == "drawn") {
                        *words = SEGMENTS.map(str::to_owned).to_vec();
                    }
                    draw_one(name, words, seed);
                }
                ("database", Value::Words(words)) => draw_one(name, words, seed),
                _ => {}
            }
        }
        Options { settings }
    }

    /// How long a client waits for an answer.
    pub fn client_timeout(&self) -> Duration {
        self.settings.duration("client-timeout").expect("it has a default")
    }

    /// How long a message travels when nothing is wrong.
    pub fn latency(&self) -> (Duration, Duration) {
        self.settings.span("latency").expect("it has a default")
    }

    /// How many bytes of a stream are on their way before its client must make room.
    pub fn client_window(&self) -> u64 {
        self.settings.number("client-window").expect("it has a default")
    }

    /// Whether raft messages pass through their encoding.
    pub fn codec(&self) -> bool {
        self.settings.words("codec") == ["on"]
    }

    /// How large a segment of a log is before the next one is begun, in bytes.
    pub fn wal_segment(&self) -> u64 {
        let word = self.settings.words("wal-segment").first();
        match word.and_then(|word| Kind::Size.read(word)) {
            Some(Value::Size(bytes)) => bytes,
            _ => unreachable!("one size is decided"),
        }
    }

    /// What members keep beside their logs.
    pub fn database(&self) -> DatabaseKind {
        match self.settings.words("database").first().map(String::as_str) {
            Some("logical") => DatabaseKind::Logical,
            Some("pages") => DatabaseKind::Pages,
            _ => DatabaseKind::None,
        }
    }

    /// The defect that is planted into the members, if one is.
    pub fn planted(&self) -> Result<Option<Defect>, String> {
        match self.settings.0.iter().find(|(name, _)| name == "planted") {
            Some((_, Value::Text(name))) if name != "none" => name.parse().map(Some),
            _ => Ok(None),
        }
    }

    /// How long recovery may take.
    pub fn recovery(&self) -> Duration {
        self.settings.duration("recovery").expect("it has a default")
    }
}
