//! One direction of a connection: a thread reads what comes and decides when it is due, another
//! writes it then, in order. What is under way is bounded, so that the sender feels a link that
//! carries little.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use rand_chacha::ChaCha8Rng;

use super::{Link, Shared, close};
use crate::world::End;

const CHUNK: usize = 16 * 1024;
/// How many pieces may be under way.
const UNDER_WAY: usize = 64;

/// What a direction is between.
#[derive(Debug)]
pub struct Ends {
    /// The connection's number.
    pub number: u64,
    /// The link that it is part of, where it is known who opened it.
    pub link: Option<Link>,
    /// Where bytes come from.
    pub source: TcpStream,
    /// Where they go.
    pub sink: TcpStream,
    /// Whose the sink is.
    pub to: Option<End>,
}

/// Carries one direction until its source has ended.
pub fn carry(ends: Ends, mut draws: ChaCha8Rng, shared: &Arc<Shared>) {
    let Ok(mut source) = ends.source.try_clone() else { return };
    let (link, (send, receive)) = (ends.link, sync_channel(UNDER_WAY));
    let writer = {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || write(ends, &receive, &shared))
    };
    let mut chunk = vec![0; CHUNK];
    let mut last = Instant::now();
    loop {
        let read = source.read(&mut chunk).unwrap_or(0);
        if read == 0 {
            break;
        }
        last = last.max(shared.due(link, read, &mut draws));
        if send.send((last, chunk[..read].to_vec())).is_err() {
            break;
        }
    }
    drop(send);
    // It does not panic.
    let _ = writer.join();
}

fn write(mut ends: Ends, pieces: &Receiver<(Instant, Vec<u8>)>, shared: &Shared) {
    for (due, piece) in pieces {
        if !shared.await_passage(ends.link, due) {
            return close(&ends.source);
        }
        if ends.sink.write_all(&piece).is_err() {
            // Who was not told learns it now: nobody is there to take what it sends.
            return close(&ends.source);
        }
    }
    // What one side no longer says, the other is told, when it may be.
    if shared.await_passage(ends.link, Instant::now()) && !shared.is_untold(ends.number, ends.to) {
        let _ = ends.sink.shutdown(Shutdown::Write);
    }
}
