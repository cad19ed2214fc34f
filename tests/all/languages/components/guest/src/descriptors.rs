//! Files by `wasi:filesystem` itself.

use std::fmt::Debug;

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
    filesystem_error_code,
};
use wasip2::io::streams::StreamError;

/// Runs what the first word says; returns what was seen.
pub(crate) fn run(what: &[&str]) -> Vec<String> {
    match what {
        ["directories"] => get_directories()
            .into_iter()
            .map(|(directory, name)| format!("{name} {:?}", directory.get_flags()))
            .collect(),
        ["reading"] => reading(),
        ["writing"] => writing(),
        ["facts"] => facts(),
        ["listing"] => listing(),
        ["refused"] => refused(),
        other => vec![format!("unknown: {other:?}")],
    }
}

fn directory(wanted: &str) -> Descriptor {
    let mut all = get_directories().into_iter();
    let found = all.find(|(_, name)| name == wanted);
    found.expect("it is there").0
}

fn open(base: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    let follow = PathFlags::SYMLINK_FOLLOW;
    base.open_at(follow, path, OpenFlags::empty(), DescriptorFlags::READ)
}

fn create(base: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    base.open_at(PathFlags::empty(), path, OpenFlags::CREATE, flags)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shown<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error:?}"),
    }
}

/// Shows the error of a stream, with that of the file.
fn stream_error(error: &StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => format!(
            "{} {:?} {}",
            error.to_debug_string(),
            filesystem_error_code(error),
            wasip2::http::types::http_error_code(error).is_none()
        ),
    }
}

/// Reads the first 12 bytes of a file that has `0123456789` in it.
fn reading() -> Vec<String> {
    let tables = directory("/tables");
    let file = open(&tables, "digits").expect("it can be read");
    let mut seen = Vec::new();
    for (len, offset) in [(4, 0), (4, 3), (100, 8), (5, 10), (5, u64::MAX), (0, 0)] {
        let read = file.read(len, offset);
        seen.push(shown(read.map(|(bytes, ended)| (text(&bytes), ended))));
    }
    let stream = file.read_via_stream(2).expect("it is a file");
    // The stream keeps the file open.
    drop(file);
    stream.subscribe().block();
    let read = |len| match stream.read(len) {
        Ok(bytes) => text(&bytes),
        Err(error) => stream_error(&error),
    };
    seen.push(read(3));
    seen.push(shown(stream.skip(2)));
    seen.push(read(0));
    seen.push(read(100));
    seen.push(read(1));
    seen.push(match stream.blocking_skip(1) {
        Ok(skipped) => skipped.to_string(),
        Err(error) => stream_error(&error),
    });
    seen
}

fn writing() -> Vec<String> {
    let tmp = directory("/tmp");
    let file = create(&tmp, "f").expect("there is room");
    let whole = || shown(file.read(100, 0).map(|(bytes, _)| text(&bytes)));
    let mut seen = vec![shown(file.write(b"0123456789", 0)), whole()];
    seen.push(shown(file.write(b"x", 12)));
    seen.push(whole());
    seen.push(shown(file.set_size(5)));
    // Two streams at once: one at its own place, one always at the end.
    let at = file.write_via_stream(1).expect("it can be written");
    let end = file.append_via_stream().expect("it can be written");
    seen.push(shown(at.check_write()));
    for number in 0..3 {
        at.write(format!("a{number}").as_bytes()).expect("room");
        end.blocking_write_and_flush(format!("e{number}").as_bytes())
            .expect("room");
    }
    seen.push(whole());
    end.blocking_write_zeroes_and_flush(2).expect("room");
    let tables = directory("/tables");
    let digits = open(&tables, "digits").expect("it can be read");
    let source = digits.read_via_stream(0).expect("it is a file");
    seen.push(shown(end.blocking_splice(&source, 4)));
    seen.push(shown(at.splice(&source, 100)));
    seen.push(match at.splice(&source, 100) {
        Ok(spliced) => spliced.to_string(),
        Err(error) => stream_error(&error),
    });
    seen.push(whole());
    seen.push(shown(file.sync()));
    seen.push(shown(file.sync_data()));
    at.flush().expect("there is nothing to wait for");
    // There is no room for this, and nothing of it is written.
    let before = file.stat().expect("it is there").size;
    let long = vec![b'x'; 100_000];
    seen.push(shown(file.write(&long, 0)));
    seen.push(match at.write(&long) {
        Ok(()) => "written".to_owned(),
        Err(error) => stream_error(&error),
    });
    seen.push((file.stat().expect("it is there").size == before).to_string());
    // A file without a name is there until all let go of it.
    tmp.unlink_file_at("f").expect("it is there");
    seen.push(shown(file.read(2, 0).map(|(bytes, _)| text(&bytes))));
    seen.push(shown(open(&tmp, "f").map(|_| ())));
    seen
}

