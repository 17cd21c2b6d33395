//! What a member promises rests on its disk: votes and acknowledgements are durable before they
//! leave it. And a read index covers what was committed when it was asked for.

use detsim_reports::record::{RaftEvent, RaftFact, VoteSent};

use super::Raft;

impl Raft<'_> {
    /// Term and vote are on the voter's disk when the vote leaves.
    pub(super) fn votes_durable(&mut self, votes: &[VoteSent]) {
        for vote in votes {
            let Some((term, voted)) = vote.durable else { continue };
            if (term, voted) == (vote.term, vote.candidate) || term > vote.term {
                continue;
            }
            let text = format!(
                "the vote of {} for {:x} in term {} leaves while its disk holds term {term} and a \
                 vote for {voted:x}",
                self.name(vote.member),
                vote.candidate,
                vote.term
            );
            self.violate("vote-durable", vec![vote.member], vote.at, text);
        }
    }

    /// Acknowledged entries are on the member's disk; reads are not served before what was
    /// committed.
    pub(super) fn promises(&mut self, facts: &[RaftFact]) {
        for fact in facts {
            match fact.event {
                RaftEvent::Acknowledged { to, term, index, durable: Some(durable) }
                    if index > durable =>
                {
                    let text = format!(
                        "{} acknowledges its log up to {index} to {to:x} in term {term}, while its \
                         disk holds it up to {durable}",
                        self.name(fact.member)
                    );
                    self.violate("ack-durable", vec![fact.member], fact.at, text);
                }
                RaftEvent::ReadIndex { index, floor } if index < floor => {
                    let text = format!(
                        "{} may serve linearizable reads at index {index}, though {floor} was \
                         committed when it asked",
                        self.name(fact.member)
                    );
                    self.violate("read-index", vec![fact.member], fact.at, text);
                }
                _ => {}
            }
        }
    }
}
