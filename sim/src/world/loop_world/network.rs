//! Directed links between hosts and clients: how long a message takes, and what is cut.
//!
//! A link behaves as TCP does above it: what is lost comes later, by a retransmission timeout; what
//! is cut waits at the sender until the link heals or the connection breaks. Duplicates and
//! overtaking exist only where a link's quality asks for them. Every link draws from a stream of
//! its own. Acknowledgements are not modelled: a link cut one way still carries the other way's
//! messages on connections that stand.

use std::collections::BTreeMap;
use std::time::Duration;

use detcd::proto::raftpb::MessageType;
use rand_chacha::ChaCha8Rng;

use super::packet::Packet;
use crate::seed::{Draw, Streams};
use crate::world::tally::{Deed, Tally};
use crate::world::{End, LinkQuality, MessageClass};

/// The first retransmission timeout; each further one is twice as long.
const RETRANSMISSION_NS: u64 = 200_000_000;

/// So many losses of one message in a row reset its connection.
const LOSSES_MAX: u32 = 6;

/// A latency doubles no further once it is this long: what is on its way when a link heals must
/// arrive in time for the cluster to recover.
const DOUBLES_BELOW_NS: u64 = 1_000_000_000;

/// The messages that one link holds while it is cut, and the senders behind it.
const HELD_MAX: usize = 4096;

/// What becomes of a message that enters a link.
#[derive(Debug, PartialEq, Eq)]
pub enum Passage {
    /// It arrives, perhaps more than once.
    Arrives {
        /// When.
        at: u64,
        /// When it arrives a second time.
        again: Option<u64>,
        /// It may arrive before what was sent before it.
        overtakes: bool,
    },
    /// It is gone, and nobody knows.
    Vanishes,
    /// It waits for the link to heal.
    Waits,
    /// It and its connection are gone.
    Resets,
}

/// A message that waits for a link to heal.
#[derive(Debug)]
pub struct Held {
    /// When it was sent.
    pub sent: u64,
    /// The message.
    pub packet: Packet,
}

/// One direction between two ends.
#[derive(Debug)]
struct Link {
    quality: LinkQuality,
    latency_ns: (u64, u64),
    /// Nothing but latency.
    is_plain: bool,
    cuts: u8,
    draws: ChaCha8Rng,
    /// When the last byte of what was sent is on the wire.
    busy_until: u64,
    held: Vec<Held>,
    /// The longest latency when nothing is wrong.
    usual_ns: u64,
    tally: Tally,
}

impl Link {
    fn new(quality: &LinkQuality, draws: ChaCha8Rng) -> Link {
        let mut link = Link {
            quality: quality.clone(),
            latency_ns: (0, 0),
            is_plain: true,
            cuts: 0,
            draws,
            busy_until: 0,
            held: Vec::new(),
            usual_ns: 0,
            tally: Tally::default(),
        };
        link.set(quality);
        link.usual_ns = link.latency_ns.1;
        link
    }

    fn set(&mut self, quality: &LinkQuality) {
        let nanos = |latency: Duration| latency.as_nanos() as u64;
        let (low, high) = (nanos(quality.latency.0), nanos(quality.latency.1));
        self.latency_ns = (low, high.max(low));
        self.is_plain = quality.loss_per_10k == 0
            && quality.duplicate_per_10k == 0
            && quality.reorder_per_10k == 0
            && quality.bandwidth == 0;
        self.quality = quality.clone();
    }

    fn latency(&mut self) -> u64 {
        let mut latency = self.draws.within(self.latency_ns.0..=self.latency_ns.1);
        let tail = self.quality.tail_per_10k;
        while tail > 0
            && (1..DOUBLES_BELOW_NS).contains(&latency)
            && self.draws.chance_per_10k(tail)
        {
            latency *= 2;
        }
        latency
    }

