//! Every command with its worst arguments: what it charges, against what it does.
//!
//! The table has to name each command of the store, so a new one cannot be forgotten. Its steps are
//! counted where values are read and changed, beside what the command charges.

use std::cell::Cell;
use std::collections::BTreeSet;

use ferrite_protocol::budget::{self, Bounds, Budget, Exceeded};
use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::resp::{Encoder, Protocol};

use crate::api::session::Session;
use crate::api::store::Store;
use crate::commands::table;
use crate::execution::direct::Direct;
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::View as _;
use crate::options::StoreOptions;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::list::List;
use crate::value::steps;
use crate::value::zset::Zset;
use crate::value::{Hash, Set, Value};

/// Requests, by command. `#name` is a key of the data below, `?` stands for 300 bytes, `%` for 200
/// of them, and `word*n` for `n` words; commas divide the words of a repeated group.
const REQUESTS: &str = "
    lcs #text #text
    lcs #words #words IDX WITHMATCHLEN
    setbit new 4000000000 1
    setbit #text 4000000000 1
    getbit #text 100
    bitcount #text
    bitcount #text 3 -3 BIT
    bitpos #zeros 1
    bitpos #zeros 1 3 -3 BIT
    bitop AND new #text*200
    bitop NOT new #text
    bitfield #text GET,i64,#0*300
    bitfield #text INCRBY,i64,100,1*200
    bitfield new SET u8 4000000000 1
    bitfield_ro #text GET i64 100000
    dump #list
    dump #text
    restore new 0 ?
    geoadd #zset 1,1,?*200
    geodist #zset element:1 element:2
    geohash #zset element:1*2000
    geopos #zset element:1*2000
    georadius #zset 0 0 20000 km WITHDIST
    georadius_ro #zset 0 0 20000 km
    georadiusbymember #zset element:1 20000 km
    georadiusbymember_ro #zset element:1 20000 km
    geosearch #zset FROMLONLAT 0 0 BYRADIUS 20000 km
    geosearchstore new #zset FROMLONLAT 0 0 BYRADIUS 20000 km
    hexpire #hash 100 FIELDS 2000 #field*2000
    hpexpire #hash 100000 FIELDS 2000 #field*2000
    hexpireat #hash 100000000000 FIELDS 2000 #field*2000
    hpexpireat #hash 100000000000000 FIELDS 2000 #field*2000
    hexpiretime #hash FIELDS 2000 #field*2000
    hpexpiretime #hash FIELDS 2000 #field*2000
    httl #hash FIELDS 2000 #field*2000
    hpttl #hash FIELDS 2000 #field*2000
    hpersist #hash FIELDS 2000 #field*2000
    hgetex #hash EX 100 FIELDS 2000 #field*2000
    hsetex #hash EX 100 FIELDS 200 ?*400
    pfadd new ?*300
    pfcount none*300
    pfmerge new none*300
    get #text
    set #text ?
    set new ? GET EX 100
    setnx new ?
    setex new 100 ?
    psetex new 100 ?
    getset #text ?
    getdel #text
    getex #text EX 100
    mget #text*2000
    mget none*2000
    mset #pairs*400
    msetnx new*400
    msetex 200 new*400 EX 100
    delifeq #text ?
    strlen #text
    append #text ?
    append #grown ?
    setrange new 400000000 x
    setrange #text 400000000 x
    getrange #text 0 -1
    substr #text 0 -1
    incr #text
    decr #text
    incrby new 5
    decrby new 5
    incrbyfloat new 1e4932
    incrbyfloat new 1e-4950
    zunion 2 #zset #zset2
    zunion 200 #zset*200
    zinter 2 #zset #zset
    zdiff 2 #zset #zset2 WITHSCORES
    zunionstore new 2 #zset #zset2
    zinterstore new 2 #zset #zset
    zdiffstore new 2 #zset #zset2
    zintercard 2 #zset #zset
    zrange #zset 0 -1 WITHSCORES
    zrange #equal - + BYLEX REV LIMIT 0 100000
    zrangestore new #zset 0 -1
    zrevrange #zset 0 -1
    zrangebyscore #zset -inf +inf
    zrevrangebyscore #zset +inf -inf WITHSCORES
    zrangebylex #equal - +
    zrevrangebylex #equal + -
    zcount #zset -inf +inf
    zlexcount #equal - +
    zremrangebyrank #zset 0 -1
    zremrangebyscore #zset -inf +inf
    zremrangebylex #equal - +
    zadd #zset 1 ?
    zadd new 1 ?
    zincrby #equal 1 ?
    zrem #equal ?*200
    zscore #zset ?
    zmscore #zset ?*2000
    zcard #zset
    zrank #equal ?
    zrevrank #equal ?
    zpopmin #zset 1000000
    zpopmax #zset 1000000
    zmpop 200 none*199 #zset MAX COUNT 1000000
    zrandmember #zset -16777216
    zrandmember #zset 16777216 WITHSCORES
    zscan #zset 0 MATCH *[ab]*?b COUNT 1000000000
    hset #hash ?*400
    hmset #hash ?*400
    hsetnx #hash ? ?
    hget #hash ?
    hmget #hash #field*2000
    hgetall #hash
    hkeys #hash
    hvals #hash
    hlen #hash
    hexists #hash ?
    hstrlen #hash ?
    hdel #hash ?*2000
    hgetdel #hash FIELDS 2000 #field*2000
    hincrby new f 5
    hincrbyfloat new f 1e4932
    hrandfield #hash -16777216
    hrandfield #hash 16777216 WITHVALUES
    hscan #hash 0 MATCH *[ab]*?b COUNT 1000000000
    lpos #list ? COUNT 0 RANK -1
    lpos #wide ? COUNT 0
    lpush #list ?*300
    rpush #list ?*300
    lpushx #list ?*300
    rpushx #list ?*300
    lpop #list 1000000
    rpop #list 1000000
    llen #list
    lindex #list -50000
    lset #list 25000 ?
    lrange #list 0 -1
    lrange #wide 0 -1
    ltrim #list 25000 25001
    ltrim #list 1 -1
    lrem #list 0 none
    lrem #same -1000000 x
    linsert #list AFTER none ?
    lmove #wide new LEFT RIGHT
    rpoplpush #wide new
    lmpop 200 none*199 #list LEFT COUNT 1000000
    sinter #set #set
    sunion #set #set2
    sunion #set*200
    sdiff #set #set2
    sinterstore new #set #set
    sunionstore new #set #set2
    sdiffstore new #set #set2
    sintercard 2 #set #set
    sadd #set ?*300
    srem #set ?*300
    smembers #set
    sismember #set ?
    smismember #set ?*2000
    scard #set
    spop #set 1000000
    srandmember #one -16777216
    srandmember #set 16777216
    smove #wideset new %
    sscan #set 0 MATCH *[ab]*?b COUNT 1000000000
    object ENCODING #list
    sort #list ALPHA
    sort #list BY k:* GET k:* GET # STORE new
    sort #wide ALPHA DESC
    sort #same
    sort_ro #zset BY k:* ALPHA GET k:*
    del #list #set #hash #zset #text
    unlink #list #set #hash #zset #text
    exists #text*2000
    touch #text*2000
    type #text
    keys *[ab]*?b
    keys *
    scan 0 MATCH *[ab]*?b COUNT 1000000000
    dbsize
    randomkey
    rename #list new
    rename #text new
    renamenx #set new
    copy #hash new REPLACE
    copy #text new
    move #zset 1
    swapdb 0 1
    flushdb
    flushall
    expire #text 100
    pexpire #text 100000
    expireat #text 100000000000
    pexpireat #text 100000000000000
    ttl #text
    pttl #text
    expiretime #text
    pexpiretime #text
    persist #text
    blpop none*300 #list 0
    brpop none*300 #list 0
    blmove #wide new LEFT RIGHT 0
    brpoplpush #wide new 0
    blmpop 0 200 none*199 #list LEFT COUNT 1000000
    bzpopmin none*300 #zset 0
    bzpopmax none*300 #zset 0
    bzmpop 0 200 none*199 #zset MIN COUNT 1000000
