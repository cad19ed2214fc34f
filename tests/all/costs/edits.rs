//! An edit of a large value writes what it changes, not the value.

use ferrite_tests::{Client, Server, encode};

/// Bytes of the text that is edited.
const TEXT_BYTES: usize = 4 << 20;

/// Elements of the list that is edited, each of about 15 bytes.
const ELEMENTS: usize = 100_000;

/// Edits of each kind.
const EDITS: u64 = 40;

/// Bytes that the server has written so far, to files and to the log.
pub(super) fn written(server: &Server) -> u64 {
    let path = format!("/proc/{}/io", server.pid());
    let text = std::fs::read_to_string(path).expect("the figures of a process");
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).expect("a number")
}

/// A server that has written every request before it answers.
fn server() -> Server {
    Server::builder()
        .arguments(&["--store-durability", "always"])
        .start()
}

fn fill_list(client: &mut Client, element: impl Fn(usize) -> String) {
    for start in (0..ELEMENTS).step_by(1_000) {
        let elements: Vec<String> = (start..start + 1_000).map(&element).collect();
        let mut request = vec!["RPUSH", "list"];
        request.extend(elements.iter().map(String::as_str));
        client.send(&encode(&request));
        assert!(client.reply().int().is_some());
    }
}

#[test]
fn an_edit_writes_what_it_changes() {
    let server = server();
    let mut client = server.client();
    let text = "x".repeat(TEXT_BYTES);
    client.call(&["SET", "text", &text]);
    fill_list(&mut client, |at| format!("element {at:07}"));
    let list_bytes = ELEMENTS * "element 0000000".len();
    let edits: [(&[&str], usize); 7] = [
        (&["APPEND", "text", "0123456789"], TEXT_BYTES),
        (&["SETRANGE", "text", "2000000", "abc"], TEXT_BYTES),
        (&["SETBIT", "text", "12345678", "1"], TEXT_BYTES),
        (
            &["BITFIELD", "text", "SET", "u16", "1000", "4711"],
            TEXT_BYTES,
        ),
        (
            &["LINSERT", "list", "BEFORE", "element 0050001", "new"],
            list_bytes,
        ),
        (&["LREM", "list", "1", "new"], list_bytes),
        (&["LSET", "list", "50000", "other"], list_bytes),
    ];
    for (edit, value_bytes) in edits {
        let before = written(&server);
        for _ in 0..EDITS {
            let reply = client.call(edit);
            assert!(reply.error().is_none(), "{edit:?}: {reply:?}");
        }
        let bytes = written(&server) - before;
        let bytes_max = EDITS * value_bytes as u64 / 20;
        assert!(
            bytes < bytes_max,
            "{edit:?} {EDITS} times wrote {bytes} bytes, of a value of {value_bytes}"
        );
        assert!(bytes > 0, "{edit:?} wrote nothing");
    }
}

/// The bound is some times the list; noting each move of each element would take gigabytes.
#[test]
fn removing_half_of_a_list_takes_little_more_than_the_list() {
    const KIB_MAX: u64 = 100 << 10;
    let server = server();
    let mut client = server.client();
    fill_list(&mut client, |at| match at % 2 {
        0 => format!("element {at:07}"),
        _ => "half".to_owned(),
    });
    let (bytes, memory) = (written(&server), server.memory_kib("VmHWM"));
    let removed = client.run("LREM list 0 half");
    assert_eq!(removed.int(), Some(ELEMENTS as i64 / 2));
    let bytes = written(&server) - bytes;
    let memory = server.memory_kib("VmHWM") - memory;
    assert!(memory < KIB_MAX, "{memory} KiB");
    assert!(bytes < 8 << 20, "{bytes} bytes");
}