fn facts() -> Vec<String> {
    let (tables, tmp) = (directory("/tables"), directory("/tmp"));
    let digits = open(&tables, "digits").expect("it can be read");
    let stat = digits.stat().expect("it is open");
    let mut seen = vec![format!(
        "{:?} {} {} {}",
        stat.type_,
        stat.size,
        stat.link_count,
        stat.data_modification_timestamp
            .is_some_and(|time| time.seconds > 1_600_000_000)
    )];
    let at = tables.stat_at(PathFlags::empty(), "digits");
    seen.push(at.is_ok_and(|at| at.size == stat.size).to_string());
    seen.push(shown(digits.get_type()));
    seen.push(shown(digits.get_flags()));
    seen.push(shown(tables.get_type()));
    let made = create(&tmp, "f").expect("there is room");
    seen.push(shown(made.get_flags()));
    seen.push(shown(
        made.stat()
            .map(|stat| stat.data_modification_timestamp.is_none()),
    ));
    let again = open(&tables, "digits").expect("it can be read");
    seen.push(
        [
            digits.is_same_object(&again),
            digits.is_same_object(&tables),
            digits.is_same_object(&made),
            tables.is_same_object(&directory("/tables")),
        ]
        .map(|same| same.to_string())
        .join(" "),
    );
    let hash = |of: &Descriptor| {
        let hash = of.metadata_hash().expect("it is open");
        (hash.lower, hash.upper)
    };
    let at = tables.metadata_hash_at(PathFlags::empty(), "digits");
    seen.push(
        [
            hash(&digits) == hash(&again),
            at.is_ok_and(|at| (at.lower, at.upper) == hash(&digits)),
            hash(&digits) == hash(&tables),
            hash(&tmp) == hash(&directory("/cache")),
        ]
        .map(|same| same.to_string())
        .join(" "),
    );
    let before = hash(&made);
    made.write(b"x", 0).expect("there is room");
    seen.push((before == hash(&made)).to_string());
    seen
}

/// More names than come at once, and long ones.
fn listing() -> Vec<String> {
    let tmp = directory("/tmp");
    let mut expected = Vec::new();
    for number in 0..60 {
        let name = format!("{number:02}{}", "n".repeat(number * 4));
        create(&tmp, &name).expect("there is room");
        expected.push(name);
    }
    tmp.create_directory_at("zz").expect("there is room");
    let one = tmp.read_directory().expect("it is a directory");
    let other = tmp.read_directory().expect("it is a directory");
    let mut found = Vec::new();
    let mut kinds = Vec::new();
    while let Some(entry) = one.read_directory_entry().expect("it is there") {
        let also = other.read_directory_entry().expect("it is there");
        assert_eq!(also.map(|also| also.name), Some(entry.name.clone()));
        kinds.push(format!("{:?}", entry.type_));
        found.push(entry.name);
    }
    kinds.dedup();
    let after = one.read_directory_entry();
    let last = found.pop();
    let mut seen = vec![(found == expected).to_string(), format!("{last:?}")];
    seen.push(format!("{:?}", after.map(|entry| entry.is_none())));
    seen.extend(kinds);
    let file = open(&tmp, "00").expect("it is there");
    seen.push(shown(file.read_directory().map(|_| ())));
    // A name that is no text, on the disk.
    let tables = directory("/tables");
    let names = open(&tables, "names").expect("it is there");
    let listed = names.read_directory().expect("it is a directory");
    loop {
        match listed.read_directory_entry() {
            Ok(None) => break,
            Ok(Some(entry)) => seen.push(entry.name),
            Err(error) => seen.push(format!("{error:?}")),
        }
    }
    seen
}

