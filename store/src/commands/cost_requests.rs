//! Every command with its worst arguments, for tests of what commands cost.

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

/// The lines of the table with their arguments.
pub(crate) fn requests() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let lines = REQUESTS.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| (line, arguments(line)))
        .collect()
}
