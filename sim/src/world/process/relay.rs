//! Links between processes that can be cut and made bad: relays stand before the addresses of
//! members, one for peers and one for clients.
//!
//! A relay knows which member dials it by the socket's owner in `/proc`, so it exists on Linux
//! only. Cutting a direction stops its bytes and keeps the connections, as lost packets do; healing
//! lets go what has piled up, as retransmission does. It carries bytes, not messages: a loss is a
//! stall of the whole connection for a retransmission timeout, and nothing arrives twice or out of
//! order, for TCP puts that right.

mod carriage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;

use self::carriage::{Ends, carry};
use crate::seed::{Draw, Streams};
use crate::world::tally::{Deed, Tally};
use crate::world::{End, LinkQuality, WorldError};

/// The least retransmission timeout of Linux.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// A latency that is as long does not become longer by a link's tail.
const TAIL_MAX: Duration = Duration::from_secs(1);

/// From one end to another.
pub type Link = (End, End);

/// The relays of a world.
#[derive(Debug, Default)]
pub struct Relays {
    shared: Arc<Shared>,
    listening: Vec<SocketAddr>,
}

/// Who dials a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialers {
    /// Other members.
    Peers,
    /// Clients of this world.
    Clients,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    cuts: BTreeSet<Link>,
    /// Of links that are worse than they are by themselves.
    qualities: BTreeMap<Link, LinkQuality>,
    /// Until when a narrow link is busy with what was sent.
    busy: BTreeMap<Link, Instant>,
    tallies: BTreeMap<Link, Tally>,
    /// The process that runs at a place.
    processes: BTreeMap<usize, u32>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
}

#[derive(Debug)]
struct Connection {
    opener: Option<End>,
    opened: End,
    downstream: TcpStream,
    upstream: TcpStream,
    /// Who is not told that it is gone.
    untold: Option<End>,
}

impl Connection {
    fn is_between(&self, (one, other): Link) -> bool {
        let ends = [self.opener, Some(self.opened)];
        ends == [Some(one), Some(other)] || ends == [Some(other), Some(one)]
    }
}

