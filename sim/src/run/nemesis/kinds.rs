//! The nemeses that scripts can name, with what each may be told.

use crate::disk::{Harm, Missing};
use crate::language::OCCASION_WORDS;
use crate::language::value::{Entry, Kind, Parameter, words};

const fn parameter(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { name, kind, default, meaning }
}

const fn nemesis(
    name: &'static str,
    meaning: &'static str,
    parameters: &'static [Parameter],
) -> Entry {
    Entry { name, meaning, parameters }
}

const EVERY: Parameter =
    parameter("every", Kind::Span, "5s..15s", "how long it waits before a fault");
const FOR: Parameter = parameter("for", Kind::Span, "1s..8s", "how long a fault lasts");

const ROLES: Kind = Kind::Words(&["one", "leader", "follower", "minority", "majority", "all"]);
const SHAPES: Kind =
    Kind::Words(&["leader", "one", "minority", "leader-minority", "halves", "bridge", "ring"]);
const WAYS: Kind = Kind::Words(&["leader-in", "leader-out", "one-in", "one-out"]);
const CLASSES: Kind = Kind::Words(&["heartbeats", "appends", "votes", "read-index", "snapshots"]);
const DIRECTIONS: Kind = Kind::Words(&["both", "in", "out"]);
const OCCASIONS: Kind = Kind::Words(OCCASION_WORDS);
const LIES: Kind = Kind::Words(&["syncs", "names", "lost-write", "misdirected-write"]);
const LOSSES: Kind = Kind::Words(&words(&MISSING));
const HARMED: Kind = Kind::Words(&words(&HARMS));
const CLOCKS: Kind = Kind::Words(&["both", "wall"]);
const CHANGES: Kind = Kind::Words(&["replace", "grow", "shrink", "learner"]);
const CALLS: Kind = Kind::Words(&["compact", "hash", "member-list", "defragment", "alarm-list"]);

/// What a disk can lose, by its words.
pub const MISSING: [(&str, Missing); 3] = [
    ("first-segment", Missing::FirstSegment),
    ("last-segment", Missing::LastSegment),
    ("log", Missing::Log),
];

/// What can be damaged of databases and snapshots so that a member notices or has everything.
pub const HARMS: [(&str, Harm); 7] = [
    ("index", Harm::RotIndex),
    ("meta", Harm::RotMeta),
    ("snapshot", Harm::RotSnapshot),
    ("cut-database", Harm::TruncateDatabase),
    ("zeroed-database", Harm::ZeroDatabase),
    ("lost-database", Harm::LoseDatabase),
    ("lost-snapshot", Harm::LoseSnapshot),
];

const FLAGS: Kind = Kind::Words(&[
    "timing",
    "compaction-batch-limit",
    "max-snapshots",
    "max-wals",
    "pre-vote",
    "snapshot-catchup-entries",
    "snapshot-count",
    "watch-progress-notify-interval",
]);

/// Flags that a member can be restarted with, what they are when nobody says, and other values.
pub const OTHER_FLAGS: [(&str, &str, &[&str]); 7] = [
    ("compaction-batch-limit", "0", &["10", "100"]),
    ("max-snapshots", "5", &["1", "2"]),
    ("max-wals", "5", &["1", "2"]),
    ("pre-vote", "true", &["false", "true"]),
    ("snapshot-catchup-entries", "5000", &["5", "100"]),
    ("snapshot-count", "10000", &["10", "100", "1000"]),
    ("watch-progress-notify-interval", "0s", &["100ms", "1s"]),
];

/// How often a fault of links is one of the links to clients.
const CLIENTS: Parameter =
    parameter("clients", Kind::Percent, "0%", "how often its links to clients in their place");

const TARGETS: Parameter =
    parameter("targets", ROLES, "one", "whom; one of several is drawn for each fault");

