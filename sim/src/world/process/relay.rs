//! Links between processes that can be cut: each member's peer address is a relay in front of it.
//!
//! A relay knows who dials it by the socket's owner in `/proc`, so it exists on Linux only. Cutting
//! a direction stops its bytes and keeps the connections, as lost packets do; healing lets go what
//! has piled up, as retransmission does. Clients are not relayed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::world::WorldError;

const CHUNK: usize = 32 * 1024;

/// From one place to another.
pub type Link = (usize, usize);

/// The relays of a world.
#[derive(Debug, Default)]
pub struct Relays {
    shared: Arc<Shared>,
    listening: Vec<SocketAddr>,
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
    /// The process that runs at a place.
    processes: BTreeMap<usize, u32>,
    /// Both ends of every connection, by a number.
    connections: BTreeMap<u64, (Option<usize>, usize, TcpStream, TcpStream)>,
    next_connection: u64,
}

impl Relays {
    /// Puts a relay in front of the member that will listen at `upstream`.
    pub fn add(&mut self, place: usize, at: &str, upstream: &str) -> Result<(), WorldError> {
        let harness = |error: std::io::Error| WorldError::Harness(format!("relay {at}: {error}"));
        let upstream: SocketAddr = upstream.parse().expect("the world made this address");
        let listener = TcpListener::bind(at).map_err(harness)?;
        self.listening.push(listener.local_addr().map_err(harness)?);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || accept(&listener, place, upstream, &shared));
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

    /// Bytes pass everywhere again.
    pub fn heal_all(&self) {
        self.shared.lock().cuts.clear();
        self.shared.changed.notify_all();
    }

    /// Breaks the connections that one place has opened to another.
    pub fn reset(&self, (from, to): Link) {
        let state = self.shared.lock();
        for (opener, opened, downstream, upstream) in state.connections.values() {
            if *opener == Some(from) && *opened == to {
                close(downstream);
                close(upstream);
            }
        }
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        for (_, _, downstream, upstream) in self.shared.lock().connections.values() {
            close(downstream);
            close(upstream);
        }
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

    /// Waits until bytes may pass; false once the world is over.
    fn await_passage(&self, link: Option<Link>) -> bool {
        let mut state = self.lock();
        while !state.is_over && link.is_some_and(|link| state.cuts.contains(&link)) {
            state = self.changed.wait(state).expect("no thread panics while it holds the lock");
        }
        !state.is_over
    }
}

fn accept(listener: &TcpListener, place: usize, upstream: SocketAddr, shared: &Arc<Shared>) {
    for downstream in listener.incoming() {
        if shared.lock().is_over {
            return;
        }
        let Ok(downstream) = downstream else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A connection that cannot be relayed is closed: the member does not listen.
            let _ = relay(downstream, place, upstream, &shared);
        });
    }
}

/// Carries one connection until both of its directions have ended.
fn relay(
    downstream: TcpStream,
    place: usize,
    upstream: SocketAddr,
    shared: &Arc<Shared>,
) -> std::io::Result<()> {
    let opener = owner(&downstream, shared);
    if !shared.await_passage(opener.map(|opener| (opener, place))) {
        return Ok(());
    }
    let upstream = TcpStream::connect(upstream)?;
    downstream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let ends = (downstream.try_clone()?, upstream.try_clone()?);
    let number = {
        let mut state = shared.lock();
        state.next_connection += 1;
        let number = state.next_connection;
        state.connections.insert(number, (opener, place, ends.0, ends.1));
        number
    };
    let (source, sink) = (upstream.try_clone()?, downstream.try_clone()?);
    let back = {
        let shared = Arc::clone(shared);
        let link = opener.map(|opener| (place, opener));
        std::thread::spawn(move || carry(source, sink, link, &shared))
    };
    carry(downstream, upstream, opener.map(|opener| (opener, place)), shared);
    // It ends when its sockets do, and it does not panic.
    let _ = back.join();
    shared.lock().connections.remove(&number);
    Ok(())
}

/// Carries one direction until its source has ended.
fn carry(mut source: TcpStream, mut sink: TcpStream, link: Option<Link>, shared: &Shared) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = source.read(&mut chunk).unwrap_or(0);
        if !shared.await_passage(link) {
            return;
        }
        if read == 0 || sink.write_all(&chunk[..read]).is_err() {
            // What one side no longer says or hears, the other is told.
            let _ = sink.shutdown(Shutdown::Write);
            let _ = source.shutdown(Shutdown::Read);
            return;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_found_by_both_of_its_ports() {
        let table = "  sl  local_address rem_address   st tx rx tr tm retr  uid timeout inode\n\
            0: 0100007F:1F90 0100007F:C000 01 0:0 0:0 0 0 0 4711 1\n\
            1: 0100007F:C000 0100007F:1F90 01 0:0 0:0 0 0 0 4712 1\n";
        assert_eq!(inode_of(table, 0xC000, 0x1F90), Some(4712));
        assert_eq!(inode_of(table, 0xC000, 0x1F91), None);
    }

    #[test]
    fn a_cut_link_holds_bytes_back_until_it_heals() {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut relays = Relays::default();
        let target = upstream.local_addr().unwrap().to_string();
        relays.add(1, "127.0.0.1:0", &target).unwrap();
        relays.process(0, Some(std::process::id()));
        let mut here = TcpStream::connect(relays.listening[0]).unwrap();
        let (mut there, _) = upstream.accept().unwrap();
        let mut byte = [0];

        here.write_all(b"a").unwrap();
        there.read_exact(&mut byte).unwrap();
        relays.cut((0, 1));
        here.write_all(b"b").unwrap();
        // The other direction passes, and what is cut has not come before it heals.
        there.write_all(b"c").unwrap();
        here.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"c");
        there.set_nonblocking(true).unwrap();
        assert!(there.read(&mut byte).is_err());
        there.set_nonblocking(false).unwrap();
        relays.heal((0, 1));
        there.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"b");

        relays.reset((0, 1));
        assert_eq!(there.read(&mut byte).unwrap_or(0), 0);
    }
}