impl Relays {
    /// Puts a relay in front of the member that will listen at `upstream`.
    pub fn add(
        &mut self,
        place: usize,
        dialers: Dialers,
        at: &str,
        upstream: &str,
    ) -> Result<(), WorldError> {
        let harness = |error: std::io::Error| WorldError::Harness(format!("relay {at}: {error}"));
        let upstream: SocketAddr = upstream.parse().expect("the world made this address");
        let listener = TcpListener::bind(at).map_err(harness)?;
        self.listening.push(listener.local_addr().map_err(harness)?);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || accept(&listener, (place, dialers), upstream, &shared));
        Ok(())
    }

    /// The process at a place is now this one, or none.
    pub fn process(&self, place: usize, pid: Option<u32>) {
        let mut state = self.shared.lock();
        match pid {
            Some(pid) => state.processes.insert(place, pid),
            None => state.processes.remove(&place),
        };
    }

    /// Nothing passes this way any more.
    pub fn cut(&self, link: Link) {
        self.shared.lock().cuts.insert(link);
    }

    /// Bytes pass this way again.
    pub fn heal(&self, link: Link) {
        self.shared.lock().cuts.remove(&link);
        self.shared.changed.notify_all();
    }

    /// Whether bytes pass both ways.
    pub fn is_open(&self, (one, other): Link) -> bool {
        let state = self.shared.lock();
        ![(one, other), (other, one)].iter().any(|link| state.cuts.contains(link))
    }

    /// Bytes pass everywhere again, as well as they can.
    pub fn heal_all(&self) {
        let mut state = self.shared.lock();
        state.cuts.clear();
        state.qualities.clear();
        state.busy.clear();
        self.shared.changed.notify_all();
    }

    /// A link is as bad as this from now on, or as good as it can be.
    pub fn shape(&self, link: Link, quality: Option<LinkQuality>) {
        let mut state = self.shared.lock();
        state.busy.remove(&link);
        match quality {
            Some(quality) => state.qualities.insert(link, quality),
            None => state.qualities.remove(&link),
        };
        self.shared.changed.notify_all();
    }

    /// Breaks the connections between two ends, whoever opened them.
    pub fn reset(&self, link: Link) {
        let mut state = self.shared.lock();
        let mut broken = 0;
        for connection in state.connections.values().filter(|it| it.is_between(link)) {
            close(&connection.downstream);
            close(&connection.upstream);
            broken += 1;
        }
        state.tallies.entry(link).or_default().add_many(Deed::ConnectionBroken, broken);
    }

    /// Breaks the connections between two ends, and does not tell the first, who learns it when it
    /// sends something.
    pub fn half_open(&self, link: Link) {
        let mut state = self.shared.lock();
        let mut broken = 0;
        for connection in state.connections.values_mut().filter(|it| it.is_between(link)) {
            connection.untold = Some(link.0);
            close(match connection.opener == Some(link.0) {
                true => &connection.upstream,
                false => &connection.downstream,
            });
            broken += 1;
        }
        state.tallies.entry(link).or_default().add_many(Deed::ConnectionBroken, broken);
    }

    /// What faults have done to a link until now.
    pub fn tally(&self, link: Link) -> Tally {
        self.shared.lock().tallies.get(&link).copied().unwrap_or_default()
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        self.shared.changed.notify_all();
        for connection in state.connections.values() {
            close(&connection.downstream);
            close(&connection.upstream);
        }
        drop(state);
        // A listener notices the end with the next connection.
        for address in &self.listening {
            let _ = TcpStream::connect(address);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    /// Waits until what is due then may pass; false once the world is over. A link that is as good
    /// as it can be carries at once what waited.
    fn await_passage(&self, link: Option<Link>, due: Instant) -> bool {
        let mut state = self.lock();
        while !state.is_over {
            let is_cut = link.is_some_and(|link| state.cuts.contains(&link));
            let is_bad = link.is_some_and(|link| state.qualities.contains_key(&link));
            let left = due.saturating_duration_since(Instant::now());
            state = if is_cut {
                self.changed.wait(state).expect("no thread panics while it holds the lock")
            } else if is_bad && !left.is_zero() {
                let waited = self.changed.wait_timeout(state, left);
                waited.expect("no thread panics while it holds the lock").0
            } else {
                return true;
            }
        }
        false
    }

    /// When bytes that are sent now arrive.
    fn due(&self, link: Option<Link>, bytes: usize, draws: &mut ChaCha8Rng) -> Instant {
        let now = Instant::now();
        let Some(link) = link else { return now };
        let mut state = self.lock();
        if state.cuts.contains(&link) {
            state.tallies.entry(link).or_default().add_many(Deed::ByteHeld, bytes as i64);
        }
        let Some(quality) = state.qualities.get(&link).cloned() else { return now };
        state.tallies.entry(link).or_default().add_many(Deed::ByteSlowed, bytes as i64);
        let mut travels = draws.duration(quality.latency.0, quality.latency.1);
        while travels < TAIL_MAX && draws.chance_per_10k(quality.tail_per_10k) {
            travels *= 2;
        }
        if draws.chance_per_10k(quality.loss_per_10k) {
            travels += RETRANSMISSION;
        }
        let mut left = now;
        let takes = (bytes as u64 * 1_000_000_000).checked_div(quality.bandwidth);
        if let Some(takes) = takes {
            let busy = state.busy.entry(link).or_insert(now);
            left = now.max(*busy) + Duration::from_nanos(takes);
            *busy = left;
        }
        left + travels
    }

    /// Whether an end must not be told that a connection is gone.
    fn is_untold(&self, number: u64, end: Option<End>) -> bool {
        let state = self.lock();
        let untold = state.connections.get(&number).and_then(|connection| connection.untold);
        untold.is_some() && untold == end
    }
}

fn accept(
    listener: &TcpListener,
    (place, dialers): (usize, Dialers),
    upstream: SocketAddr,
    shared: &Arc<Shared>,
) {
    for downstream in listener.incoming() {
        if shared.lock().is_over {
            return;
        }
        let Ok(downstream) = downstream else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // Who knocks at a member that does not listen need not be looked for, which is dear,
            // unless a cut may be in between.
            let is_whole = shared.lock().cuts.is_empty();
            let early = is_whole.then(|| TcpStream::connect(upstream));
            let Ok(early) = early.transpose() else { return };
            let opener = match dialers {
                Dialers::Clients => Some(End::Clients),
                Dialers::Peers => owner(&downstream, &shared).map(End::Member),
            };
            // A connection that cannot be relayed is closed: the member does not listen.
            let ends = (opener, End::Member(place));
            let _ = relay(downstream, ends, early.ok_or(upstream), &shared);
        });
    }
}

