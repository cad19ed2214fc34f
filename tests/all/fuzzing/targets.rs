//! The fuzz targets, one function for each reader of foreign bytes. None may panic, and accepted
//! input must read back as the same.

use std::path::Path;

use ferrite_cache::bundle::{BundleLimits, BundleManifest, UncheckedBundle};
use ferrite_cache::worker_protocol::{ResponseLimits, read_request, read_response};
use ferrite_cache::{Automation, Image, Manifest, patches};
use ferrite_compiler::SourceLimits;
use ferrite_compiler::rewrite::rewrite;
use ferrite_protocol::glob::{Glob, Matcher, matches};
use ferrite_protocol::resp::{
    Encoder, Protocol, ReplyBounds, RequestBounds, RequestScanner, Scan, measure, transcode,
};
use ferrite_runtime::policy::limits::{LimitSettings, Limits};
use ferrite_runtime::policy::permissions::{Access, AccessPolicy, Permissions};
use ferrite_server::config::Config;
use ferrite_store::{Session, Store, StoreOptions};

/// A reader of foreign bytes: its name, and the function that runs it.
type Target = (&'static str, fn(&[u8]));

/// Every target.
pub(crate) const TARGETS: [Target; 16] = [
    ("request", request),
    ("command", command),
    ("reply", reply),
    ("permissions", permissions),
    ("limits", limits),
    ("bundle", bundle),
    ("worker_protocol", worker_protocol),
    ("module", module),
    ("component", component),
    ("glob", glob),
    ("manifest", manifest),
    ("automation", automation),
    ("image", image),
    ("config", config),
    ("users", users),
    ("dump", dump),
];

/// Bytes from a connection: scanned whole and byte by byte, with the same result.
pub(crate) fn request(bytes: &[u8]) {
    let bounds = RequestBounds {
        bulk_bytes_max: 1 << 16,
        arguments_max: 1 << 10,
        inline_bytes_max: 1 << 10,
        request_bytes_max: 1 << 17,
    };
    let mut whole = RequestScanner::new(bounds);
    let Ok(Scan::Complete { consumed }) = whole.scan(bytes) else {
        return;
    };
    assert!(consumed <= bytes.len());
    let found: Vec<&[u8]> = whole.arguments(bytes).collect();
    let mut split = RequestScanner::new(bounds);
    for end in 0..consumed {
        let part = split.scan(&bytes[..end]);
        assert!(
            matches!(part, Ok(Scan::Incomplete { .. })),
            "complete after {end} of {consumed} bytes: {part:?}"
        );
    }
    assert_eq!(
        split.scan(&bytes[..consumed]),
        Ok(Scan::Complete { consumed })
    );
    assert!(split.arguments(bytes).eq(found));
}

/// A request on functions.
pub(crate) fn command(bytes: &[u8]) {
    let words: Vec<&[u8]> = bytes.split(|&byte| byte == b' ').collect();
    let _ = ferrite_runtime::commands::parse(&words);
    if let Some(spec) = ferrite_runtime::commands::find(words[0])
        && let Ok(keys) = spec.key_positions(&words)
    {
        assert!(keys.end <= words.len());
    }
}

/// A reply that a guest has built.
pub(crate) fn reply(bytes: &[u8]) {
    let bounds = ReplyBounds {
        bytes_max: 1 << 16,
        depth_max: 32,
    };
    let _ = measure(bytes, &bounds);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut once = Encoder::new(protocol);
        once.int(1);
        let before = once.len();
        if transcode(bytes, &bounds, &mut once).is_err() {
            assert_eq!(once.len(), before, "nothing of a wrong reply stays");
            continue;
        }
        let written = &once.bytes()[before..];
        let wider = ReplyBounds {
            bytes_max: usize::MAX,
            depth_max: 33,
        };
        let mut twice = Encoder::new(protocol);
        assert_eq!(transcode(written, &wider, &mut twice), Ok(()));
        assert_eq!(written, twice.bytes());
    }
}

/// The JSON of permissions, and the access policy made from it.
pub(crate) fn permissions(bytes: &[u8]) {
    let Ok(permissions) = Permissions::from_json(bytes) else {
        return;
    };
    let written = permissions.to_json();
    let again = Permissions::from_json(written.as_bytes());
    assert_eq!(again.ok().map(|again| again.to_json()), Some(written));
    let Ok(access_policy) = AccessPolicy::new(&permissions, |_| true) else {
        return;
    };
    for key in [&b""[..], b"user:1", bytes] {
        let visible = access_policy.visible(key);
        for access in Access::ALL {
            let allowed = access_policy.check_key(key, access).is_ok();
            assert!(visible || !allowed, "a key that is hidden was opened");
            assert!(access_policy.may_write() || !access.writes() || !allowed);
        }
    }
}

