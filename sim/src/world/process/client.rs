//! Unary calls to a member through its JSON gateway, on HTTP/1.1.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use detsim_reports::record::{Call, Outcome, Reply};
use serde_json::Value;
use ureq::{Agent, Timeout};

use super::gateway;

const ANSWER_BYTES_MAX: u64 = 1 << 30;
const IDLE_CONNECTIONS: usize = 64;

/// A pool of connections. A member gets a new one with each start, so that a call after a restart
/// never travels on a connection that died with the process before.
pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .build()
        .new_agent()
}

/// Why nobody listens at `endpoint`, if nobody does.
pub fn refusal(endpoint: &str) -> Option<String> {
    let error = TcpStream::connect(endpoint).err()?;
    (error.kind() == ErrorKind::ConnectionRefused).then(|| ureq::Error::Io(error).to_string())
}

/// Sends a call to the member at `endpoint` and waits for its end.
pub fn perform(agent: &Agent, endpoint: &str, call: &Call, timeout: Duration) -> Outcome {
    let url = format!("http://{endpoint}{}", gateway::path(call));
    let sent = agent
        .post(&url)
        .config()
        .timeout_global(Some(timeout))
        .build()
        .header("content-type", "application/json")
        .send(gateway::request(call).to_string());
    let mut response = match sent {
        Ok(response) => response,
        Err(error) if never_sent(&error) => return Outcome::Fail(error.to_string()),
        Err(error) => return gateway::without_answer(call, error.to_string()),
    };
    let is_success = response.status().is_success();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    match body {
        Ok(body) => interpret(call, is_success, &body),
        Err(error) => gateway::without_answer(call, error.to_string()),
    }
}

fn interpret(call: &Call, is_success: bool, body: &[u8]) -> Outcome {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        return gateway::without_answer(call, format!("answered {text:?}"));
    };
    // A stream that failed carries its error inside of an answer that began well.
    let error = answer.get("error").filter(|error| error.is_object());
    if is_success && error.is_none() {
        return read(call, &answer).unwrap_or_else(|why| gateway::without_answer(call, why));
    }
    let error = error.unwrap_or(&answer);
    match (error["code"].as_i64(), error["message"].as_str()) {
        (Some(code), Some(text)) => gateway::of_refusal(call, code, text.to_owned()),
        _ => gateway::without_answer(call, format!("answered {answer}")),
    }
}

fn read(call: &Call, answer: &Value) -> Result<Outcome, String> {
    let reply: Reply = gateway::reply(call, answer)?;
    Ok(Outcome::Ok(reply))
}

fn never_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => true,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use detsim_reports::record::{Body, Put};

    use super::*;

    fn put() -> Call {
        Call::Put(Put::default())
    }

    #[test]
    fn an_answer_that_cannot_be_read_leaves_a_write_open() {
        let outcome = interpret(&put(), true, b"<html>");
        assert_eq!(outcome, Outcome::Unknown("answered \"<html>\"".to_owned()));
    }

    #[test]
    fn an_error_inside_of_a_stream_is_an_error() {
        let body = br#"{"error":{"code":14,"message":"etcdserver: no leader"}}"#;
        let outcome = interpret(&Call::LeaseKeepAlive { id: 1 }, true, body);
        assert_eq!(outcome, Outcome::Fail("etcdserver: no leader".to_owned()));
    }

    #[test]
    fn both_generations_of_error_bodies_are_read() {
        for body in [
            r#"{"code":3,"message":"etcdserver: key is not provided"}"#,
            r#"{"error":"etcdserver: key is not provided","code":3,"message":"etcdserver: key is not provided"}"#,
        ] {
            let outcome = interpret(&put(), false, body.as_bytes());
            assert_eq!(outcome, Outcome::Fail("etcdserver: key is not provided".to_owned()));
        }
    }

    #[test]
    fn a_good_answer_is_a_reply() {
        let Outcome::Ok(reply) = interpret(&put(), true, br#"{"header":{"revision":"2"}}"#) else {
            panic!("not a reply");
        };
        assert_eq!((reply.header.revision, reply.body), (2, Body::Put { prev_kv: None }));
    }
}