";

/// Elements of the large collections.
const LEN: usize = 8_000;
/// Bytes of the long string.
const TEXT_BYTES: usize = 4 << 20;

fn name(at: usize) -> Vec<u8> {
    format!("element:{at}").into_bytes()
}

/// A member that agrees with the others of its kind for a long way.
fn alike(at: usize) -> Vec<u8> {
    let mut member = vec![b'a'; 300];
    member.extend(at.to_be_bytes());
    member
}

/// Keys of every type with much in them, and many small keys.
fn data() -> Store {
    let store = Store::in_memory(&StoreOptions::default());
    let list = |elements: &mut dyn Iterator<Item = Vec<u8>>| -> List {
        elements.map(|element| Blob::new(&element)).collect()
    };
    let set = |from: usize| {
        let mut set = Set::default();
        for at in from..from + LEN {
            set.insert(&name(at), ());
        }
        set
    };
    let zset = |from: usize| {
        let mut zset = Zset::default();
        for at in from..from + LEN {
            zset.insert(&name(at), at as f64 + 0.1);
        }
        zset
    };
    let mut hash = Hash::default();
    for at in 0..LEN {
        hash.insert(&name(at), Blob::new(&name(at)));
    }
    hash.insert(b"#field", Blob::new(&[b'v'; 20_000]));
    let mut equal = Zset::default();
    for at in 0..2_000 {
        equal.insert(&alike(at), 0.0);
    }
    let mut one = Set::default();
    one.insert(&[b'm'; 200], ());
    let mut wideset = Set::default();
    wideset.insert(&[b'a'; 200], ());
    let mut grown = crate::value::text::Text::default();
    grown.bytes_mut().resize(TEXT_BYTES, b'g');
    let values: [(&str, Value); 17] = [
        ("#text", Value::text(&vec![b'a'; TEXT_BYTES])),
        ("#words", Value::text(&b"ab".repeat(1_000))),
        ("#zeros", Value::text(&vec![0; TEXT_BYTES])),
        ("#grown", grown.into()),
        ("#list", list(&mut (0..LEN).map(name)).into()),
        (
            "#wide",
            list(&mut (0..500).map(|_| vec![b'a'; 20_000])).into(),
        ),
        ("#same", list(&mut (0..LEN).map(|_| b"x".to_vec())).into()),
        ("#set", set(0).into()),
        ("#set2", set(LEN / 2).into()),
        ("#wideset", wideset.into()),
        ("#one", one.into()),
        ("#zset", zset(0).into()),
        ("#zset2", zset(LEN / 2).into()),
        ("#equal", equal.into()),
        ("#hash", hash.into()),
        ("k:x", Value::text(&vec![b'k'; 10_000])),
        ("aaaab", Value::text(b"")),
    ];
    let mut direct = Direct::new(&store.core, LockedShards::all(&store.core), 0);
    for (key, value) in values {
        direct
            .put(key.as_bytes(), value, Deadline::NEVER)
            .expect("all shards are locked");
    }
    for at in 0..LEN {
        direct
            .put(&name(at), Value::text(b"v"), Deadline::NEVER)
            .expect("all shards are locked");
    }
    direct.finish();
    store
}