/// The JSON of limits.
pub(crate) fn limits(bytes: &[u8]) {
    let Ok(settings) = LimitSettings::from_json(bytes) else {
        return;
    };
    let Ok(limits) = Limits::DEFAULT.for_function(&settings, &Limits::GENEROUS) else {
        return;
    };
    let shown = LimitSettings::from_json(limits.to_json().as_bytes());
    let again =
        shown.and_then(|settings| Limits::DEFAULT.for_function(&settings, &Limits::GENEROUS));
    assert_eq!(again.ok(), Some(limits), "what is shown reads back");
    assert!(limits.memory_bytes_max <= Limits::GENEROUS.memory_bytes_max);
    assert!(limits.time_max <= Limits::GENEROUS.time_max);
    assert!(limits.fuel_max <= Limits::GENEROUS.fuel_max);
}

/// A bundle, its manifest alone, and the manifest of an artifact in the cache.
pub(crate) fn bundle(bytes: &[u8]) {
    let bounds = BundleLimits {
        source_bytes_max: 1 << 16,
        artifact_bytes_max: 1 << 16,
    };
    if let Ok(bundle) = UncheckedBundle::open(bytes, bounds) {
        let _ = bundle.manifest();
        let _ = bundle.into_members();
    }
    if let Ok(manifest) = BundleManifest::from_json(bytes) {
        let written = manifest.to_json();
        let again = BundleManifest::from_json(&written);
        assert_eq!(again.ok().map(|again| again.to_json()), Some(written));
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        let written = manifest.encode();
        assert!(written.is_ok_and(|written| Manifest::decode(&written).is_ok()));
    }
}

/// Messages between the server and the compile worker.
pub(crate) fn worker_protocol(mut bytes: &[u8]) {
    let _ = read_request(&mut { bytes }, 1 << 16);
    let bounds = ResponseLimits {
        source_bytes_max: 1 << 16,
        artifact_bytes_max: 1 << 16,
    };
    let _ = read_response(&mut bytes, &bounds, &[]);
}

/// A module: validated, and rewritten into another valid one.
pub(crate) fn module(bytes: &[u8]) {
    let bounds = SourceLimits::default();
    let Ok(info) = ferrite_compiler::validate(bytes, &bounds) else {
        return;
    };
    let rewritten = rewrite(bytes).expect("a valid module can be rewritten");
    let again = rewritten.wasm;
    let valid = wasmparser::validate(&again).map(drop);
    assert!(valid.is_ok(), "{valid:?}");
    drop(info);
}

/// A component: flattened into a module, which is validated as any other one, or refused.
pub(crate) fn component(bytes: &[u8]) {
    let bounds = SourceLimits::default();
    if let Ok(flat) = ferrite_compiler::flatten::flatten(bytes, &bounds) {
        module(&flat);
    }
}

/// A pattern, a zero byte, and a text: matched as Redis does, in a bounded number of steps.
pub(crate) fn glob(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let pattern = parts.next().unwrap_or_default();
    let text = parts.next().unwrap_or_default();
    let matched = matches(pattern, text);
    assert_eq!(matched, matches_slowly(pattern, text));
    if let Ok(glob) = Glob::parse(pattern) {
        assert_eq!(glob.matches(text), matched);
    }
    let steps = Matcher::new(pattern).steps_max(text.len());
    let bound = 64 * (pattern.len() as u64 + 1) * (text.len() as u64 + 1);
    assert!(steps <= bound, "{steps} steps of {bound}");
}

/// Matches as Redis describes it, with a table of all pairs of positions.
fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // No star matches the empty text, except where it is the whole pattern.
        return pattern.is_empty() || pattern == b"*";
    }
    // The rests of the text that the pattern so far may leave.
    let mut rests = vec![false; text.len() + 1];
    rests[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let (next, accepts): (usize, Box<dyn Fn(u8) -> bool>) = match pattern[at] {
            b'*' => {
                let from = rests.iter().position(|rest| *rest).unwrap_or(rests.len());
                rests[from..].fill(true);
                at += 1;
                continue;
            }
            b'?' => (at + 1, Box::new(|_| true)),
            b'[' => class(pattern, at + 1),
            b'\\' if at + 1 < pattern.len() => {
                let byte = pattern[at + 1];
                (at + 2, Box::new(move |other| other == byte))
            }
            byte => (at + 1, Box::new(move |other| other == byte)),
        };
        for end in (0..text.len()).rev() {
            rests[end + 1] = rests[end] && accepts(text[end]);
        }
        rests[0] = false;
        at = next;
    }
    rests[text.len()]
}

