//! Bundles that were changed on their way into a running server.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_tests::{Client, Reply, Server, encode};

use super::workshop::{Workshop, artifacts, loaded, refused};

/// Number of loads sent at once.
const PIPELINED: usize = 16;

/// The code in a process's memory, by the file that it was mapped from.
fn code(server: &Server) -> BTreeSet<String> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.pid())).expect("it is alive");
    maps.lines()
        .filter(|line| {
            line.split(' ')
                .nth(1)
                .is_some_and(|rights| rights.contains('x'))
        })
        .map(|line| {
            let mut fields = line.split_whitespace();
            let (range, file) = (fields.next(), fields.nth(4));
            // Memory without a file has no name but its address.
            file.or(range).unwrap_or_default().to_owned()
        })
        .collect()
}

/// Loads changed bundles one after the other; each must be refused.
fn all_refused(client: &mut Client, changed: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let mut changed = changed.into_iter();
    loop {
        let batch: Vec<_> = changed.by_ref().take(PIPELINED).collect();
        if batch.is_empty() {
            return;
        }
        let requests: Vec<u8> = batch
            .iter()
            .flat_map(|(_, bundle)| {
                encode(&[b"WASM.LOAD".as_slice(), b"count", bundle, b"REPLACE"])
            })
            .collect();
        client.send(&requests);
        for (what, _) in &batch {
            let reply = client.reply();
            assert!(reply.error().is_some(), "{what}: {reply:?}");
        }
    }
}

#[test]
fn no_byte_of_a_loaded_bundle_may_differ() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let before = code(&server);
    let target = if cfg!(target_arch = "x86_64") {
        "x86-64-v2"
    } else {
        "aarch64"
    };
    let bundle = workshop.signed(&["--target", target]);
    // Every other byte of the manifest and of the signature, and some bytes of the rest; the
    // format's own tests flip each.
    let parts = members(&bundle);
    let front = parts[0].len() + parts[1].len();
    let positions = (0..front)
        .step_by(2)
        .chain((front..bundle.len()).step_by(61));
    all_refused(
        &mut client,
        positions.map(|position| {
            let mut changed = bundle.clone();
            changed[position] ^= 0x40;
            (format!("byte {position}"), changed)
        }),
    );
    assert_eq!(artifacts(&workshop.cache()), 0, "nothing of them was kept");
    assert_eq!(code(&server), before, "nothing of them became code");
    assert_eq!(client.run("WASM.LIST"), Reply::Array(Vec::new()));
    loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &bundle]));
    assert_ne!(
        code(&server),
        before,
        "code can be seen where there is some"
    );
}

/// The members of a tar, each with its header, content and padding.
fn members(bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    let mut at = 0;
    while bundle[at] != 0 {
        let size = str::from_utf8(&bundle[at + 124..at + 135]).expect("digits");
        let size = usize::from_str_radix(size, 8).expect("a size");
        let end = at + 512 + size.next_multiple_of(512);
        members.push(bundle[at..end].to_vec());
        at = end;
    }
    members
}

fn join(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bundle = members.concat();
    bundle.extend_from_slice(&[0; 1024]);
    bundle
}

