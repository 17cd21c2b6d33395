//! What relays carry, hold back and break. Each test dials as clients do, or as a member would.

use std::io::{Read, Write};

use super::*;

const CLIENTS_TO: Link = (End::Clients, End::Member(1));
const TO_CLIENTS: Link = (End::Member(1), End::Clients);

/// A relay, a connection through it, and the member's side of that.
fn connected() -> (Relays, TcpStream, TcpStream) {
    let member = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut relays = Relays::default();
    let upstream = member.local_addr().unwrap().to_string();
    relays.add(1, Dialers::Clients, "127.0.0.1:0", &upstream).unwrap();
    let mut here = TcpStream::connect(relays.listening[0]).unwrap();
    let (mut there, _) = member.accept().unwrap();
    here.write_all(b"a").unwrap();
    assert_eq!(&read(&mut there), b"a");
    (relays, here, there)
}

fn read(from: &mut TcpStream) -> [u8; 1] {
    let mut byte = [0];
    from.read_exact(&mut byte).unwrap();
    byte
}

fn done(relays: &Relays, link: Link, deed: Deed) -> u64 {
    relays.tally(link).since(&Tally::default(), deed)
}

#[test]
fn a_connection_is_found_by_both_of_its_ports() {
    let table = "  sl  local_address rem_address   st tx rx tr tm retr  uid timeout inode\n\
        0: 0100007F:1F90 0100007F:C000 01 0:0 0:0 0 0 0 4711 1\n\
        1: 0100007F:C000 0100007F:1F90 01 0:0 0:0 0 0 0 4712 1\n";
    assert_eq!(inode_of(table, 0xC000, 0x1F90), Some(4712));
    assert_eq!(inode_of(table, 0xC000, 0x1F91), None);
}

#[test]
fn a_member_that_dials_is_known_by_its_process() {
    let member = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut relays = Relays::default();
    let upstream = member.local_addr().unwrap().to_string();
    relays.add(1, Dialers::Peers, "127.0.0.1:0", &upstream).unwrap();
    relays.process(0, Some(std::process::id()));
    let mut here = TcpStream::connect(relays.listening[0]).unwrap();
    let (mut there, _) = member.accept().unwrap();
    relays.reset((End::Member(0), End::Member(2)));
    here.write_all(b"a").unwrap();
    assert_eq!(&read(&mut there), b"a");
    relays.reset((End::Member(0), End::Member(1)));
    assert_eq!(there.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn a_cut_link_holds_bytes_back_until_it_heals() {
    let (relays, mut here, mut there) = connected();
    relays.cut(CLIENTS_TO);
    here.write_all(b"b").unwrap();
    // The other direction passes, and what is cut has not come before it heals.
    there.write_all(b"c").unwrap();
    assert_eq!(&read(&mut here), b"c");
    there.set_nonblocking(true).unwrap();
    assert!(there.read(&mut [0]).is_err());
    there.set_nonblocking(false).unwrap();
    while done(&relays, CLIENTS_TO, Deed::ByteHeld) == 0 {
        std::thread::yield_now();
    }
    assert!(!relays.is_open(TO_CLIENTS));
    relays.heal(CLIENTS_TO);
    assert_eq!(&read(&mut there), b"b");
    assert_eq!(done(&relays, CLIENTS_TO, Deed::ByteHeld), 1);
    assert_eq!(done(&relays, TO_CLIENTS, Deed::ByteHeld), 0);
}

#[test]
fn a_reset_ends_both_sides_and_is_counted() {
    let (relays, mut here, mut there) = connected();
    relays.reset(TO_CLIENTS);
    assert_eq!(here.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(there.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(done(&relays, TO_CLIENTS, Deed::ConnectionBroken), 1);
}

#[test]
fn who_is_not_told_of_a_broken_connection_learns_it_when_it_speaks() {
    let (relays, mut here, mut there) = connected();
    relays.half_open(CLIENTS_TO);
    assert_eq!(there.read(&mut [0]).unwrap_or(0), 0);
    here.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(here.read(&mut [0]).is_err(), "it is told");
    here.set_read_timeout(None).unwrap();
    here.write_all(b"b").unwrap();
    assert_eq!(here.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn a_slow_and_narrow_link_takes_its_time_until_it_is_good_again() {
    let (relays, mut here, mut there) = connected();
    let slow = Duration::from_millis(60);
    let quality = LinkQuality {
        latency: (slow, slow),
        loss_per_10k: 0,
        duplicate_per_10k: 0,
        reorder_per_10k: 0,
        tail_per_10k: 0,
        bandwidth: 100,
    };
    relays.shape(CLIENTS_TO, Some(quality));
    let began = Instant::now();
    here.write_all(b"b").unwrap();
    assert_eq!(&read(&mut there), b"b");
    // A byte of a hundred a second, and the way.
    assert!(began.elapsed() >= slow + Duration::from_millis(10));
    assert_eq!(done(&relays, CLIENTS_TO, Deed::ByteSlowed), 1);
    // What stands in line for a minute and more comes when it need not any longer.
    here.write_all(&[7; 10_000]).unwrap();
    while done(&relays, CLIENTS_TO, Deed::ByteSlowed) <= 10_000 {
        std::thread::yield_now();
    }
    relays.shape(CLIENTS_TO, None);
    there.read_exact(&mut [0; 10_000]).unwrap();
}
