//! Publication: at every start a member writes its name and client URLs into the log. Only when
//! that entry is applied does it serve clients (contract-cluster.md, sections 2.1 and 9.1).

use std::time::Duration;

use prost::Message as _;

use super::io::{Level, LogLine, Output, Outputs};
use super::running::{Running, Waiter};
use super::time::{Monotonic, Now};
use crate::api::ApiError;
use crate::config::CompatVersion;
use crate::proto::{etcdserverpb as pb, v2pb};
use crate::storage::log::EntryKind;

/// When to try again.
#[derive(Debug, Default)]
pub(super) struct Publish {
    asked_at: Option<Monotonic>,
    retry_at: Option<Monotonic>,
}

impl Publish {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.retry_at
    }
}

impl Running {
    /// Proposes this member's attributes.
    pub(super) fn publish_attributes(&mut self, now: Now, out: &mut Outputs) {
        self.publish.asked_at = Some(now.monotonic);
        let id = self.ids.next_id();
        let data = if self.config.compat == CompatVersion::V3_5 {
            self.v2_attributes(id)
        } else {
            let attributes = pb::Attributes {
                name: self.config.name.clone(),
                client_urls: self.config.advertise_client_urls.clone(),
            };
            pb::InternalRaftRequest {
                header: Some(pb::RequestHeader { id, ..pb::RequestHeader::default() }),
                cluster_member_attr_set: Some(Box::new(pb::ClusterMemberAttrSetRequest {
                    member_id: self.id().0,
                    member_attributes: Some(attributes),
                })),
                ..pb::InternalRaftRequest::default()
            }
            .encode_to_vec()
        };
        self.propose(id, EntryKind::Normal, data.into(), Waiter::Publish, now, out);
    }

    fn v2_attributes(&self, id: u64) -> Vec<u8> {
        let value = serde_json::json!({
            "name": self.config.name,
            "clientURLs": self.config.advertise_client_urls,
        });
        v2_put(id, format!("/0/members/{}/attributes", self.id()), value.to_string())
    }

    pub(super) fn published(&mut self, _now: Now, out: &mut Outputs) {
        out.push(Output::LogLine(
            LogLine::new(Level::Info, "published local member to cluster through raft")
                .with("local-member-id", self.id().to_string())
                .with("cluster-id", self.cluster_id().to_string()),
        ));
        if !self.is_ready {
            self.is_ready = true;
            self.log(Level::Info, "ready to serve client requests", out);
            out.push(Output::Ready);
        }
    }

    pub(super) fn publish_failed(&mut self, error: ApiError, now: Now, out: &mut Outputs) {
        out.push(Output::LogLine(
            LogLine::new(Level::Warn, "failed to publish local member to cluster through raft")
                .with("local-member-id", self.id().to_string())
                .with("error", error.text()),
        ));
        // etcd asks again at once. What refuses at once refuses until raft has gone on.
        let heartbeat = Duration::from_millis(self.config.heartbeat_interval_ms);
        let is_refused = self.publish.asked_at == Some(now.monotonic);
        let pause = if is_refused { heartbeat } else { Duration::ZERO };
        self.publish.retry_at = Some(now.monotonic.after(pause));
    }

    pub(super) fn publish_timer(&mut self, now: Now, out: &mut Outputs) {
        if self.publish.retry_at.is_some_and(|at| now.monotonic >= at) {
            self.publish.retry_at = None;
            self.publish_attributes(now, out);
        }
    }
}

/// A request in the form of the old store, with every field that its writers set.
pub(super) fn v2_put(id: u64, path: String, value: String) -> Vec<u8> {
    v2pb::Request {
        id: Some(id),
        method: Some("PUT".to_owned()),
        path: Some(path),
        val: Some(value),
        dir: Some(false),
        prev_value: Some(String::new()),
        prev_index: Some(0),
        prev_exist: None,
        expiration: Some(0),
        wait: Some(false),
        since: Some(0),
        recursive: Some(false),
        sorted: Some(false),
        quorum: Some(false),
        time: Some(0),
        stream: Some(false),
        refresh: None,
    }
    .encode_to_vec()
}