/// Reads a class of characters; returns where the pattern goes on, and what it accepts.
fn class(pattern: &[u8], mut at: usize) -> (usize, Box<dyn Fn(u8) -> bool>) {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut accepted = [false; 256];
    while at < pattern.len() && pattern[at] != b']' {
        match pattern[at..] {
            [b'\\', byte, ..] => {
                accepted[usize::from(byte)] = true;
                at += 2;
            }
            [one, b'-', other, ..] => {
                let (low, high) = (one.min(other), one.max(other));
                accepted[usize::from(low)..=usize::from(high)].fill(true);
                at += 3;
            }
            _ => {
                accepted[usize::from(pattern[at])] = true;
                at += 1;
            }
        }
    }
    let accepts = move |byte: u8| accepted[usize::from(byte)] != negated;
    (at + 1, Box::new(accepts))
}

/// The manifest of an artifact in the cache.
pub(crate) fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        let written = manifest.encode();
        assert!(written.is_ok_and(|written| written == bytes));
    }
}

/// A module's declarations: they read back from the lines that show them, and a host refuses them or not.
pub(crate) fn automation(bytes: &[u8]) {
    let Ok(automation) = Automation::read(bytes) else {
        return;
    };
    let lines: String = automation.lines().map(|line| line + "\n").collect();
    assert_eq!(Automation::read(lines.as_bytes()), Ok(automation.clone()));
    let _ = ferrite_runtime::automation::declared::check(&automation);
}

/// An image, whole or over a base of zeros: it fills a memory of its size, or is refused.
pub(crate) fn image(bytes: &[u8]) {
    /// Pages of the largest memory that is made here.
    const PAGES_MAX: u32 = 16;
    let Ok(image) = Image::decode(bytes, bytes.len() as u64) else {
        return;
    };
    let contents = &bytes[image.contents_start()..];
    let before = vec![0; (image.memory_pages.min(PAGES_MAX) << 16) as usize];
    let mut memory = before.clone();
    let filled = image.fill(contents, Some(&[]), &mut memory);
    if image.memory_pages > PAGES_MAX {
        return;
    }
    assert!(image.over_base || filled.is_ok(), "{filled:?}");
    if filled.is_ok() {
        let again = patches::between(&before, &memory);
        let mut other = before;
        assert_eq!(patches::apply(&again, &mut other), Ok(()));
        assert!(other == memory, "patches lead to what they were made of");
    }
}

/// A configuration file: refused with a reason, or one that reads back as the same.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(Path::new("ferrite.toml"), text) {
        Ok(config) => {
            let written = config.to_toml();
            let again = Config::parse(Path::new("ferrite.toml"), &written);
            assert_eq!(again.map(|again| again.to_toml()).ok(), Some(written));
            let mut config = config;
            config.server.acl_file = None;
            let _ = ferrite_server::check_users(&config);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A file of users with their rules: taken, or refused with a reason.
pub(crate) fn users(bytes: &[u8]) {
    thread_local! {
        static FILE: tempfile::NamedTempFile = tempfile::NamedTempFile::new().expect("a temporary file");
    }
    FILE.with(|file| {
        std::fs::write(file.path(), bytes).expect("it can be written");
        let mut config = Config::default();
        config.server.acl_file = Some(file.path().to_owned());
        if let Err(error) = ferrite_server::check_users(&config) {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// A value as servers exchange it, its footer made right: restored in memory and dumped, twice with the same bytes.
pub(crate) fn dump(content: &[u8]) {
    thread_local! {
        static STORE: Store = Store::in_memory(&StoreOptions::default());
    }
    let payload = sealed(content);
    STORE.with(|store| {
        let mut session = Session::new();
        let mut run = |words: &[&[u8]]| {
            let mut reply = Encoder::new(Protocol::Resp2);
            let _ = store.execute(&mut session, words, &mut reply);
            reply.bytes().to_vec()
        };
        run(&[b"DEL", b"one", b"two"]);
        if run(&[b"RESTORE", b"one", b"0", &payload]) != b"+OK\r\n" {
            return;
        }
        let written = run(&[b"DUMP", b"one"]);
        let from = written.iter().position(|&byte| byte == b'\n');
        let bytes = from.and_then(|at| written.get(at + 1..written.len().saturating_sub(2)));
        let bytes = bytes.expect("a key that is there has a dump");
        assert_eq!(run(&[b"RESTORE", b"two", b"0", bytes]), b"+OK\r\n");
        assert!(run(&[b"DUMP", b"two"]) == written, "it is dumped as before");
    });
}

/// Appends a version and the checksum of both: the CRC of 64 bits that Redis has, bit by bit.
pub(crate) fn sealed(content: &[u8]) -> Vec<u8> {
    /// The polynomial, its lowest bit first.
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    let mut payload = content.to_vec();
    payload.extend(80_u16.to_le_bytes());
    let mut checksum = 0_u64;
    for &byte in &payload {
        checksum ^= u64::from(byte);
        for _ in 0..8 {
            let low = checksum & 1;
            checksum = (checksum >> 1) ^ (POLYNOMIAL * low);
        }
    }
    payload.extend(checksum.to_le_bytes());
    payload
}
