//! What a member promises rests on its disk: votes and acknowledgements are durable before they
//! leave it. A read index covers what was committed when it was asked for. Log and database are
//! what the disk vouched for, whenever a process starts from them, and fit each other.

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

    /// A member starts from a log that holds what its disk vouched for.
    pub(super) fn logs_kept(&mut self, facts: &[RaftFact]) {
        for fact in facts {
            let RaftEvent::Resumed {
                last,
                promised,
                promised_term,
                found_term,
                promised_vote,
                found_vote,
            } = fact.event
            else {
                continue;
            };
            let who = self.name(fact.member);
            if found_term != promised_term {
                let found = match found_term {
                    0 => format!("ends at {last}"),
                    term => format!("holds one of term {term} there"),
                };
                let text = format!(
                    "the disk of {who} vouched for the entry of term {promised_term} at index \
                     {promised}; the log that it starts from {found}"
                );
                self.violate("log-lost", vec![fact.member], fact.at, text);
            }
            let is_other_vote = promised_vote.1 != 0 && found_vote != promised_vote;
            if found_vote.0 < promised_vote.0 || found_vote.0 == promised_vote.0 && is_other_vote {
                let text = format!(
                    "the disk of {who} vouched for term {} and a vote for {:x}; it starts in term \
                     {} with a vote for {:x}",
                    promised_vote.0, promised_vote.1, found_vote.0, found_vote.1
                );
                self.violate("vote-lost", vec![fact.member], fact.at, text);
            }
        }
    }

    /// A member starts from a database that covers the snapshot of its log, does not go beyond the
    /// log, and holds what the disk vouched for.
    pub(super) fn databases(&mut self, facts: &[RaftFact]) {
        for fact in facts {
            let RaftEvent::Found { snapshot, last, consistent, promised, damage } = &fact.event
            else {
                continue;
            };
            let who = self.name(fact.member);
            let mut broken = |rule: &str, text: String| {
                self.violate(rule, vec![fact.member], fact.at, text);
            };
            if let Some(first) = damage.first() {
                let text = format!("{who} starts from a damaged database: {first}");
                broken("database-damaged", text);
            }
            if consistent < snapshot {
                let text = format!(
                    "{who} starts from a log that follows a snapshot at {snapshot}, and from a \
                     database that holds the effects up to {consistent}"
                );
                broken("database-behind-snapshot", text);
            }
            if consistent > last {
                let text = format!(
                    "{who} starts from a database that holds the effects up to {consistent}, and \
                     from a log that ends at {last}"
                );
                broken("database-ahead-of-log", text);
            }
            if consistent < promised {
                let text = format!(
                    "{who} starts from a database that holds the effects up to {consistent}; its \
                     disk vouched for those up to {promised}"
                );
                broken("database-lost", text);
            }
        }
    }
}
