//! Reports of etcd's robustness tests: folders `client-N`, each with an `operations.json` whose
//! lines are Porcupine operations over the model's requests and responses.
//!
//! Responses hold no create revisions and no leases of keys; values of 20 bytes and more are known
//! by their hash. A write that failed may have taken effect. Compactions answer with a revision
//! that means nothing, and count as of unknown outcome.

use std::path::{Path, PathBuf};

use detsim_reports::record::{
    Blob, Body, Call, ClientId, Compare, DeleteRange, Header, KeyValue, OpId, Operation, Operator,
    Outcome, Put, Range, RangeReply, Reply, Target, Time, Txn, TxnOp, TxnOpReply, TxnReply,
    UNRECORDED,
};
use serde::Deserialize;

use super::porcupine::{Record, records};
use super::{ImportError, Imported, Part, text};
use crate::check::Checker;

/// Values of this length are kept as hashes.
const HASHED_FROM: usize = 20;
/// The TTL of all leases, which reports do not hold.
const TTL_S: i64 = 7_200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    #[serde(alias = "ClientID")]
    client_id: u32,
    input: Request,
    call: i64,
    output: Response,
    #[serde(rename = "Return")]
    returned: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(rename = "Type")]
    kind: String,
    lease_grant: Option<Lease>,
    lease_revoke: Option<Lease>,
    range: Option<RangeRequest>,
    txn: Option<TxnRequest>,
    compact: Option<Compact>,
}

