//! Accepted differences from Valkey, with the reasons. Everything else must be equal.

use std::time::Duration;

use super::reply::Reply;

/// Returns true if two replies to the same command count as equal. Everything that the data follows
/// from was done within `elapsed`: deadlines of the two servers differ by no more.
pub(super) fn equal(argv: &[Vec<u8>], ours: &Reply, theirs: &Reply, elapsed: Duration) -> bool {
    if ours == theirs || same_numbers(ours, theirs) {
        return true;
    }
    let name = argv[0].to_ascii_lowercase();
    let argument = |at: usize| {
        argv.get(at)
            .map(|a| a.to_ascii_lowercase())
            .unwrap_or_default()
    };
    // Valkey reads a cursor with a space before it as 1; Redis and this store refuse it.
    let odd_cursor = |at: usize| argv.get(at).is_some_and(|cursor| cursor.starts_with(b" "));
    if name.ends_with(b"scan") && odd_cursor(if name == b"scan" { 1 } else { 2 }) {
        return ours.is_error();
    }
    let from_start = argument(if name == b"scan" { 1 } else { 2 }) == b"0";
    // Valkey takes a negative offset of LIMIT for a place from the end, but in large sorted sets only.
    let limit = argv
        .iter()
        .position(|word| word.eq_ignore_ascii_case(b"limit"));
    let offset = limit.and_then(|at| argv.get(at + 1));
    if name.starts_with(b"z") && offset.is_some_and(|offset| offset.starts_with(b"-")) {
        return ours.elements().is_empty() && !ours.is_error();
    }
    // Both encode the same registers, in other runs, and Valkey keeps estimates that it made.
    let same_kind = |reply: &Reply| reply.bytes().starts_with(b"HYLL");
    if name.starts_with(b"get") && same_kind(ours) && same_kind(theirs) {
        return true;
    }
    // A HyperLogLog that other commands have damaged is found damaged earlier than in Valkey.
    if name.starts_with(b"pf") && ours.bytes().starts_with(b"INVALIDOBJ") {
        return true;
    }
    match name.as_slice() {
        // The place of a cursor is each server's own.
        b"scan" if argument(1) != b"0" => ours.is_error() == theirs.is_error(),
        // Each server has its own order of unordered collections.
        b"keys" | b"smembers" | b"sinter" | b"sunion" | b"sdiff" | b"hkeys" | b"hvals"
        | b"spop" => ours.sorted(1) == theirs.sorted(1),
        // Places that are not sorted, or equally far, come in any order.
        b"geosearch"
        | b"georadius"
        | b"georadius_ro"
        | b"georadiusbymember"
        | b"georadiusbymember_ro" => {
            let any = argv
                .iter()
                .any(|argument| argument.eq_ignore_ascii_case(b"any"));
            ours.sorted(1) == theirs.sorted(1)
                || (any && ours.elements().len() == theirs.elements().len())
        }
        b"hgetall" => ours.sorted(2) == theirs.sorted(2),
        b"sort" | b"sort_ro" => {
            // SORT without sorting keeps each server's own order, as does ALPHA for equal weights.
            let has = |word: &[u8]| argv.iter().any(|argument| argument == word);
            let by = argv
                .iter()
                .position(|word| word.eq_ignore_ascii_case(b"by"));
            let pattern = by.and_then(|at| argv.get(at + 1));
            // A pattern without a star is one weight for all.
            let constant = pattern.is_some_and(|pattern| !pattern.contains(&b'*'));
            let any_order = constant || (has(b"ALPHA") && has(b"BY"));
            let width = argv
                .iter()
                .filter(|argument| argument.as_slice() == b"GET")
                .count();
            any_order && ours.sorted(width.max(1)) == theirs.sorted(width.max(1))
        }
        b"zscan" if argv.iter().any(|argument| argument == b"NOSCORES") => {
            same_scan(ours, theirs, 1, from_start)
        }
        // Valkey writes the scores of large sorted sets with 17 digits here, and here only.
        b"zscan" => same_scan(
            &with_read_scores(ours),
            &with_read_scores(theirs),
            2,
            from_start,
        ),
        b"hscan" | b"sscan" | b"scan" => {
            let no_values = argv.iter().any(|argument| argument == b"NOVALUES");
            let width = if name != b"hscan" || no_values { 1 } else { 2 };
            same_scan(ours, theirs, width, from_start)
        }
        // Random replies differ each time.
        b"srandmember" | b"hrandfield" | b"zrandmember" => {
            ours.shape().0 == theirs.shape().0
                && (ours.elements().len() == theirs.elements().len())
                && !ours.is_error()
        }
        b"randomkey" => !ours.is_error() && ours.shape().0 == theirs.shape().0,
        // The same value has many forms; `payloads.rs` restores each in the other server.
        b"dump" => ours.shape().0 == theirs.shape().0,
        // Time passes between the commands of the two servers: before a deadline is set, and before it
        // is read.
        b"ttl" | b"pttl" | b"expiretime" | b"pexpiretime" | b"httl" | b"hpttl" | b"hexpiretime"
        | b"hpexpiretime" => {
            let in_millis = name.starts_with(b"p") || name.starts_with(b"hp");
            let millis_max = 2 * elapsed.as_millis() as u64;
            // Seconds are rounded.
            let apart_max = if in_millis {
                millis_max + 1
            } else {
                millis_max / 1_000 + 1
            };
            let number = |reply: &Reply| -> Option<i64> {
                std::str::from_utf8(reply.bytes()).ok()?.parse().ok()
            };
            let close = |ours: &Reply, theirs: &Reply| match (number(ours), number(theirs)) {
                (Some(a), Some(b)) => a == b || (a.abs_diff(b) <= apart_max && a.min(b) >= 0),
                _ => false,
            };
            let (many, others) = (ours.elements(), theirs.elements());
            let each = many.iter().zip(others).all(|(a, b)| close(a, b));
            close(ours, theirs) || (!many.is_empty() && many.len() == others.len() && each)
        }
        // Encodings are reported as Redis would most likely choose them.
        b"object" if argument(1) == b"encoding" => ours.shape().0 == theirs.shape().0,
        // Inside `MULTI`, the queued arguments of Valkey refer to the value too.
        b"object" if argument(1) == b"refcount" => ours.shape().0 == theirs.shape().0,
        _ => false,
    }
}

