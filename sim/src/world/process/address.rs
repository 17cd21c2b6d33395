//! Where the members of one world listen: a run of free ports on 127.0.0.1, four for each place.
//!
//! Ports are taken below the range that the system gives to outgoing connections, and each process
//! begins in a slice of its own, so that neither a connection nor another world takes the port of a
//! member that is down for a while. Nothing reserves them: they are free when the world begins.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::world::WorldError;

/// How many members a world has room for.
pub const PLACES: usize = 32;

const FIRST_PORT: u16 = 10_000;
const SLICES: u16 = 20;
const SLICE: u16 = 1_000;
const PORTS: u16 = PLACES as u16 * 4;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// The ports of a world.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    base: u16,
}

impl Addresses {
    /// Finds a run of free ports.
    pub fn find() -> Result<Addresses, WorldError> {
        let slice = (std::process::id() % u32::from(SLICES)) as u16;
        let runs = SLICES * SLICE / PORTS;
        for _ in 0..runs {
            let run = TAKEN.fetch_add(1, Ordering::Relaxed);
            let base = FIRST_PORT + (slice * (SLICE / PORTS) + run) % runs * PORTS;
            if (base..base + PORTS).all(is_free) {
                return Ok(Addresses { base });
            }
        }
        Err(WorldError::Harness("no free run of ports on 127.0.0.1".to_owned()))
    }

    /// Where peers reach the member of this place.
    pub fn peer(self, place: usize) -> String {
        format!("127.0.0.1:{}", self.port(place))
    }

    /// Where the member of this place listens for peers when a relay stands before it.
    pub fn behind_relay(self, place: usize) -> String {
        format!("127.0.0.1:{}", self.port(place) + 2)
    }

    /// Where clients reach the member of this place.
    pub fn client(self, place: usize) -> String {
        format!("127.0.0.1:{}", self.port(place) + 1)
    }

    /// Where the member of this place listens for clients when a relay stands before it.
    pub fn behind_client_relay(self, place: usize) -> String {
        format!("127.0.0.1:{}", self.port(place) + 3)
    }

    /// Puts real addresses in the place of those that simulated worlds have: `10.0.0.1:2380` for
    /// the peers of place 0, `10.0.0.1:2379` for its clients.
    pub fn localize(self, text: &str) -> String {
        const HOSTS: &str = "10.0.0.";
        let mut local = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(HOSTS) {
            local.push_str(&rest[..at]);
            rest = &rest[at..];
            match self.leading(&rest[HOSTS.len()..]) {
                Some((address, length)) => {
                    local.push_str(&address);
                    rest = &rest[HOSTS.len() + length..];
                }
                None => {
                    local.push_str(HOSTS);
                    rest = &rest[HOSTS.len()..];
                }
            }
        }
        local.push_str(rest);
        local
    }

    /// The address that `1:2380...` begins with, and how many bytes name it.
    fn leading(self, text: &str) -> Option<(String, usize)> {
        let colon = text.find(':')?;
        let place: usize = text[..colon].parse().ok()?;
        if !(1..=PLACES).contains(&place) {
            return None;
        }
        let port = text[colon + 1..].get(..4)?;
        match port {
            "2380" => Some((self.peer(place - 1), colon + 5)),
            "2379" => Some((self.client(place - 1), colon + 5)),
            _ => None,
        }
    }

    fn port(self, place: usize) -> u16 {
        assert!(place < PLACES, "a world of processes has room for {PLACES} members");
        self.base + 4 * place as u16
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_addresses_become_local_ones() {
        let addresses = Addresses { base: 10_000 };
        let local = addresses.localize("a=http://10.0.0.1:2380,b=http://10.0.0.2:2379/x");
        assert_eq!(local, "a=http://127.0.0.1:10000,b=http://127.0.0.1:10005/x");
    }

    #[test]
    fn addresses_that_no_world_has_stay() {
        let addresses = Addresses { base: 10_000 };
        for text in ["10.0.0.1:2381", "10.0.0.:2380", "10.0.0.99:2380", "10.0.0.1", "10.0.0.1:23"] {
            assert_eq!(addresses.localize(text), text);
        }
    }

    #[test]
    fn two_worlds_get_different_ports() {
        let first = Addresses::find().unwrap();
        let second = Addresses::find().unwrap();
        assert_ne!(first.base, second.base);
    }
}