#[derive(Deserialize)]
struct Lease {
    #[serde(rename = "LeaseID")]
    id: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Compact {
    revision: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RangeRequest {
    start: String,
    end: String,
    limit: i64,
    revision: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TxnRequest {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
    #[serde(default)]
    operations_on_success: Option<Vec<TxnOperation>>,
    #[serde(default)]
    operations_on_failure: Option<Vec<TxnOperation>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Condition {
    key: String,
    expected_revision: i64,
    expected_version: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TxnOperation {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    range: RangeRequest,
    #[serde(default)]
    put: PutRequest,
    #[serde(default)]
    delete: DeleteRequest,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PutRequest {
    key: String,
    value: Value,
    #[serde(rename = "LeaseID")]
    lease_id: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DeleteRequest {
    key: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Value {
    value: String,
    hash: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Response {
    txn: Option<TxnResponse>,
    range: Option<RangeResponse>,
    lease_grant: Option<Lease>,
    lease_revoke: Option<serde::de::IgnoredAny>,
    client_error: String,
    revision: i64,
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TxnResponse {
    failure: bool,
    #[serde(default)]
    results: Option<Vec<OperationResult>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OperationResult {
    #[serde(rename = "KVs")]
    kvs: Option<Vec<KeyValueRead>>,
    count: i64,
    deleted: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RangeResponse {
    #[serde(rename = "KVs")]
    kvs: Option<Vec<KeyValueRead>>,
    count: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyValueRead {
    key: String,
    value: Value,
    mod_revision: i64,
    version: i64,
}

/// Reads the report in a folder.
pub(super) fn folder(path: &Path) -> Result<Imported, ImportError> {
    let fail = |what: String| ImportError { path: path.to_owned(), line: None, what };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| fail(error.to_string()))? {
        let file = entry.map_err(|error| fail(error.to_string()))?.path().join("operations.json");
        if file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(fail("no folder `client-N` in it has an `operations.json`".to_owned()));
    }
    files.sort();
    let read = |path: PathBuf| {
        let records = records(&path, &text(&path)?)?;
        Ok((path, records))
    };
    import(files.into_iter().map(read).collect::<Result<_, ImportError>>()?)
}

/// Reads operations of all clients.
pub(super) fn import(files: Vec<(PathBuf, Vec<Record>)>) -> Result<Imported, ImportError> {
    let mut operations = Vec::new();
    let mut maintenance = 0;
    for (path, records) in &files {
        for record in records {
            let line = Line::deserialize(&record.value);
            let line = line.map_err(|error| record.wrong(path, error))?;
            let call = call(&line.input).map_err(|what| record.wrong(path, what))?;
            let Some(call) = call else {
                maintenance += 1;
                continue;
            };
            let outcome = outcome(&call, &line.output);
            let is_over = matches!(outcome, Outcome::Ok(_) | Outcome::Fail(_));
            operations.push(Operation {
                id: OpId(0),
                client: ClientId(line.client_id),
                member: 0,
                invoked: time(line.call),
                call,
                completed: if is_over { time(line.returned) } else { Time::NEVER },
                outcome: Some(outcome),
            });
        }
    }
    let mut not_checked = vec!["watches: only key-value operations are read".to_owned()];
    if maintenance > 0 {
        not_checked.push(format!("{maintenance} defragmentations"));
    }
    Ok(Imported {
        format: "etcd's robustness tests",
        parts: vec![Part::of(String::new(), "etcd", operations, &[Checker::Linearizability])],
        not_checked,
        ignored: 0,
    })
}

fn time(nanos: i64) -> Time {
    u64::try_from(nanos).map_or(Time::NEVER, Time)
}

/// What was asked; `None` for what has no place in the history.
fn call(request: &Request) -> Result<Option<Call>, String> {
    let lacks = |what: &str| format!("a request of type `{}` without `{what}`", request.kind);
    Ok(Some(match request.kind.as_str() {
        "range" => Call::Range(range(request.range.as_ref().ok_or_else(|| lacks("Range"))?)),
        "txn" => Call::Txn(Box::new(txn(request.txn.as_ref().ok_or_else(|| lacks("Txn"))?)?)),
        "leaseGrant" => {
            let id = request.lease_grant.as_ref().ok_or_else(|| lacks("LeaseGrant"))?.id;
            Call::LeaseGrant { id, ttl_s: TTL_S }
        }
        "leaseRevoke" => {
            let id = request.lease_revoke.as_ref().ok_or_else(|| lacks("LeaseRevoke"))?.id;
            Call::LeaseRevoke { id }
        }
        "compact" => {
            let revision = request.compact.as_ref().ok_or_else(|| lacks("Compact"))?.revision;
            Call::Compact { revision, physical: false }
        }
        "defragment" => return Ok(None),
        other => {
            return Err(format!(
                "expected a request of type range, txn, leaseGrant, leaseRevoke, compact or \
                 defragment, found `{other}`"
            ));
        }
    }))
}

fn range(range: &RangeRequest) -> Range {
    Range {
        key: Blob::text(&range.start),
        range_end: Blob::text(&range.end),
        limit: range.limit,
        revision: range.revision,
        ..Range::default()
    }
}

fn txn(request: &TxnRequest) -> Result<Txn, String> {
    let ops = |ops: &Option<Vec<TxnOperation>>| {
        ops.iter().flatten().map(operation).collect::<Result<Vec<_>, _>>()
    };
    Ok(Txn {
        compare: request.conditions.iter().flatten().map(compare).collect(),
        success: ops(&request.operations_on_success)?,
        failure: ops(&request.operations_on_failure)?,
    })
}

/// A condition compares the version if it names one, and the mod revision otherwise.
fn compare(condition: &Condition) -> Compare {
    let target = match condition.expected_version {
        0 => Target::Mod(condition.expected_revision),
        version => Target::Version(version),
    };
    let (key, range_end) = (Blob::text(&condition.key), Blob::default());
    Compare { key, range_end, operator: Operator::Equal, target }
}

fn operation(operation: &TxnOperation) -> Result<TxnOp, String> {
    Ok(match operation.kind.as_str() {
        "range-operation" => TxnOp::Range(range(&operation.range)),
        "put-operation" => {
            let PutRequest { key, value: written, lease_id } = &operation.put;
            let (key, value) = (Blob::text(key), value(written));
            TxnOp::Put(Put { key, value, lease: *lease_id, ..Put::default() })
        }
        "delete-operation" => {
            let key = Blob::text(&operation.delete.key);
            TxnOp::DeleteRange(DeleteRange { key, ..DeleteRange::default() })
        }
        other => {
            return Err(format!(
                "expected range-operation, put-operation or delete-operation, found `{other}`"
            ));
        }
    })
}

/// A value, or its hash where it is long, so that both sides of a comparison have the same.
fn value(value: &Value) -> Blob {
    let hash = match value.value.len() {
        HASHED_FROM.. => fnv1(value.value.as_bytes()),
        _ if value.hash != 0 => value.hash,
        _ => return Blob::text(&value.value),
    };
    Blob::text(&format!("hash {hash:08x}"))
}

/// FNV-1a of 32 bits, which the reports use.
fn fnv1(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
    bytes.iter().fold(2_166_136_261, step)
}

fn outcome(call: &Call, response: &Response) -> Outcome {
    if !response.client_error.is_empty() {
        return Outcome::Fail(format!("etcdserver: {}", response.client_error));
    }
    let body = match call {
        Call::Range(_) => response.range.as_ref().map(|range| {
            Body::Range(range_reply(range.kvs.as_deref().unwrap_or_default(), range.count))
        }),
        Call::Txn(txn) => response.txn.as_ref().map(|reply| Body::Txn(txn_reply(txn, reply))),
        Call::LeaseGrant { id, ttl_s } => {
            response.lease_grant.as_ref().map(|_| Body::LeaseGrant { id: *id, ttl_s: *ttl_s })
        }
        Call::LeaseRevoke { .. } => response.lease_revoke.as_ref().map(|_| Body::LeaseRevoke),
        _ => None,
    };
    match body {
        Some(body) => {
            let header = Header { revision: response.revision, ..Header::default() };
            Outcome::Ok(Reply { header, body })
        }
        None if response.error.is_empty() => Outcome::Unknown("not recorded".to_owned()),
        None => Outcome::Unknown(response.error.clone()),
    }
}

fn range_reply(kvs: &[KeyValueRead], count: i64) -> RangeReply {
    let kv = |kv: &KeyValueRead| KeyValue {
        key: Blob::text(&kv.key),
        value: value(&kv.value),
        create_revision: UNRECORDED,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: UNRECORDED,
    };
    RangeReply { kvs: kvs.iter().map(kv).collect(), more: count > kvs.len() as i64, count }
}

fn txn_reply(txn: &Txn, reply: &TxnResponse) -> TxnReply {
    let ops = if reply.failure { &txn.failure } else { &txn.success };
    let nothing = OperationResult::default();
    let mut results = reply.results.iter().flatten();
    let responses = ops.iter().map(|op| {
        let result = results.next().unwrap_or(&nothing);
        match op {
            TxnOp::Range(_) => {
                let kvs = result.kvs.as_deref().unwrap_or_default();
                TxnOpReply::Range { revision: UNRECORDED, reply: range_reply(kvs, result.count) }
            }
            TxnOp::DeleteRange(_) => TxnOpReply::DeleteRange {
                revision: UNRECORDED,
                deleted: result.deleted,
                prev_kvs: Vec::new(),
            },
            TxnOp::Put(_) | TxnOp::Txn(_) => {
                TxnOpReply::Put { revision: UNRECORDED, prev_kv: None }
            }
        }
    });
    TxnReply { succeeded: !reply.failure, responses: responses.collect() }
}