/// Compares replies of `SCAN` and its like, whose elements are groups of `width`. A reply whose cursor is
/// not 0 has a part of them, which is each server's own choice: where the other one has all, they are
/// among those. One that began in the middle has a part as well: what comes after a cursor is each server's own.
fn same_scan(ours: &Reply, theirs: &Reply, width: usize, from_start: bool) -> bool {
    let ([our_cursor, ours], [their_cursor, theirs]) = (ours.elements(), theirs.elements()) else {
        return false;
    };
    let has_all = |cursor: &Reply| cursor.bytes() == b"0";
    let among = |part: &Reply, all: &Reply| {
        let mut groups = part.elements().chunks(width);
        groups.all(|group| all.elements().chunks(width).any(|other| other == group))
    };
    match (has_all(our_cursor), has_all(their_cursor)) {
        (true, true) if from_start => ours.sorted(width) == theirs.sorted(width),
        (true, true) => among(ours, theirs) || among(theirs, ours),
        (true, false) => among(theirs, ours),
        (false, true) => among(ours, theirs),
        (false, false) => true,
    }
}

/// A reply of `ZSCAN` with each score in the one form that the number has here.
fn with_read_scores(reply: &Reply) -> Reply {
    let [cursor, Reply::Node(mark, found)] = reply.elements() else {
        return reply.clone();
    };
    let read = |score: &Reply| -> Option<Reply> {
        let number: f64 = std::str::from_utf8(score.bytes()).ok()?.parse().ok()?;
        Some(Reply::Leaf(b'$', format!("{number:?}").into_bytes()))
    };
    let pairs = found.chunks(2).flat_map(|pair| match pair {
        [member, score] => vec![member.clone(), read(score).unwrap_or_else(|| score.clone())],
        odd => odd.to_vec(),
    });
    let found = Reply::Node(*mark, pairs.collect());
    Reply::Node(b'*', vec![cursor.clone(), found])
}

/// Returns true if replies differ in nothing but the digits of equal doubles, or the sign of zero. Where
/// two shortest texts are equally near, Valkey takes either; and it keeps -0 in large sorted sets.
fn same_numbers(ours: &Reply, theirs: &Reply) -> bool {
    match (ours, theirs) {
        (Reply::Node(mark, ours), Reply::Node(other, theirs)) => {
            let mut pairs = ours.iter().zip(theirs);
            mark == other
                && ours.len() == theirs.len()
                && pairs.all(|(ours, theirs)| same_numbers(ours, theirs))
        }
        (Reply::Leaf(mark, ours), Reply::Leaf(other, theirs)) => {
            let number = |text: &[u8]| -> Option<f64> {
                let text = std::str::from_utf8(text).ok()?;
                let is_double = text.contains('.') || text == "0" || text == "-0";
                text.parse().ok().filter(|_| is_double)
            };
            let (a, b) = (number(ours), number(theirs));
            mark == other && (ours == theirs || (a.is_some() && a == b))
        }
        _ => false,
    }
}
