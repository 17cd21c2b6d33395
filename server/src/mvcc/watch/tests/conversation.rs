//! Conversations with a hub as text: commands, each followed by what it made the hub send, on lines
//! that begin with `<`. Times are milliseconds. `key=-` gives no key, `\0` is the byte zero.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::fmt::Write as _;
use std::time::Duration;

use super::tape::{Tape, Write, Written};
use crate::member::id::{ClusterId, MemberId, StreamId};
use crate::member::io::{Output, Outputs, StreamItem};
use crate::member::time::Monotonic;
use crate::mvcc::watch::{WatchHub, WatchSettings};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::mvccpb::event::EventType;

/// Runs the commands of a conversation and compares what is said.
pub fn check(script: &str) {
    let lines = || script.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut talk = Talk::new();
    let mut said = Vec::new();
    for command in lines().filter(|line| !line.starts_with('<')) {
        said.push(command.to_owned());
        talk.run(command);
        said.extend(talk.heard());
    }
    let expected: Vec<&str> = lines().collect();
    assert_eq!(said, expected, "\n{}\n", said.join("\n"));
}

struct Talk {
    hub: WatchHub,
    tape: Tape,
    now: Monotonic,
    out: Outputs,
}

/// The options of a command.
struct Options<'a>(Vec<&'a str>);

impl<'a> Options<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name).map(|text| text.parse().expect("a number"))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.replace("\\0", "\0"))
}

impl Talk {
    fn new() -> Talk {
        let settings = WatchSettings::new(Duration::from_secs(1), 1_572_864);
        let mut hub = WatchHub::new(settings, ChaCha8Rng::seed_from_u64(1), 1);
        hub.set_header(ClusterId(7), MemberId(8), 9);
        Talk { hub, tape: Tape::blank(), now: Monotonic::ZERO, out: Outputs::new() }
    }

    fn run(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let verb = words.next().expect("a command");
        let rest: Vec<&str> = words.collect();
        let options = Options(rest.clone());
        let stream = || StreamId(rest[0].parse().expect("a stream's number"));
        match verb {
            "open" => {
                let window = options.number("window").unwrap_or(1 << 30);
                self.hub.open(stream(), window as u64, self.now);
            }
            "close" => self.hub.close(stream()),
            "window" => {
                let bytes = rest[1].parse().expect("bytes");
                self.hub.window(stream(), bytes, self.now, &mut self.out);
            }
            "write" => self.write(&rest),
            "many" => (0..rest[0].parse().expect("a count")).for_each(|_| self.write(&rest[1..])),
            "compact" => self.tape.compact(rest[0].parse().expect("a revision")),
            // The store moves on without the hub, as a snapshot does.
            "unseen" => self.tape.write(&writes(&rest)),
            "install" => self.hub.on_snapshot_installed(&self.tape, self.now),
            "advance" => self.advance(rest[0].parse().expect("milliseconds")),
            "fragments" => self.hub.sender.fragment_bytes = rest[0].parse().expect("bytes"),
            "refuse" => {
                let reason = rest[1..].join(" ");
                self.hub.refuse(stream(), &reason, &self.tape, &mut self.out);
            }
            "create" => self.message(stream(), Some(create(&options))),
            "cancel" => {
                let watch_id = rest[1].parse().expect("a watcher's id");
                let cancel = pb::WatchCancelRequest { watch_id };
                self.message(stream(), Some(RequestUnion::CancelRequest(cancel)));
            }
            "progress" => {
                let request = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                self.message(stream(), Some(request));
            }
            "nothing" => self.message(stream(), None),
            other => panic!("no such command: {other}"),
        }
    }

    fn write(&mut self, words: &[&str]) {
        self.tape.write(&writes(words));
        self.hub.notify(&self.tape, self.now, &mut self.out);
    }

    fn message(&mut self, stream: StreamId, request_union: Option<RequestUnion>) {
        let request = pb::WatchRequest { request_union };
        self.hub.message(stream, &request, &self.tape, self.now, &mut self.out);
    }

    fn advance(&mut self, ms: u64) {
        let until = self.now.after(Duration::from_millis(ms));
        let mut ticks = 0;
        while let Some(at) = self.hub.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.hub.tick(&self.tape, self.now, 20_000, &mut self.out);
            ticks += 1;
            assert!(ticks < 1_000, "the hub does not come to rest");
        }
        self.now = until;
    }

    fn heard(&mut self) -> Vec<String> {
        self.out.drain().map(|output| format!("< {}", tell(output))).collect()
    }
}

