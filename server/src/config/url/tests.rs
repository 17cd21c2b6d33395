//! URL texts against what Go's parser and etcd's list parser make of them.

use super::*;

fn set(list: &str) -> Result<Vec<String>, String> {
    parse_set(list).map(|urls| print(&urls)).map_err(|error| error.to_string())
}

#[test]
fn a_list_is_sorted_bytewise_and_without_duplicates() {
    assert_eq!(
        set("https://127.0.0.1:2380, https://127.0.0.1:12380 ,https://127.0.0.1:2380").unwrap(),
        ["https://127.0.0.1:12380", "https://127.0.0.1:2380"]
    );
}

#[test]
fn printing_normalises_the_scheme_and_keeps_host_and_port() {
    for (text, printed) in [
        ("HTTP://Host.Example:02380", "http://Host.Example:02380"),
        ("http://[::1]:2380", "http://[::1]:2380"),
        ("http://:2380", "http://:2380"),
        ("http://127.0.0.1:", "http://127.0.0.1:"),
        ("unix://localhost:2380", "unix://localhost:2380"),
        ("unix:///run/etcd.sock", "unix:///run/etcd.sock"),
        ("unix:/run/etcd.sock", "unix:/run/etcd.sock"),
        ("unixs:etcd.sock", "unixs:etcd.sock"),
        ("http://u:p@h:1?a=b#c", "http://u:p@h:1?a=b#c"),
        ("http://h:1?", "http://h:1?"),
        ("http://h\u{e9}:1", "http://h%C3%A9:1"),
        ("unix:///run/a b", "unix:///run/a%20b"),
    ] {
        assert_eq!(set(text).unwrap(), [printed], "{text}");
    }
}

#[test]
fn what_is_no_member_url_is_refused_with_the_text_of_etcd() {
    for (text, error) in [
        (
            "ftp://127.0.0.1:2380",
            "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:2380",
        ),
        ("", "URL scheme must be http, https, unix, or unixs: "),
        ("localhost:2380", "URL scheme must be http, https, unix, or unixs: localhost:2380"),
        ("localhost", "URL scheme must be http, https, unix, or unixs: localhost"),
        ("http://127.0.0.1", "URL address does not have the form \"host:port\": http://127.0.0.1"),
        ("http://::1:2380", "URL address does not have the form \"host:port\": http://::1:2380"),
        ("http://127.0.0.1:2380/", "URL must not contain a path: http://127.0.0.1:2380/"),
        ("http://127.0.0.1:2380/abc", "URL must not contain a path: http://127.0.0.1:2380/abc"),
        (
            "127.0.0.1:2380",
            "parse \"127.0.0.1:2380\": first path segment in URL cannot contain colon",
        ),
        (":2380", "parse \":2380\": missing protocol scheme"),
        (
            "http://127.0.0.1:abc",
            "parse \"http://127.0.0.1:abc\": invalid port \":abc\" after host",
        ),
        ("http://[::1:2380", "parse \"http://[::1:2380\": missing ']' in host"),
        ("http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"),
        ("http://h%zz:1", "parse \"http://h%zz:1\": invalid URL escape \"%zz\""),
        ("unix:///a%g", "parse \"unix:///a%g\": invalid URL escape \"%g\""),
        ("http://a\u{1}:1", "parse \"http://a\\x01:1\": net/url: invalid control character in URL"),
    ] {
        assert_eq!(set(text).unwrap_err(), error);
    }
    assert_eq!(parse_list([]).unwrap_err().to_string(), "no valid URLs given");
}

#[test]
fn the_first_bad_item_of_a_list_decides() {
    assert_eq!(
        set("http://a:1,http://b,ftp://c").unwrap_err(),
        "URL address does not have the form \"host:port\": http://b"
    );
}

#[test]
fn hosts_and_ports_are_taken_apart() {
    for (text, parts) in [
        ("h:1", Some(("h", "1"))),
        (":1", Some(("", "1"))),
        ("[::1]:1", Some(("::1", "1"))),
        ("h", None),
        ("::1", None),
        ("[::1]", None),
        ("[a]b:1", None),
        ("a]:1", None),
    ] {
        assert_eq!(split_host_port(text), parts, "{text}");
    }
}