/// What cannot be done, or not there.
fn refused() -> Vec<String> {
    let (tables, tmp) = (directory("/tables"), directory("/tmp"));
    let digits = open(&tables, "digits").expect("it can be read");
    let made = create(&tmp, "f").expect("there is room");
    let only_read = open(&tmp, "f").expect("it is there");
    let now = || (NewTimestamp::Now, NewTimestamp::NoChange);
    let mut seen = Vec::new();
    let mut note = |what: &str, outcome: String| seen.push(format!("{what}: {outcome}"));
    for path in [
        "../secret",
        "/etc/passwd",
        "out",
        "loop",
        "none",
        "",
        "a\0b",
        "digits/x",
    ] {
        note(path, shown(open(&tables, path).map(|_| ())));
    }
    note("in", shown(open(&tables, "in").map(|_| ())));
    note("create", shown(create(&tables, "new").map(|_| ())));
    let writes = tables.open_at(
        PathFlags::empty(),
        "digits",
        OpenFlags::empty(),
        DescriptorFlags::WRITE,
    );
    note("open to write", shown(writes.map(|_| ())));
    note("unlink", shown(tables.unlink_file_at("digits")));
    note("mkdir", shown(tables.create_directory_at("d")));
    note("rmdir", shown(tables.remove_directory_at("names")));
    note("rename", shown(tables.rename_at("digits", &tmp, "d")));
    note(
        "between",
        shown(tmp.rename_at("f", &directory("/cache"), "f")),
    );
    note("write", shown(digits.write(b"x", 0)));
    note("set size", shown(digits.set_size(0)));
    note("stream", shown(digits.write_via_stream(0).map(|_| ())));
    note("append", shown(only_read.append_via_stream().map(|_| ())));
    note("only read", shown(only_read.write(b"x", 0)));
    note("directory", shown(tables.read_via_stream(0).map(|_| ())));
    note("read it", shown(tables.read(1, 0)));
    note(
        "stat",
        shown(tables.stat_at(PathFlags::empty(), "none").map(|_| ())),
    );
    let exclusive = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let again = tmp.open_at(PathFlags::empty(), "f", exclusive, DescriptorFlags::WRITE);
    note("exclusive", shown(again.map(|_| ())));
    let as_directory = tmp.open_at(
        PathFlags::empty(),
        "f",
        OpenFlags::DIRECTORY,
        DescriptorFlags::READ,
    );
    note("as directory", shown(as_directory.map(|_| ())));
    note("long", shown(open(&tmp, &"n".repeat(256)).map(|_| ())));
    note("longer", shown(open(&tmp, &"n/".repeat(2049)).map(|_| ())));
    note(
        "link",
        shown(tmp.link_at(PathFlags::empty(), "f", &tmp, "g")),
    );
    note("symlink", shown(tmp.symlink_at("f", "g")));
    note("readlink", shown(tables.readlink_at("in")));
    note("advise", shown(made.advise(0, 1, Advice::Normal)));
    note("times", shown(made.set_times(now().0, now().1)));
    let times = tmp.set_times_at(PathFlags::empty(), "f", now().0, now().1);
    note("times at", shown(times));
    seen
}