/// Carries one connection until both of its directions have ended. Upstream it is made already, or
/// is to be.
fn relay(
    downstream: TcpStream,
    (opener, opened): (Option<End>, End),
    upstream: Result<TcpStream, SocketAddr>,
    shared: &Arc<Shared>,
) -> std::io::Result<()> {
    let (there, back) = (opener.map(|end| (end, opened)), opener.map(|end| (opened, end)));
    if let Some(link) = there {
        let mut state = shared.lock();
        if state.cuts.contains(&link) {
            state.tallies.entry(link).or_default().add(Deed::KnockUnheard);
        }
    }
    if !shared.await_passage(there, Instant::now()) {
        return Ok(());
    }
    let upstream = upstream.or_else(TcpStream::connect)?;
    downstream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let number = {
        let (downstream, upstream) = (downstream.try_clone()?, upstream.try_clone()?);
        let mut state = shared.lock();
        state.next_connection += 1;
        let number = state.next_connection;
        let connection = Connection { opener, opened, downstream, upstream, untold: None };
        state.connections.insert(number, connection);
        number
    };
    let draws = |way: &str| Streams::new(number).stream(&format!("relay/{way}"));
    let answers = Ends {
        number,
        link: back,
        source: upstream.try_clone()?,
        sink: downstream.try_clone()?,
        to: opener,
    };
    let asks = Ends { number, link: there, source: downstream, sink: upstream, to: Some(opened) };
    let answering = {
        let (shared, draws) = (Arc::clone(shared), draws("back"));
        std::thread::spawn(move || carry(answers, draws, &shared))
    };
    carry(asks, draws("there"), shared);
    // It ends when its sockets do, and it does not panic.
    let _ = answering.join();
    shared.lock().connections.remove(&number);
    Ok(())
}

fn close(socket: &TcpStream) {
    // It may be closed already.
    let _ = socket.shutdown(Shutdown::Both);
}

/// The place whose process holds the other end of a connection.
fn owner(downstream: &TcpStream, shared: &Shared) -> Option<usize> {
    let (theirs, ours) = (downstream.peer_addr().ok()?, downstream.local_addr().ok()?);
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = inode_of(&table, theirs.port(), ours.port())?;
    let processes = shared.lock().processes.clone();
    processes.into_iter().find(|(_, pid)| holds(*pid, inode)).map(|(place, _)| place)
}

/// The socket with these ports in the system's table of connections.
fn inode_of(table: &str, local: u16, remote: u16) -> Option<u64> {
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = port(fields.get(1)?)? == local && port(fields.get(2)?)? == remote;
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

fn holds(pid: u32, inode: u64) -> bool {
    let name = format!("socket:[{inode}]");
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .filter_map(|descriptor| std::fs::read_link(descriptor.ok()?.path()).ok())
        .any(|target| target.as_os_str() == name.as_str())
}
