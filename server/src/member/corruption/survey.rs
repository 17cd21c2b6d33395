//! A round of questions for the hash at one revision: the other members one after another, each at
//! its peer URLs in turn.

use crate::api::ApiError;
use crate::config::quote;
use crate::member::id::{CallId, MemberId};
use crate::member::io::{Level, LogLine, MemberInfo, PeerAnswer, PeerCall, PeerCallError};
use crate::member::membership::Identity;
use crate::proto::etcdserverpb as pb;

/// Why a member has told no hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoHash {
    /// It has compacted the revision.
    Compacted,
    /// It does not have the revision yet.
    Future,
    /// It belongs to another cluster.
    OtherCluster,
    /// It did not answer, or in other words.
    Failed(String),
}

impl NoHash {
    fn of(error: &PeerCallError) -> NoHash {
        let (status, body) = match error {
            PeerCallError::Unreachable(error) => return NoHash::Failed(error.clone()),
            PeerCallError::Refused { status, body } => (*status, body),
        };
        let says = |error: ApiError| body.contains(error.text().trim_start_matches("etcdserver: "));
        match status {
            400 if says(ApiError::Compacted) => NoHash::Compacted,
            400 if says(ApiError::FutureRevision) => NoHash::Future,
            412 if body.contains("cluster ID mismatch") => NoHash::OtherCluster,
            _ => NoHash::Failed(format!("unknown error: {body}")),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            NoHash::Compacted => ApiError::Compacted.text(),
            NoHash::Future => ApiError::FutureRevision.text(),
            NoHash::OtherCluster => "etcdserver: cluster ID mismatch",
            NoHash::Failed(error) => error,
        }
    }
}

/// What came of asking one member.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PeerHash {
    pub(super) member: MemberId,
    pub(super) urls: Vec<String>,
    pub(super) answer: Result<pb::HashKvResponse, NoHash>,
}

impl PeerHash {
    pub(super) fn endpoints(&self) -> String {
        quote::quote_list(&self.urls)
    }
}

/// A round that is going on.
#[derive(Debug)]
pub(super) struct Survey {
    revision: i64,
    identity: Identity,
    members: Vec<(MemberId, Vec<String>)>,
    /// Which URL of the member that is asked.
    url: usize,
    call: Option<CallId>,
    hashes: Vec<PeerHash>,
}

impl Survey {
    /// Before the first question. Members without URLs are passed over.
    pub(super) fn new<'a>(
        revision: i64,
        identity: Identity,
        members: impl Iterator<Item = &'a MemberInfo>,
    ) -> Survey {
        let others = members
            .filter(|member| member.id != identity.member && !member.peer_urls.is_empty())
            .map(|member| (member.id, member.peer_urls.clone()));
        let members = others.collect();
        Survey { revision, identity, members, url: 0, call: None, hashes: Vec::new() }
    }

    /// Where to ask next; `None` when everybody was asked.
    pub(super) fn next_url(&self) -> Option<String> {
        let (_, urls) = self.members.get(self.hashes.len())?;
        urls.get(self.url).cloned()
    }

    pub(super) fn question(&self) -> PeerCall {
        PeerCall::HashKv { cluster: Some(self.identity.cluster), revision: self.revision }
    }

    pub(super) fn asked(&mut self, call: CallId) {
        self.call = Some(call);
    }

    pub(super) fn awaits(&self, call: CallId) -> bool {
        self.call == Some(call)
    }

    /// Takes an answer, and tells what the log says of it.
    pub(super) fn answered(
        &mut self,
        result: &Result<PeerAnswer, PeerCallError>,
    ) -> Option<LogLine> {
        self.call = None;
        let (member, urls) = self.members.get(self.hashes.len()).expect("somebody was asked");
        let (member, urls) = (*member, urls.clone());
        let error = match result {
            Ok(PeerAnswer::HashKv(response)) => {
                self.hashes.push(PeerHash { member, urls, answer: Ok(*response) });
                self.url = 0;
                return None;
            }
            Ok(_) => NoHash::Failed("an answer to another question".to_owned()),
            Err(error) => NoHash::of(error),
        };
        let line = LogLine::new(Level::Warn, "failed hash kv request")
            .with("local-member-id", self.identity.member.to_string())
            .with("requested-revision", self.revision.to_string())
            .with("remote-peer-endpoint", urls[self.url].as_str())
            .with("error", error.text());
        self.url += 1;
        if self.url == urls.len() {
            self.hashes.push(PeerHash { member, urls, answer: Err(error) });
            self.url = 0;
        }
        Some(line)
    }

    /// What was told so far.
    pub(super) fn heard(&self) -> &[PeerHash] {
        &self.hashes
    }

    /// What was told, in the order in which members were asked.
    pub(super) fn hashes(self) -> Vec<PeerHash> {
        self.hashes
    }
}
