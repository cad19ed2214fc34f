//! Inside Valkey and Redis, functions that list names stop nobody: patterns are matched in linear time, and
//! each name is paid for.

use ferrite_tests::EngineKind;

use super::{OPEN, TYPED, request_of};

/// Keys whose names a hostile pattern nearly matches, and their length.
const LONG_KEYS: usize = 10;
const LONG: usize = 60_000;

/// Keys that cost more to list than the default fuel.
const MANY: usize = 250_000;

fn request(words: &[&str]) -> Vec<Vec<u8>> {
    let mut request = request_of("typed", words);
    request[1] = b"typed.op_any".to_vec();
    request
}

#[test]
fn a_pattern_takes_time_in_proportion_to_the_names_alone() {
    for kind in EngineKind::ends_here() {
        let engine = kind.start();
        let mut client = engine.client();
        let define = ["WASM.DEFINE", "typed", TYPED, "PERMISSIONS", OPEN];
        assert_eq!(client.call(&define).error(), None, "{kind:?}");
        let names: Vec<String> = (0..LONG_KEYS)
            .map(|number| format!("{}{number}", "a".repeat(LONG)))
            .collect();
        for name in &names {
            assert_eq!(client.call(&["SET", name, "v"]).error(), None);
            assert_eq!(client.call(&["SADD", "set", name]).error(), None);
        }
        // The server would compare each place of a name with the whole of it.
        let pattern = format!("*{}b*", "a".repeat(LONG / 2));
        for words in [
            &["KEYS", &pattern][..],
            &["SCAN", "0", "MATCH", &pattern, "COUNT", "100"],
            &["SSCAN", "set", "0", "MATCH", &pattern, "COUNT", "100"],
        ] {
            let reply = client.call(&request(words));
            let text = reply.text().unwrap_or_default();
            assert!(text.ends_with("*0\r\n"), "{kind:?} {}: {reply:?}", words[0]);
        }
        let reply = client.call(&request(&["KEYS", &format!("*{}3", "a".repeat(100))]));
        let text = reply.text().unwrap_or_default();
        assert!(text.starts_with("*1\r\n"), "{kind:?}: {text:.20}");
    }
}

#[test]
fn each_name_is_paid_for_and_told_once() {
    for kind in EngineKind::ends_here() {
        let engine = kind.start();
        let mut client = engine.client();
        let define = ["WASM.DEFINE", "typed", TYPED, "PERMISSIONS", OPEN];
        assert_eq!(client.call(&define).error(), None);
        let fill = "for n = 1, tonumber(ARGV[2]) do redis.call('SET', ARGV[1] .. n, 'v') end";
        let reply = client.call(&["EVAL", fill, "0", "few:", "3000"]);
        assert_eq!(reply.error(), None);
        for words in [&["KEYS", "few:*"][..], &["SCAN", "0", "COUNT", "100000"]] {
            let reply = client.call(&request(words));
            let text = reply.text().unwrap_or_default();
            let mut names: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with("few:"))
                .collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), 3_000, "{kind:?} {words:?}");
            assert!(text.contains("*3000\r\n"), "{kind:?} {words:?}: {text:.40}");
        }
        let many = MANY.to_string();
        assert_eq!(
            client.call(&["EVAL", fill, "0", "many:", &many]).error(),
            None
        );
        for words in [&["KEYS", "few:*"][..], &["SCAN", "0", "COUNT", "999999999"]] {
            let reply = client.call(&request(words));
            let error = reply.error().unwrap_or_default();
            assert!(error.starts_with("FUEL "), "{kind:?} {words:?}: {reply:?}");
        }
    }
}