/// The nemeses that scripts can name.
pub const KINDS: &[Entry] = &[
    nemesis(
        "partition",
        "members are cut off from each other",
        &[
            parameter(
                "shape",
                SHAPES,
                "leader,one,minority,leader-minority,halves,bridge,ring",
                "who from whom; one of several is drawn for each fault",
            ),
            parameter(
                "direction",
                DIRECTIONS,
                "both",
                "in: the first side does not hear; out: it is not heard; one of several is drawn",
            ),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "one-way",
        "a member hears nobody, or nobody hears it",
        &[
            parameter(
                "way",
                WAYS,
                "leader-in,leader-out,one-in,one-out",
                "which messages are lost; one of several is drawn for each fault",
            ),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "flapping",
        "a member's links come and go",
        &[
            TARGETS,
            parameter("period", Kind::Span, "100ms..400ms", "how long the links stay as they are"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "messages",
        "messages of one class between a member and the others are lost",
        &[
            parameter(
                "class",
                CLASSES,
                "heartbeats,appends,votes,read-index,snapshots",
                "which; one of several is drawn for each fault",
            ),
            TARGETS,
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "slow-link",
        "messages between a member and the others take long",
        &[
            TARGETS,
            parameter("latency", Kind::Span, "50ms..200ms", "how long"),
            parameter("loss", Kind::Percent, "0%", "how many need a retransmission"),
            CLIENTS,
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "lossy",
        "messages between a member and the others are sent again, arrive twice, are overtaken",
        &[
            TARGETS,
            parameter("loss", Kind::Percent, "20%", "how many need a retransmission"),
            parameter("duplicate", Kind::Percent, "10%", "how many arrive twice"),
            parameter("reorder", Kind::Percent, "10%", "how many are overtaken"),
            CLIENTS,
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "heavy-tail",
        "some messages between a member and the others take far longer than most",
        &[
            TARGETS,
            parameter(
                "tail",
                Kind::Percent,
                "50%",
                "how many take twice as long, and of these again",
            ),
            parameter("latency", Kind::Span, "1ms..5ms", "how long the others take"),
            CLIENTS,
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "narrow",
        "few bytes a second pass between a member and the others",
        &[TARGETS, parameter("bandwidth", Kind::Size, "64KB", "how many"), CLIENTS, EVERY, FOR],
    ),
    nemesis(
        "reset",
        "the connections between a member and the others, or its clients', are reset",
        &[TARGETS, parameter("clients", Kind::Percent, "25%", "how often its clients'"), EVERY],
    ),
    nemesis(
        "half-open",
        "connections between a member and the others are gone, and one side is not told",
        &[
            TARGETS,
            parameter("direction", DIRECTIONS, "in,out", "in: the others are not told; out: it"),
            EVERY,
        ],
    ),
    nemesis(
        "clients",
        "clients do not reach a member, or do not hear it",
        &[TARGETS, parameter("direction", DIRECTIONS, "both,in,out", "what is lost"), EVERY, FOR],
    ),
    nemesis(
        "kill",
        "processes are killed, and started again after a while",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "kill-at",
        "a process is killed at a disk operation or a message, if it comes in time",
        &[
            TARGETS,
            parameter("at", OCCASIONS, "write,sync,name,appends,votes", "at what; one is drawn"),
            parameter("count", Kind::Count, "10", "at one of so many times from now, drawn"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "power-loss",
        "hosts lose their power at the same moment, and start again after a while",
        &[
            TARGETS,
            parameter("busy", Kind::Percent, "0%", "how often syncs take long before it"),
            EVERY,
            FOR,
        ],
    ),
    nemesis("pause", "processes are frozen for a while", &[TARGETS, EVERY, FOR]),
    nemesis(
        "slow-processor",
        "each step of a member takes long",
        &[TARGETS, parameter("step", Kind::Span, "500us..5ms", "how long"), EVERY, FOR],
    ),
    nemesis("restart", "members are stopped gracefully and started again", &[TARGETS, EVERY]),
    nemesis(
        "reconfigure",
        "members are restarted with other flags, and back",
        &[
            parameter(
                "flags",
                FLAGS,
                "timing",
                "which; timing: heartbeat interval and election timeout; one of several is drawn",
            ),
            TARGETS,
            EVERY,
            FOR,
        ],
    ),
    nemesis("hang", "syncs of a disk do not end for a while", &[TARGETS, EVERY, FOR]),
    nemesis(
        "slow-disk",
        "syncs of a disk take long",
        &[
            TARGETS,
            parameter("latency", Kind::Span, "20ms..500ms", "how long a sync takes"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "full",
        "a disk has no space for a while; whoever ends of it starts again",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "read-only",
        "a disk is mounted read-only until its host has lost its power; the member ends of it",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "sync-error",
        "a sync fails, once; the member ends of it and starts again; at most a minority",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "write-error",
        "a write fails, once; the member ends of it and starts again",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "read-error",
        "a member is killed, fails to read its log, and starts again after a while",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "rot",
        "a bit of a member's log is flipped while it is down: it must refuse; at most a minority",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "lies",
        "a disk says that it has synced and has not, then the power is lost: the member counts as \
         failed; at most a minority",
        &[
            TARGETS,
            parameter("about", LIES, "syncs,names,lost-write,misdirected-write", "what of"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "roll-back",
        "a member is killed and its disk is as it was before: it counts as failed; at most a \
         minority",
        &[TARGETS, EVERY, FOR],
    ),
    nemesis(
        "lost-files",
        "a member is killed and files of its log are missing: it counts as failed; at most a \
         minority",
        &[
            TARGETS,
            parameter("what", LOSSES, "first-segment,last-segment,log", "which; one is drawn"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "damaged-files",
        "a member is killed, its database or a snapshot is damaged, and it starts again: it has \
         everything or refuses; at most a minority",
        &[
            TARGETS,
            parameter(
                "what",
                HARMED,
                "index,meta,snapshot,cut-database,zeroed-database,lost-database,lost-snapshot",
                "which; one is drawn",
            ),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "clock",
        "wall clocks jump, and back after a while",
        &[
            TARGETS,
            parameter("jump", Kind::Span, "1s..60s", "how far, forwards or back"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "drift",
        "clocks run too fast or too slow for a while",
        &[
            TARGETS,
            parameter("ppm", Kind::Count, "500", "by how much at most, in parts per million"),
            parameter("of", CLOCKS, "both,wall", "which; one of several is drawn"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "strobe",
        "wall clocks jump to and fro",
        &[
            TARGETS,
            parameter("jump", Kind::Span, "1s..10s", "how far"),
            parameter("period", Kind::Span, "50ms..400ms", "how long between jumps"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "freeze",
        "clocks stand still for a while",
        &[
            TARGETS,
            parameter("of", CLOCKS, "both,wall", "which; one of several is drawn"),
            EVERY,
            FOR,
        ],
    ),
    nemesis(
        "membership",
        "members are replaced, added, removed; first those whose disks lost what they promised",
        &[
            parameter("change", CHANGES, "replace,grow,shrink,learner", "what; one is drawn"),
            TARGETS,
            EVERY,
            FOR,
        ],
    ),
    nemesis("defragment", "members rewrite their databases, one or all at once", &[TARGETS, EVERY]),
    nemesis("move-leader", "the leader is asked to hand over to a follower", &[EVERY]),
    nemesis(
        "calls",
        "compactions and other calls of an operator",
        &[parameter("what", CALLS, "compact,hash,member-list", "one is drawn"), EVERY],
    ),
];
