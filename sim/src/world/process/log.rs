//! What a member's log says: whether a text is in it, and why the process ended.
//!
//! etcd writes one JSON object a line; what the Go runtime or the flag parser prints is plain text.

use serde_json::Value;

/// Whether a line has the text: in its raw form, or in one of its fields once unescaped.
pub fn contains(log: &str, text: &str) -> bool {
    log.lines().any(|line| {
        line.contains(text)
            || serde_json::from_str::<Value>(line).is_ok_and(|fields| has_text(&fields, text))
    })
}

fn has_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(field) => field.contains(text),
        Value::Array(items) => items.iter().any(|item| has_text(item, text)),
        Value::Object(fields) => fields.values().any(|field| has_text(field, text)),
        _ => false,
    }
}

/// Why the process that wrote the log ended: the `error` field of its last fatal line, or that
/// line's message; else what it panicked with; else its last error, its last warning that carries
/// an error, its last line.
pub fn last_words(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let parsed: Vec<Value> =
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last = |levels: &[&str], must_carry_error: bool| {
        parsed.iter().rev().find_map(|line| {
            let is_level = line["level"].as_str().is_some_and(|level| levels.contains(&level));
            let error = line["error"].as_str();
            let said = if must_carry_error { error } else { error.or(line["msg"].as_str()) };
            said.filter(|_| is_level).map(str::to_owned)
        })
    };
    let panicked =
        || lines.iter().rev().find_map(|line| Some(line.strip_prefix("panic: ")?.to_owned()));
    last(&["fatal", "panic"], false)
        .or_else(panicked)
        .or_else(|| last(&["error"], false))
        .or_else(|| last(&["warn"], true))
        .or_else(|| lines.last().map(|line| (*line).to_owned()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOIN: &str = concat!(
        "{\"level\":\"warn\",\"msg\":\"failed to get cluster response\",\"error\":\"refused\"}\n",
        "{\"level\":\"error\",\"msg\":\"bootstrap failed\",\"error\":\"cannot fetch\"}\n",
        "{\"level\":\"fatal\",\"msg\":\"discovery failed\",\"error\":\"no \\\"peer\\\" urls\"}\n",
    );

    #[test]
    fn the_error_of_the_fatal_line_is_the_reason() {
        assert_eq!(last_words(JOIN), "no \"peer\" urls");
    }

    #[test]
    fn a_fatal_line_without_error_gives_its_message() {
        assert_eq!(
            last_words("{\"level\":\"panic\",\"msg\":\"tocommit(8)\"}\npanic: x\n"),
            "tocommit(8)"
        );
    }

    #[test]
    fn a_panic_that_no_logger_saw_is_the_reason() {
        assert_eq!(last_words("panic: nil map\n\ngoroutine 1 [running]:\n"), "nil map");
    }

    #[test]
    fn a_process_that_logged_nothing_fatal_gives_its_last_error() {
        let log = "{\"level\":\"warn\",\"msg\":\"server error\",\"error\":\"removed\"}\n\
                   {\"level\":\"warn\",\"msg\":\"data-dir must be removed\"}\n";
        assert_eq!(last_words(log), "removed");
        assert_eq!(
            last_words("flag provided but not defined: -x\n"),
            "flag provided but not defined: -x"
        );
        assert_eq!(last_words(""), "");
    }

    #[test]
    fn a_text_is_found_in_escaped_fields() {
        assert!(contains(JOIN, "no \"peer\" urls"));
        assert!(contains(JOIN, "discovery failed"));
        assert!(!contains(JOIN, "member count"));
    }
}
