//! Requests and answers as short texts, so that a fact is one line.
//!
//! `put k v lease=7 prev`, `get a..c limit=2 sort=value:descend`, `del a..`, and
//! `txn [mod(k)=0 value(a..c)!=x] { put k v ; get k } { get k }`, nested as one likes. `''` is
//! empty. A key-value pair answers as `key=value@create/mod/version#lease`.

use bytes::Bytes;
use std::fmt::Write as _;
use std::time::Duration;

use crate::api::ApiError;
use crate::lease::{Lessor, LessorConfig};
use crate::member::time::Monotonic;
use crate::mvcc::Store;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::mvccpb::KeyValue;

pub(super) fn lessor() -> Lessor {
    Lessor::new(LessorConfig {
        ttl_seconds_min: 2,
        retry: Duration::from_secs(7),
        checkpoint: false,
    })
}

/// A store with its lessor, which knows leases 7 and 8.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) lessor: Lessor,
}

impl World {
    pub(super) fn new() -> World {
        let mut lessor = lessor();
        for id in [7, 8] {
            lessor.grant(id, 60, Monotonic::ZERO).expect("the lease is new");
        }
        World { store: Store::new(), lessor }
    }

    pub(super) fn run(&mut self, request: &Request) -> Result<Response, ApiError> {
        let World { store, lessor } = self;
        Ok(match request {
            Request::RequestRange(request) => Response::ResponseRange(store.range(request)?),
            Request::RequestPut(request) => Response::ResponsePut(store.put(request, lessor)?),
            Request::RequestDeleteRange(request) => {
                Response::ResponseDeleteRange(store.delete_range(request, lessor)?)
            }
            Request::RequestTxn(request) => {
                Response::ResponseTxn(Box::new(store.txn(request, lessor)?))
            }
        })
    }

    /// Runs a request and compares the answer.
    pub(super) fn check(&mut self, request: &str, expected: &str) {
        let answer = self.run(&parse(request));
        assert_eq!(show(&answer), expected, "{request}");
    }

    /// Runs requests, one a line, with their answers after `=>`.
    pub(super) fn talk(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (request, expected) = line.split_once("=>").expect("a line has an answer");
            self.check(request.trim(), expected.trim());
        }
    }

    pub(super) fn compact(&mut self, revision: i64) {
        self.store.compact(revision).expect("the revision may be compacted");
    }

    pub(super) fn compact_fully(&mut self, revision: i64) {
        self.compact(revision);
        assert!(self.store.compact_slice(u64::MAX).1);
    }
}

fn bytes(word: &str) -> Bytes {
    match word {
        "''" => Bytes::new(),
        _ => Bytes::copy_from_slice(word.as_bytes()),
    }
}

fn key_range(word: &str) -> (Bytes, Bytes) {
    match word.split_once("..") {
        None => (bytes(word), Bytes::new()),
        Some((from, "")) => (bytes(from), Bytes::from_static(b"\0")),
        Some((from, to)) => (bytes(from), bytes(to)),
    }
}

pub(super) fn parse(text: &str) -> Request {
    let mut words = text.split_whitespace().peekable();
    let request = parse_op(&mut words);
    assert_eq!(words.next(), None, "all of the request is understood");
    request
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn parse_op(words: &mut Words<'_>) -> Request {
    let verb = words.next().expect("a request has a verb");
    if verb == "txn" {
        return Request::RequestTxn(Box::new(parse_txn(words)));
    }
    let (key, range_end) = key_range(words.next().expect("a request has a key"));
    let value =
        if verb == "put" { bytes(words.next().expect("a put has a value")) } else { Bytes::new() };
    let mut attributes = Vec::new();
    while let Some(word) = words.next_if(|word| ![";", "}"].contains(word)) {
        attributes.push(word.split_once('=').unwrap_or((word, "")));
    }
    let number = |name: &str| {
        let found = attributes.iter().find(|(given, _)| *given == name);
        found.map_or(0, |(_, value)| value.parse().expect("a number"))
    };
    let flag = |name: &str| attributes.iter().any(|(given, _)| *given == name);
    match verb {
        "put" => Request::RequestPut(pb::PutRequest {
            key,
            value,
            lease: number("lease"),
            prev_kv: flag("prev"),
            ignore_value: flag("ignore-value"),
            ignore_lease: flag("ignore-lease"),
        }),
        "del" => Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key,
            range_end,
            prev_kv: flag("prev"),
        }),
        "get" => {
            let sort = attributes.iter().find(|(name, _)| *name == "sort");
            let (target, order) =
                sort.and_then(|sort| sort.1.split_once(':')).unwrap_or(("key", "none"));
            let target = SortTarget::from_str_name(&target.to_uppercase()).expect("a target");
            let order = SortOrder::from_str_name(&order.to_uppercase()).expect("an order");
            Request::RequestRange(pb::RangeRequest {
                key,
                range_end,
                limit: number("limit"),
                revision: number("rev"),
                sort_order: order.into(),
                sort_target: target.into(),
                keys_only: flag("keys-only"),
                count_only: flag("count-only"),
                min_mod_revision: number("min-mod"),
                max_mod_revision: number("max-mod"),
                min_create_revision: number("min-create"),
                max_create_revision: number("max-create"),
                ..Default::default()
            })
        }
        _ => panic!("unknown verb {verb}"),
    }
}

