//! A watch over the gateway's WebSocket: messages flow in both directions, so progress can be asked
//! for while the watch is open, which a plain HTTP/1.1 request cannot.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use detsim_reports::record::{Body, Header, OpId, Outcome, Reply, Watch, WatchMessage};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::gateway;
use crate::world::WorldEvent;

/// Ends a watch from outside of its thread.
#[derive(Clone, Debug, Default)]
pub struct Closer(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    socket: Option<TcpStream>,
}

impl Closer {
    /// Ends the watch, even one that is still connecting.
    pub fn close(&self) {
        let mut state = self.0.lock().expect("no thread panics while it holds the lock");
        state.is_closed = true;
        if let Some(socket) = state.socket.take() {
            // The other side may have closed it before.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn is_closed(&self) -> bool {
        self.0.lock().expect("no thread panics while it holds the lock").is_closed
    }

    fn connected(&self, socket: &TcpStream) -> std::io::Result<()> {
        let mut state = self.0.lock().expect("no thread panics while it holds the lock");
        if state.is_closed {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        state.socket = Some(socket.try_clone()?);
        Ok(())
    }
}

/// Opens a watch at `endpoint` and reports its messages until it ends, then its end.
pub fn follow(
    endpoint: &str,
    op: OpId,
    watch: &Watch,
    timeout: Duration,
    closer: &Closer,
    reports: &Sender<WorldEvent>,
) {
    let mut last = Header::default();
    let end = stream(endpoint, watch, timeout, closer, &mut |header, message| {
        last = header;
        // The world may be gone; then nobody wants to know.
        let _ = reports.send(WorldEvent::Watched { op, message });
    });
    let outcome = match end {
        Err(why) if !closer.is_closed() => Outcome::Fail(why),
        _ => Outcome::Ok(Reply { header: last, body: Body::WatchClosed }),
    };
    let _ = reports.send(WorldEvent::Completed { op, outcome });
}

/// Returns when the member cancels the watch; fails when the stream breaks.
fn stream(
    endpoint: &str,
    watch: &Watch,
    timeout: Duration,
    closer: &Closer,
    receive: &mut dyn FnMut(Header, WatchMessage),
) -> Result<(), String> {
    let mut socket = connect(endpoint, timeout, closer)?;
    send(&mut socket, &gateway::watch_create(watch))?;
    loop {
        let text = match socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(_)) => return Err("the member closed the stream".to_owned()),
            Ok(_) => continue,
            Err(error) if is_silence(&error) => {
                if socket.get_ref().read_timeout().ok().flatten() == Some(timeout) {
                    return Err(format!("not created within {timeout:?}"));
                }
                send(&mut socket, &json!({"progress_request": {}}))?;
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        let frame: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if let Some(error) = frame.get("error") {
            return Err(error["message"].as_str().unwrap_or(&text).to_owned());
        }
        let message = gateway::watch_message(&frame["result"])?;
        let (created, canceled) = (message.created, message.canceled);
        receive(gateway::header(&frame["result"])?, message);
        if canceled {
            return Ok(());
        }
        if created {
            await_silence(&socket, watch, timeout)?;
        }
        drain(watch, text.len());
    }
}

fn connect(
    endpoint: &str,
    timeout: Duration,
    closer: &Closer,
) -> Result<WebSocket<TcpStream>, String> {
    let address: SocketAddr = endpoint.parse().map_err(|error| format!("{endpoint}: {error}"))?;
    let prepare = || {
        let socket = TcpStream::connect_timeout(&address, timeout)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        closer.connected(&socket)?;
        Ok(socket)
    };
    let socket = prepare().map_err(|error: std::io::Error| error.to_string())?;
    let config = tungstenite::protocol::WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let url = format!("ws://{endpoint}/v3/watch");
    tungstenite::client::client_with_config(url, socket, Some(config))
        .map(|(socket, _)| socket)
        .map_err(|error| error.to_string())
}

fn send(socket: &mut WebSocket<TcpStream>, message: &Value) -> Result<(), String> {
    socket.send(Message::text(message.to_string())).map_err(|error| error.to_string())
}

/// From now on silence is no failure but the time to ask for progress.
fn await_silence(
    socket: &WebSocket<TcpStream>,
    watch: &Watch,
    timeout: Duration,
) -> Result<(), String> {
    let mut silence =
        Some(watch.request_progress_ms).filter(|ms| *ms > 0).map(Duration::from_millis);
    // The reader tells a watch that is not created yet by its timeout.
    if silence == Some(timeout) {
        silence = Some(timeout + Duration::from_millis(1));
    }
    socket.get_ref().set_read_timeout(silence).map_err(|error| error.to_string())
}

fn is_silence(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error)
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Takes as long over a message as a client of the watch's rate does.
fn drain(watch: &Watch, bytes: usize) {
    let nanos = (bytes as u64 * 1_000_000_000).checked_div(watch.drain_bytes_per_s);
    if let Some(nanos) = nanos {
        std::thread::sleep(Duration::from_nanos(nanos));
    }
}
