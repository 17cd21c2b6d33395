//! `InitialCorruptCheck`: a member that starts from its data compares the hash of what its database
//! holds with everybody's before it applies or serves anything, and refuses to start if it differs.
//!
//! Members that cannot be asked, or that compacted elsewhere, are no reason to refuse.

use std::time::Duration;

use super::survey::{NoHash, PeerHash, Survey};
use crate::config::quote;
use crate::member::id::{CallId, MemberId};
use crate::member::io::{
    Level, LogLine, MemberInfo, Output, Outputs, PeerAnswer, PeerCallError, Stop,
};
use crate::member::membership::Identity;
use crate::mvcc::View;
use crate::proto::etcdserverpb as pb;

/// A check that is going on.
#[derive(Debug)]
pub(in crate::member) struct InitialCheck {
    identity: Identity,
    timeout: Duration,
    own: pb::HashKvResponse,
    survey: Survey,
    calls: u64,
}

/// How far a check has come.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::member) enum Progress {
    /// Somebody was asked.
    Asking,
    /// Nobody differs.
    Passed,
    /// Somebody does.
    Failed(Stop),
}

impl InitialCheck {
    /// Before anybody is asked. Calls before `next_call` were made by the bootstrap.
    pub(in crate::member) fn new<'a>(
        identity: Identity,
        timeout: Duration,
        view: &View,
        members: impl Iterator<Item = &'a MemberInfo>,
        next_call: CallId,
        out: &mut Outputs,
    ) -> InitialCheck {
        let nanos = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        out.push(Output::LogLine(
            LogLine::new(Level::Info, "starting initial corruption check")
                .with("local-member-id", identity.member.to_string())
                .with("timeout", quote::duration(nanos)),
        ));
        let own = view.hash_kv(0).expect("the newest revision has a hash");
        let survey = Survey::new(own.hash_revision, identity, members);
        InitialCheck { identity, timeout, own, survey, calls: next_call.0 }
    }

    /// The first call ID that it has not used.
    pub(in crate::member) fn next_call(&self) -> CallId {
        CallId(self.calls)
    }

    /// Asks the next member, or comes to an end.
    pub(in crate::member) fn advance(&mut self, out: &mut Outputs) -> Progress {
        match self.survey.next_url() {
            None => self.conclude(out),
            Some(url) => {
                let (id, call) = (self.next_call(), self.survey.question());
                self.calls += 1;
                self.survey.asked(id);
                out.push(Output::PeerCall { id, url, call, timeout: self.timeout });
                Progress::Asking
            }
        }
    }

    /// Takes an answer, if it is to the question that was asked last.
    pub(in crate::member) fn answered(
        &mut self,
        call: CallId,
        result: &Result<PeerAnswer, PeerCallError>,
        out: &mut Outputs,
    ) -> Progress {
        if !self.survey.awaits(call) {
            return Progress::Asking;
        }
        out.extend_lines(self.survey.answered(result));
        self.advance(out)
    }

    fn conclude(&self, out: &mut Outputs) -> Progress {
        let mut is_different = false;
        for peer in self.survey.heard() {
            let (text, differs) = match &peer.answer {
                Ok(answer) if answer.hash == self.own.hash => continue,
                Ok(answer) if answer.compact_revision == self.own.compact_revision => {
                    ("found different hash values from remote peer", true)
                }
                Ok(_) => ("found different compact revision values from remote peer", false),
                Err(NoHash::Future) => ("cannot fetch hash from slow remote peer", false),
                Err(NoHash::Compacted) => {
                    ("cannot fetch hash from remote peer; local member is behind", false)
                }
                Err(NoHash::OtherCluster) => ("cluster ID mismatch", false),
                Err(NoHash::Failed(_)) => continue,
            };
            is_different |= differs;
            out.push(Output::LogLine(self.line(text, peer)));
        }
        let id = self.identity.member;
        if is_different {
            let reason = format!("{id} found data inconsistency with peers");
            for (level, text) in
                [(Level::Error, "checkInitialHashKV failed"), (Level::Fatal, "discovery failed")]
            {
                out.push(Output::LogLine(LogLine::new(level, text).with("error", reason.as_str())));
            }
            return Progress::Failed(Stop { exit_code: 1, reason });
        }
        let text = "initial corruption checking passed; no corruption";
        let line = LogLine::new(Level::Info, text).with("local-member-id", id.to_string());
        out.push(Output::LogLine(line));
        Progress::Passed
    }

    fn line(&self, text: &str, peer: &PeerHash) -> LogLine {
        let line = LogLine::new(Level::Warn, text)
            .with("local-member-id", self.identity.member.to_string())
            .with("local-member-revision", self.own.hash_revision.to_string())
            .with("local-member-compact-revision", self.own.compact_revision.to_string())
            .with("local-member-hash", self.own.hash.to_string());
        let Ok(answer) = &peer.answer else {
            return line
                .with("remote-peer-id", peer.member.to_string())
                .with("remote-peer-endpoints", peer.endpoints());
        };
        // The answer's header says nothing but the revision.
        let header = answer.header.unwrap_or_default();
        line.with("remote-peer-id", MemberId(header.member_id).to_string())
            .with("remote-peer-endpoints", peer.endpoints())
            .with("remote-peer-revision", header.revision.to_string())
            .with("remote-peer-compact-revision", answer.compact_revision.to_string())
            .with("remote-peer-hash", answer.hash.to_string())
    }
}