fn parse_txn(words: &mut Words<'_>) -> pb::TxnRequest {
    let mut compares = words.next().expect("comparisons").to_owned();
    while !compares.ends_with(']') {
        compares = format!("{compares} {}", words.next().expect("the end of the comparisons"));
    }
    let compares = compares.trim_start_matches('[').trim_end_matches(']');
    let compare = compares.split_whitespace().map(parse_compare).collect();
    let [success, failure] = [(); 2].map(|()| {
        assert_eq!(words.next(), Some("{"));
        let mut ops = Vec::new();
        while words.next_if_eq(&"}").is_none() {
            ops.push(pb::RequestOp { request: Some(parse_op(words)) });
            words.next_if_eq(&";");
        }
        ops
    });
    pb::TxnRequest { compare, success, failure }
}

fn parse_compare(word: &str) -> pb::Compare {
    let (target, rest) = word.split_once('(').expect("a target");
    let (keys, rest) = rest.split_once(')').expect("keys");
    let (result, given) = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        (">", CompareResult::Greater),
        ("<", CompareResult::Less),
    ]
    .iter()
    .find_map(|(sign, result)| Some((*result, rest.strip_prefix(sign)?)))
    .expect("an operator");
    let number = || given.parse().expect("a number");
    let (target, union) = match target {
        "version" => (CompareTarget::Version, TargetUnion::Version(number())),
        "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number())),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number())),
        "value" => (CompareTarget::Value, TargetUnion::Value(bytes(given))),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number())),
        _ => panic!("unknown target {target}"),
    };
    let (key, range_end) = key_range(keys);
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key,
        range_end,
        target_union: Some(union),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn show_kv(kv: &KeyValue) -> String {
    let mut shown = format!(
        "{}={}@{}/{}/{}",
        text(&kv.key),
        text(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    );
    if kv.lease != 0 {
        write!(shown, "#{}", kv.lease).expect("a string has room");
    }
    shown
}

fn show_header(header: &Option<pb::ResponseHeader>) -> String {
    let header = header.expect("every answer has a header");
    assert_eq!(header, pb::ResponseHeader { revision: header.revision, ..Default::default() });
    format!("rev {}", header.revision)
}

pub(super) fn show(answer: &Result<Response, ApiError>) -> String {
    match answer {
        Ok(response) => show_response(response),
        Err(error) => error.text().trim_start_matches("etcdserver: ").to_owned(),
    }
}

fn show_response(response: &Response) -> String {
    let kvs =
        |kvs: &[KeyValue]| kvs.iter().map(|kv| " ".to_owned() + &show_kv(kv)).collect::<String>();
    match response {
        Response::ResponsePut(put) => {
            let prev = put.prev_kv.as_ref().map(|kv| format!(" prev {}", show_kv(kv)));
            show_header(&put.header) + &prev.unwrap_or_default()
        }
        Response::ResponseRange(range) => {
            let more = if range.more { " more" } else { "" };
            let header = show_header(&range.header);
            format!("{header} count {}{more}{}", range.count, kvs(&range.kvs))
        }
        Response::ResponseDeleteRange(delete) => {
            let header = show_header(&delete.header);
            format!("{header} deleted {}{}", delete.deleted, kvs(&delete.prev_kvs))
        }
        Response::ResponseTxn(txn) => {
            let outcome = if txn.succeeded { "then" } else { "else" };
            let show =
                |op: &pb::ResponseOp| op.response.as_ref().map_or("-".to_owned(), show_response);
            let responses: Vec<String> = txn.responses.iter().map(show).collect();
            format!("{} {outcome} {{{}}}", show_header(&txn.header), responses.join("; "))
        }
    }
}