/// The same member with other bytes in its header, and a correct checksum.
fn with_header(member: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut member = member.to_vec();
    member[at..at + bytes.len()].copy_from_slice(bytes);
    member[148..156].fill(b' ');
    let sum: u32 = member[..512].iter().map(|&byte| u32::from(byte)).sum();
    member[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
    member
}

#[test]
fn members_and_headers_have_one_form() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let before = code(&server);
    let bundle = workshop.signed(&["--target", "x86-64-v2", "--target", "aarch64"]);
    let other = workshop.make(
        "count",
        "9",
        &[
            "--target",
            "x86-64-v2",
            "--target",
            "aarch64",
            "--sign",
            "ci.key",
        ],
    );
    let whole = members(&bundle);
    assert_eq!(join(&whole), bundle, "the parts make the whole");
    let foreign = members(&other);
    let mut changed: Vec<(String, Vec<u8>)> = Vec::new();
    for one in 0..whole.len() {
        let mut with = |what: &str, parts: Vec<Vec<u8>>| {
            changed.push((format!("member {one} {what}"), join(&parts)));
        };
        let mut doubled = whole.clone();
        doubled.insert(one, whole[one].clone());
        with("twice", doubled);
        let mut dropped = whole.clone();
        dropped.remove(one);
        with("missing", dropped);
        let mut swapped = whole.clone();
        swapped.swap(one, (one + 1) % whole.len());
        with("elsewhere", swapped);
        for (what, at, bytes) in [
            ("as a symbolic link", 156, b"2".as_slice()),
            ("as a hard link", 156, b"1"),
            ("as a device", 156, b"3"),
            ("as a folder", 156, b"5"),
            ("with a path that climbs", 0, b"../../../etc/passwd\0"),
            ("with an absolute path", 0, b"/etc/passwd\0"),
            ("of another mode", 100, b"0000755\0"),
            ("of another size", 124, b"00000000001"),
            ("of an enormous size", 124, b"77777777777"),
            ("of another time", 136, b"00000000001"),
        ] {
            let mut headed = whole.clone();
            headed[one] = with_header(&whole[one], at, bytes);
            with(what, headed);
        }
    }
    let mut swapped = whole.clone();
    swapped[1].clone_from(&foreign[1]);
    changed.push(("a signature over another bundle".to_owned(), join(&swapped)));
    let mut swapped = foreign.clone();
    swapped[2..].clone_from_slice(&whole[2..]);
    swapped[1].clone_from(&whole[1]);
    changed.push(("another manifest".to_owned(), join(&swapped)));
    let mut extra = whole.clone();
    extra.push(with_header(&whole[2], 0, b"extra.wasm\0"));
    changed.push(("one more member".to_owned(), join(&extra)));
    changed.push((
        "cut short".to_owned(),
        bundle[..bundle.len() - 512].to_vec(),
    ));
    changed.push(("something behind".to_owned(), [&bundle[..], b"x"].concat()));
    all_refused(&mut client, changed);
    assert_eq!(artifacts(&workshop.cache()), 0, "nothing of them was kept");
    assert_eq!(code(&server), before, "nothing of them became code");
}

/// Code in a well-formed bundle signed with an untrusted key is never mapped as code: a thread
/// reads the maps all the time.
#[test]
fn nothing_unsigned_is_ever_mapped_as_code() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let before = code(&server);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0_u32;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(code(&server), before);
                looks += 1;
            }
            looks
        });
        let unsigned = workshop.bundle(&[]);
        let foreign = workshop.bundle(&["--sign", "other.key"]);
        let mut signed = workshop.signed(&[]);
        // In the padding at the very end of the last artifact, after everything else is read.
        let last = signed.len() - 1025;
        signed[last] ^= 1;
        let mut client = server.client();
        all_refused(
            &mut client,
            (0..60).map(|round| {
                let bundle = [&unsigned, &foreign, &signed][round % 3];
                (format!("load {round}"), bundle.clone())
            }),
        );
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().expect("nothing was mapped") > 0);
    });
    if cfg!(target_arch = "x86_64") {
        loaded(
            &server
                .client()
                .call(&[b"WASM.LOAD".as_slice(), b"count", &workshop.signed(&[])]),
        );
        assert_ne!(
            code(&server),
            before,
            "code can be seen where there is some"
        );
    }
}

/// A file that changes while it is loaded is loaded as one of its states or not at all: the server
/// runs only code that it has checked.
#[test]
fn a_file_that_changes_between_check_and_load_gains_nothing() {
    let workshop = Workshop::new();
    let file = workshop.modules().join("c.cwasm.tar");
    let good = workshop.signed(&["--sequence", "5"]);
    let mut bad = good.clone();
    let artifact = bad.len() - 4096;
    bad[artifact..artifact + 1024].fill(0xcc);
    fs::write(&file, &good).expect("written");
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let digest = loaded(&client.run("WASM.LOAD count c.cwasm.tar"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for bytes in [&bad, &good] {
                    fs::write(&file, bytes).expect("written");
                }
            }
        });
        let mut refusals = 0;
        for _ in 0..200 {
            let reply = client.run("WASM.LOAD count c.cwasm.tar REPLACE");
            if reply.error().is_some() {
                refused(&reply, "BADSIG ");
                refusals += 1;
            } else {
                assert_eq!(loaded(&reply), digest);
            }
            let reply = client.run("WASM.CALL count KEYS n");
            assert!(reply.int().is_some_and(|sum| sum > 0), "{reply:?}");
        }
        done.store(true, Ordering::Relaxed);
        assert!(refusals > 0, "the file did change");
    });
}