/// `a=1` is a put, `-a` a delete; `a=*300` puts 300 bytes.
fn writes(words: &[&str]) -> Vec<Write> {
    let write = |word: &&str| match (word.strip_prefix('-'), word.split_once('=')) {
        (Some(key), _) => Write::Delete(bytes(key)),
        (None, Some((key, value))) => Write::Put(bytes(key), value_of(value)),
        (None, None) => panic!("neither a put nor a delete: {word}"),
    };
    words.iter().map(write).collect()
}

fn value_of(text: &str) -> Bytes {
    match text.strip_prefix('*') {
        Some(length) => Bytes::from(vec![b'x'; length.parse().expect("a length")]),
        None => bytes(text),
    }
}

fn create(options: &Options<'_>) -> RequestUnion {
    let key = options.text("key").filter(|key| *key != "-").unwrap_or("");
    let mut filters = Vec::new();
    if options.has("noput") {
        filters.push(0);
    }
    if options.has("nodelete") {
        filters.push(1);
    }
    filters.extend(options.number("filter").map(|filter| filter as i32));
    RequestUnion::CreateRequest(pb::WatchCreateRequest {
        key: bytes(key),
        range_end: bytes(options.text("end").unwrap_or("")),
        start_revision: options.number("start").unwrap_or(0),
        watch_id: options.number("id").unwrap_or(0),
        progress_notify: options.has("notify"),
        prev_kv: options.has("prev"),
        fragment: options.has("fragment"),
        filters,
    })
}

fn tell(output: Output) -> String {
    let (id, response) = match output {
        Output::StreamItem { id, item, bytes } => {
            let StreamItem::Watch(response) = *item else { panic!("not of a watch: {item:?}") };
            assert_eq!(bytes, prost::Message::encoded_len(&response) as u64);
            (id, response)
        }
        Output::StreamEnd { id, result } => {
            let result = result.map_err(|error| error.api().expect("a hub has no disk"));
            return format!("{} ends {result:?}", id.0);
        }
        other => panic!("a hub does not do this: {other:?}"),
    };
    let header = response.header.expect("a response has a header");
    assert_eq!((header.cluster_id, header.member_id, header.raft_term), (7, 8, 9));
    let mut line = format!("{} id={} rev={}", id.0, response.watch_id, header.revision);
    for (is_set, word) in [
        (response.created, " created"),
        (response.canceled, " canceled"),
        (response.fragment, " fragment"),
    ] {
        line.push_str(if is_set { word } else { "" });
    }
    if response.compact_revision != 0 {
        write!(line, " compacted={}", response.compact_revision).expect("strings grow");
    }
    if !response.cancel_reason.is_empty() {
        write!(line, " reason: {}", response.cancel_reason).expect("strings grow");
    }
    if response.events.len() > 10 {
        let of = |event: &crate::proto::mvccpb::Event| {
            event.kv.as_ref().expect("an event has a key").mod_revision
        };
        let (first, last) = (&response.events[0], &response.events[response.events.len() - 1]);
        let count = response.events.len();
        write!(line, " {count} events {}..{}", of(first), of(last)).expect("strings grow");
        return line;
    }
    for event in &response.events {
        let kv = event.kv.as_ref().expect("an event has a key");
        let key = String::from_utf8_lossy(&kv.key);
        let value = |value: &Bytes| match value.len() {
            0..20 => String::from_utf8_lossy(value).into_owned(),
            length => format!("*{length}"),
        };
        match event.r#type() {
            EventType::Put => {
                let (version, created) = (kv.version, kv.create_revision);
                let now = value(&kv.value);
                write!(line, " {key}={now}@{}/{version}/{created}", kv.mod_revision)
            }
            EventType::Delete => {
                assert_eq!((kv.version, kv.create_revision, kv.lease), (0, 0, 0));
                assert!(kv.value.is_empty());
                write!(line, " -{key}@{}", kv.mod_revision)
            }
        }
        .expect("strings grow");
        if let Some(previous) = &event.prev_kv {
            let (then, at) = (value(&previous.value), previous.mod_revision);
            write!(line, "(was {then}@{at})").expect("strings grow");
        }
    }
    line
}
