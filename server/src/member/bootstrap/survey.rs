//! One question at a time to the other members, each at its URLs in turn, and what the log says
//! when a question brings nothing.

use crate::member::id::{CallId, MemberId};
use crate::member::io::{Level, LogLine, MemberInfo, PeerAnswer, PeerCall, PeerCallError};
use crate::member::time::Monotonic;

/// A question whose answer is awaited.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: CallId,
    pub(super) url: String,
    pub(super) call: PeerCall,
    pub(super) deadline: Monotonic,
}

impl Asked {
    fn address(&self) -> String {
        let path = match self.call {
            PeerCall::Version => "/version",
            PeerCall::DowngradeEnabled => "/downgrade/enabled",
            _ => "/members",
        };
        format!("{}{path}", self.url)
    }

    /// When the members of the cluster were asked for.
    pub(super) fn fetch_line(&self, unusable: Result<PeerAnswer, PeerCallError>) -> LogLine {
        let (text, error) = match unusable {
            Err(PeerCallError::Unreachable(error)) => ("failed to get cluster response", error),
            other => ("failed to unmarshal cluster response", unreadable(other)),
        };
        LogLine::new(Level::Warn, text).with("address", self.address()).with("error", error)
    }
}

/// etcd looks at the body only, whatever the status, and does not find the JSON that it expects.
fn unreadable(answer: Result<PeerAnswer, PeerCallError>) -> String {
    match answer {
        Err(PeerCallError::Refused { status, body }) => format!("{status} {body}"),
        _ => "an answer to another question".to_owned(),
    }
}

/// The place in a round of questions.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) member: usize,
    url: usize,
    last_error: String,
}

impl Survey {
    /// Where to ask next. A member that has been asked everywhere in vain is told of.
    pub(super) fn next_url(
        &mut self,
        members: &[MemberInfo],
        unheard: &str,
        lines: &mut Vec<LogLine>,
    ) -> Option<String> {
        while let Some(member) = members.get(self.member) {
            if let Some(url) = member.peer_urls.get(self.url) {
                return Some(url.clone());
            }
            lines.push(
                LogLine::new(Level::Warn, unheard)
                    .with("remote-member-id", member.id.to_string())
                    .with("error", std::mem::take(&mut self.last_error)),
            );
            self.next_member();
        }
        None
    }

    /// The present member has answered.
    pub(super) fn next_member(&mut self) {
        *self = Survey { member: self.member + 1, ..Survey::default() };
    }

    /// The present URL has brought nothing.
    pub(super) fn pass_over(
        &mut self,
        asked: &Asked,
        member: MemberId,
        unusable: Result<PeerAnswer, PeerCallError>,
    ) -> LogLine {
        let (text, error) = match unusable {
            Err(PeerCallError::Unreachable(error)) => ("failed to reach the peer URL", error),
            other => ("failed to unmarshal response", unreadable(other)),
        };
        self.last_error.clone_from(&error);
        self.url += 1;
        LogLine::new(Level::Warn, text)
            .with("address", asked.address())
            .with("remote-member-id", member.to_string())
            .with("error", error)
    }
}