    fn passage(&mut self, now: u64, bytes: u64, may_repeat: bool) -> Passage {
        let latency = self.latency();
        if self.is_plain {
            if latency > self.usual_ns {
                self.tally.add(Deed::MessageSlowed);
            }
            return Passage::Arrives { at: now + latency, again: None, overtakes: false };
        }
        let mut at = now + latency;
        if self.quality.bandwidth > 0 {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.quality.bandwidth);
            self.busy_until = self.busy_until.max(now) + nanos as u64;
            at = self.busy_until + latency;
        }
        let mut losses = 0;
        while self.draws.chance_per_10k(self.quality.loss_per_10k) {
            at += RETRANSMISSION_NS << losses;
            losses += 1;
            self.tally.add(Deed::MessageRepeated);
            if losses == LOSSES_MAX {
                return Passage::Resets;
            }
        }
        if at - now > self.usual_ns {
            self.tally.add(Deed::MessageSlowed);
        }
        if !may_repeat {
            return Passage::Arrives { at, again: None, overtakes: false };
        }
        let overtakes = self.draws.chance_per_10k(self.quality.reorder_per_10k);
        if overtakes {
            self.tally.add(Deed::MessageOvertaken);
            at += self.latency() + self.latency();
        }
        let repeats = self.draws.chance_per_10k(self.quality.duplicate_per_10k);
        if repeats {
            self.tally.add(Deed::MessageDoubled);
        }
        let again = repeats.then(|| at + self.latency());
        Passage::Arrives { at, again, overtakes }
    }
}

const fn bit(class: MessageClass) -> u8 {
    1 << class as u8
}

/// The class of a raft message, if it is of one.
pub fn class_of(kind: MessageType) -> Option<MessageClass> {
    use MessageType as Kind;
    match kind {
        Kind::MsgHeartbeat | Kind::MsgHeartbeatResp => Some(MessageClass::Heartbeats),
        Kind::MsgApp | Kind::MsgAppResp => Some(MessageClass::Appends),
        Kind::MsgVote | Kind::MsgVoteResp | Kind::MsgPreVote | Kind::MsgPreVoteResp => {
            Some(MessageClass::Votes)
        }
        Kind::MsgReadIndex | Kind::MsgReadIndexResp => Some(MessageClass::ReadIndex),
        Kind::MsgSnap => Some(MessageClass::Snapshots),
        _ => None,
    }
}

/// When what was sent at `sent` and not acknowledged is sent again, at `now` or after it.
pub fn retransmission(sent: u64, now: u64) -> u64 {
    let mut at = sent;
    let mut timeout = RETRANSMISSION_NS;
    while at < now {
        at = at.saturating_add(timeout);
        timeout = (timeout * 2).min(120_000_000_000);
    }
    at
}

/// All links, and who listens where.
#[derive(Debug)]
pub struct Network {
    streams: Streams,
    peers: LinkQuality,
    clients: LinkQuality,
    /// By sender, then receiver; the clients first, then members by place.
    links: Vec<Vec<Link>>,
    listeners: BTreeMap<String, usize>,
}

fn row(end: End) -> usize {
    match end {
        End::Clients => 0,
        End::Member(place) => place + 1,
    }
}

impl Network {
    /// Links without members. `peers` and `clients` are the qualities that links have unless told
    /// otherwise.
    pub fn new(streams: Streams, peers: LinkQuality, clients: LinkQuality) -> Network {
        let links = vec![vec![Link::new(&clients, streams.stream("network/clients>clients"))]];
        Network { streams, peers, clients, links, listeners: BTreeMap::new() }
    }

    /// Links to and from a member of the next place.
    pub fn add_member(&mut self) {
        let new = self.links.len();
        let label = |row: usize| match row {
            0 => "clients".to_owned(),
            row => (row - 1).to_string(),
        };
        let draws = |from: usize, to: usize| {
            self.streams.stream(&format!("network/{}>{}", label(from), label(to)))
        };
        let default = |other: usize| if other == 0 { &self.clients } else { &self.peers };
        for from in 0..new {
            let link = Link::new(default(from), draws(from, new));
            self.links[from].push(link);
        }
        let back = (0..=new).map(|to| Link::new(default(to), draws(new, to))).collect();
        self.links.push(back);
    }

    fn link(&mut self, from: End, to: End) -> &mut Link {
        &mut self.links[row(from)][row(to)]
    }

    /// Decides what becomes of a message. `may_repeat` allows duplicates and overtaking.
    pub fn passage(
        &mut self,
        (from, to): (End, End),
        now: u64,
        bytes: u64,
        class: Option<MessageClass>,
        may_repeat: bool,
    ) -> Passage {
        let link = self.link(from, to);
        if link.cuts != 0 {
            if link.cuts & bit(MessageClass::All) != 0 {
                link.tally.add(Deed::MessageHeld);
                return Passage::Waits;
            }
            if class.is_some_and(|class| link.cuts & bit(class) != 0) {
                link.tally.add(Deed::MessageLost);
                return Passage::Vanishes;
            }
        }
        link.passage(now, bytes, may_repeat)
    }