/// The arguments of a line of the table.
fn arguments(line: &str) -> Vec<Vec<u8>> {
    let mut argv = Vec::new();
    for word in line.split_whitespace() {
        let (word, times) = match word.rsplit_once('*') {
            Some((word, times)) if !word.is_empty() && times.parse::<usize>().is_ok() => {
                (word, times.parse().unwrap_or(1))
            }
            _ => (word, 1),
        };
        for _ in 0..times {
            argv.extend(word.split(',').map(|word| match word {
                "?" => vec![b'a'; 300],
                "%" => vec![b'a'; 200],
                word => word.as_bytes().to_vec(),
            }));
        }
    }
    argv
}

struct Ran {
    result: Result<(), Exceeded>,
    /// Units that the command charged, and those for its name and arguments.
    charged: u64,
    written: u64,
    steps: u64,
    reply: Vec<u8>,
    transaction: crate::transaction::Transaction,
}

fn run(store: &Store, argv: &[Vec<u8>], bounds: Bounds, must_stop: &dyn Fn() -> bool) -> Ran {
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let mut transaction = store.begin(0, Mode::Write);
    let mut reply = Encoder::new(Protocol::Resp2);
    let budget = Budget::new(bounds, must_stop);
    steps::take();
    let result = transaction.call(&argv, &|_| true, &budget, &mut reply);
    let steps = steps::take();
    let argument_bytes: usize = argv.iter().map(|argument| argument.len()).sum();
    Ran {
        result,
        charged: budget.work()
            + budget::COMMAND
            + 20 * argv.len() as u64
            + budget::bytes(argument_bytes as u64),
        written: budget.written() + argument_bytes as u64,
        steps,
        reply: reply.take(),
        transaction,
    }
}

/// Bytes of all keys and values of two databases.
fn bytes_of(store: &Store) -> u64 {
    let mut bytes = 0;
    let mut direct = Direct::new(&store.core, LockedShards::all(&store.core), 0);
    for database in 0..2 {
        direct.select(database);
        let mut add = |key: &Blob, value: &Value| {
            bytes += key.len() as u64;
            let summed: Result<(), ()> = value.each_part(|len| {
                bytes += len as u64;
                Ok(())
            });
            assert_eq!(summed, Ok(()));
        };
        direct
            .scan(0, usize::MAX, &mut add)
            .expect("all shards are locked");
    }
    bytes
}

const BOUNDS: Bounds = Bounds {
    work_max: 50_000_000,
    written_bytes_max: 10_000,
    reply_bytes_max: 100_000,
};

fn requests() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let lines = REQUESTS.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| (line, arguments(line)))
        .collect()
}

#[test]
fn the_table_has_every_command_and_no_other() {
    let known: BTreeSet<&str> = table::specs().map(|spec| spec.name).collect();
    let listed: BTreeSet<&str> = REQUESTS
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        listed, known,
        "give each command a request with its worst arguments"
    );
}

#[test]
fn no_command_does_more_than_it_charges_for() {
    let store = data();
    for (line, argv) in requests() {
        let ran = run(&store, &argv, BOUNDS, &|| false);
        assert!(
            ran.steps <= ran.charged,
            "{line}: {} steps for {} units",
            ran.steps,
            ran.charged
        );
        assert!(ran.reply.len() <= BOUNDS.reply_bytes_max + 100, "{line}");
        assert!(
            ran.reply.len() as u64 <= 8 * ran.charged,
            "{line}: {} bytes for {} units",
            ran.reply.len(),
            ran.charged
        );
        assert_eq!(ran.result.is_err(), ran.reply.is_empty(), "{line}");
    }
}

#[test]
fn every_command_soon_notices_that_its_call_is_to_end() {
    /// Steps between two checks: a slice, and one piece of work that is paid at once.
    const STEPS_MAX: u64 = 2 * budget::SLICE;
    let store = data();
    let mut noticed = 0;
    for (line, argv) in requests() {
        let asked = Cell::new(0_u32);
        let must_stop = || {
            asked.set(asked.get() + 1);
            true
        };
        let ran = run(&store, &argv, BOUNDS, &must_stop);
        let stopped = ran.result == Err(Exceeded::Stopped);
        assert_eq!(stopped, asked.get() > 0, "{line}");
        assert!(asked.get() <= 1, "{line}: it went on");
        assert!(ran.steps <= STEPS_MAX, "{line}: {} steps", ran.steps);
        noticed += u32::from(stopped);
    }
    assert!(noticed > 40, "only {noticed} requests were long enough");
}

#[test]
fn no_command_writes_more_than_it_counts() {
    let mut store = data();
    let mut before = bytes_of(&store);
    for (line, argv) in requests() {
        let ran = run(&store, &argv, BOUNDS, &|| false);
        match ran.result {
            Ok(()) => {
                let _receipt = ran.transaction.commit().expect("nobody else writes");
                let after = bytes_of(&store);
                // A score takes eight bytes, however short its text is.
                let scores = 8 * argv.len() as u64;
                assert!(
                    after.saturating_sub(before) <= ran.written + scores,
                    "{line}: {} bytes more, {} counted",
                    after.saturating_sub(before),
                    ran.written
                );
                if after < before {
                    // What is gone would be missed by the next requests.
                    store = data();
                    before = bytes_of(&store);
                } else {
                    let mut out = Encoder::new(Protocol::Resp2);
                    let new: &[&[u8]] = &[b"DEL", b"new"];
                    let _ = store.execute(&mut Session::new(), new, &mut out);
                    before = bytes_of(&store);
                }
            }
            Err(_) => drop(ran.transaction),
        }
    }
}