    /// What faults have done to a link until now.
    pub fn tally(&self, from: End, to: End) -> Tally {
        self.links[row(from)][row(to)].tally
    }

    /// Something was done to a link.
    pub fn note(&mut self, from: End, to: End, deed: Deed, many: usize) {
        self.link(from, to).tally.add_many(deed, many as i64);
    }

    /// Nobody answers a knock, where what is cut is the reason.
    pub fn note_unheard(&mut self, from: End, to: End) {
        for (from, to) in [(from, to), (to, from)] {
            if !self.is_open(from, to) {
                self.note(from, to, Deed::KnockUnheard, 1);
            }
        }
    }

    /// Whether the sender's buffers have room for one more message that waits for a link to heal.
    pub fn can_hold(&mut self, from: End, to: End) -> bool {
        self.link(from, to).held.len() < HELD_MAX
    }

    /// Keeps a message until the link heals.
    pub fn hold(&mut self, from: End, to: End, held: Held) {
        self.link(from, to).held.push(held);
    }

    /// Takes what waited on a link.
    pub fn take_held(&mut self, from: End, to: End) -> Vec<Held> {
        std::mem::take(&mut self.link(from, to).held)
    }

    /// A latency of the link, for what has no size and no class.
    pub fn latency(&mut self, from: End, to: End) -> u64 {
        self.link(from, to).latency()
    }

    /// Whether anything passes.
    pub fn is_open(&self, from: End, to: End) -> bool {
        self.links[row(from)][row(to)].cuts & bit(MessageClass::All) == 0
    }

    /// Whether a new connection can be made: packets must pass both ways.
    pub fn can_connect(&self, from: End, to: End) -> bool {
        self.is_open(from, to) && self.is_open(to, from)
    }

    /// Cuts a class of messages. Says whether all traffic of the link stopped now.
    pub fn cut(&mut self, from: End, to: End, class: MessageClass) -> bool {
        let was_open = self.is_open(from, to);
        self.link(from, to).cuts |= bit(class);
        was_open && class == MessageClass::All
    }

    /// Ends the cuts of a link. Says whether all traffic had been stopped.
    pub fn heal(&mut self, from: End, to: End) -> bool {
        let was_open = self.is_open(from, to);
        self.link(from, to).cuts = 0;
        !was_open
    }

    /// Sets a link's quality, or that which it began with. If it is narrow no longer, what stands
    /// in line before it arrives within what is returned.
    pub fn set_quality(
        &mut self,
        from: End,
        to: End,
        quality: Option<&LinkQuality>,
    ) -> Option<u64> {
        let touches_clients = from == End::Clients || to == End::Clients;
        let first = if touches_clients { &self.clients } else { &self.peers };
        let quality = quality.unwrap_or(first).clone();
        let link = self.link(from, to);
        let was_narrow = link.quality.bandwidth > 0;
        link.set(&quality);
        if !was_narrow || quality.bandwidth > 0 {
            return None;
        }
        link.busy_until = 0;
        Some(link.latency_ns.1)
    }

    /// All pairs of different ends.
    pub fn pairs(&self) -> Vec<(End, End)> {
        let end = |row: usize| if row == 0 { End::Clients } else { End::Member(row - 1) };
        let count = self.links.len();
        let all = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        all.filter(|(from, to)| from != to).map(|(from, to)| (end(from), end(to))).collect()
    }

    /// Gives a member the addresses of these URLs, and no others. Fails with the address when one
    /// is taken by another process that `runs`.
    pub fn listen(
        &mut self,
        place: usize,
        urls: &[String],
        runs: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        self.listeners.retain(|_, owner| *owner != place);
        for url in urls {
            let address = address(url);
            if self.listeners.get(&address).is_some_and(|&owner| runs(owner)) {
                return Err(address);
            }
            self.listeners.insert(address, place);
        }
        Ok(())
    }

    /// The member that listens at a URL.
    pub fn resolve(&self, url: &str) -> Option<usize> {
        self.listeners.get(&address(url)).copied()
    }
}

/// `host:port` of a URL, with the scheme's port when it names none.
pub fn address(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.replace("localhost", "127.0.0.1");
    if host.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
        return host;
    }
    let port = if scheme == "https" { 443 } else { 80 };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests;
