//! The grammar of requests: one line for each command.
//!
//! `{name}` is an argument, `[ … ]` is optional, `( … | … )` is one of several, `< … >` comes
//! one to three times, `@ … @` does the same with the count before it.

use std::sync::LazyLock;

/// A piece of a request.
#[derive(Debug)]
pub(super) enum Part {
    Word(&'static str),
    Slot(&'static str),
    Optional(Vec<Part>),
    Choice(Vec<Vec<Part>>),
    Repeated(Vec<Part>),
    Counted(Vec<Part>),
}

const GRAMMAR: &str = "
GET {key}
SET {key} {value} [ ( NX | XX ) ] [ GET ] [ ( EX {seconds} | PX {millis} | EXAT {at} | PXAT {at-millis} | KEEPTTL ) ]
SET {key} {value} [ IFEQ {value} ] [ ( NX | XX | GET ) ] [ GET ] [ ( EX {seconds} | KEEPTTL ) ]
SET {key} {value} GET IFEQ {value}
DELIFEQ {key} {value}
MSETEX 1 {key} {value} [ ( NX | XX ) ] [ ( EX {seconds} | PX {millis} | EXAT {at} | PXAT {at-millis} | KEEPTTL ) ]
MSETEX 2 {key} {value} {key} {value} [ ( NX | XX | GET ) ] [ ( EX {seconds} | KEEPTTL ) ]
MSETEX {int} {key} {value} {key} {value} [ EX {seconds} ]
LCS {key} {key} [ ( LEN | IDX | foo ) ] [ MINMATCHLEN {small} ] [ WITHMATCHLEN ]
LCS {key} {key} IDX [ WITHMATCHLEN ]
SET {key} {value}
SET {key} {small}
SET {key} {float}
SETNX {key} {value}
SETEX {key} {seconds} {value}
PSETEX {key} {millis} {value}
GETSET {key} {value}
GETDEL {key}
GETEX {key} [ ( EX {seconds} | PX {millis} | EXAT {at} | PXAT {at-millis} | PERSIST ) ]
MGET < {key} >
MSET < {key} {value} >
MSETNX < {key} {value} >
STRLEN {key}
APPEND {key} {value}
SETRANGE {key} {small} {value}
GETRANGE {key} {small} {small}
GETRANGE {key} {int} {int}
SUBSTR {key} {small} {small}
INCR {key}
DECR {key}
INCRBY {key} {int}
DECRBY {key} {int}
INCRBYFLOAT {key} {float}
SETBIT {key} {bit} ( 0 | 1 | 2 )
GETBIT {key} {bit}
BITCOUNT {key} {small}
BITCOUNT {key} [ {small} {small} [ ( BIT | BYTE | foo ) ] ]
BITPOS {key} ( 0 | 1 | 2 | x ) [ {small} ]
BITPOS {key} ( 0 | 1 ) {small} {small} [ ( BIT | BYTE | foo ) ]
BITPOS {key} ( 0 | 1 ) {int} {int} [ ( BIT | BYTE | foo ) ]
BITOP ( AND | OR | XOR | NOT | foo ) {key} < {key} >
BITOP NOT {key} {key}
BITFIELD {key} [ OVERFLOW ( WRAP | SAT | FAIL | foo ) ] ( GET {width} {place} | SET {width} {place} {int} | INCRBY {width} {place} {int} )
BITFIELD {key} SET {width} {place} {int} INCRBY {width} {place} {int} OVERFLOW SAT INCRBY {width} {place} {int} GET {width} {place}
BITFIELD {key} OVERFLOW FAIL INCRBY {width} {place} {int} SET {width} {place} {small}
BITFIELD {key}
BITFIELD_RO {key} ( GET {width} {place} | SET {width} {place} 1 )
DEL < {key} >
UNLINK < {key} >
EXISTS < {key} >
TOUCH < {key} >
TYPE {key}
KEYS {pattern}
DBSIZE
RANDOMKEY
RENAME {key} {key}
RENAMENX {key} {key}
COPY {key} {key} [ DB {db} ] [ REPLACE ]
MOVE {key} {db}
SWAPDB {db} {db}
OBJECT ( ENCODING | REFCOUNT ) {key}
OBJECT ( HELP | FREQ {key} | nosuch {key} | ENCODING )
EXPIRE {key} {seconds} [ ( NX | XX | GT | LT ) ] [ ( NX | XX | GT | LT ) ]
PEXPIRE {key} {millis} [ ( NX | XX | GT | LT ) ]
EXPIREAT {key} {at} [ ( NX | XX | GT | LT ) ]
PEXPIREAT {key} {at-millis} [ ( NX | XX | GT | LT | FOO ) ]
TTL {key}
PTTL {key}
EXPIRETIME {key}
PEXPIRETIME {key}
PERSIST {key}
HSET {key} < {member} {value} >
HSET {key} < {member} {small} >
HMSET {key} < {member} {value} >
HSETNX {key} {member} {value}
HGET {key} {member}
HMGET {key} < {member} >
HGETALL {key}
HKEYS {key}
HVALS {key}
HLEN {key}
HEXISTS {key} {member}
HSTRLEN {key} {member}
HEXPIRE {key} {seconds} [ ( NX | XX | GT | LT | foo ) ] [ ( NX | GT | LT ) ] FIELDS @ {member} @
HPEXPIRE {key} {millis} [ ( NX | XX | GT | LT ) ] FIELDS @ {member} @
HEXPIREAT {key} {at} [ ( NX | XX | GT | LT ) ] FIELDS @ {member} @
HPEXPIREAT {key} {at-millis} [ ( NX | XX | GT | LT ) ] FIELDS @ {member} @
HEXPIRE {key} {seconds} ( FIELDS | NX | foo ) {small} {member} {member}
HTTL {key} FIELDS @ {member} @
HPTTL {key} FIELDS @ {member} @
HEXPIRETIME {key} FIELDS @ {member} @
HPEXPIRETIME {key} FIELDS @ {member} @
HTTL {key} ( FIELDS | foo ) {small} {member} {member}
HPERSIST {key} FIELDS @ {member} @
HPERSIST {key} ( FIELDS | foo ) {small} {member} {member}
HGETEX {key} [ ( EX {seconds} | PX {millis} | EXAT {at} | PXAT {at-millis} | PERSIST | KEEPTTL | NX ) ] FIELDS @ {member} @
HGETEX {key} [ EX {seconds} ] ( FIELDS | foo ) {small} {member} {member}
HSETEX {key} [ ( NX | XX ) ] [ ( FNX | FXX ) ] [ ( EX {seconds} | PX {millis} | EXAT {at} | PXAT {at-millis} | KEEPTTL | PERSIST ) ] FIELDS 1 {member} {value}
HSETEX {key} [ ( FNX | FXX ) ] [ ( NX | XX ) ] [ ( KEEPTTL | EX {seconds} ) ] FIELDS 2 {member} {value} {member} {small}
HSETEX {key} [ EX {seconds} ] ( FIELDS | foo ) {small} {member} {value} {member} {value}
DUMP {key}
RESTORE {key} ( 0 | {millis} | {at-millis} ) ( {payload} | {value} ) [ REPLACE ] [ ABSTTL ] [ IDLETIME {small} ] [ FREQ {small} ]
RESTORE {key} 0 {payload} REPLACE
RESTORE {key} {millis} {payload} REPLACE
HDEL {key} < {member} >
HGETDEL {key} FIELDS @ {member} @
HGETDEL {key} ( FIELDS | foo ) {small} {member} {member}
HINCRBY {key} {member} {int}
HINCRBYFLOAT {key} {member} {float}
HRANDFIELD {key} [ {small} [ WITHVALUES ] ]
HSCAN {key} 0 [ MATCH {pattern} ] [ COUNT {small} ] [ NOVALUES ]
LPUSH {key} < {value} >
RPUSH {key} < {value} >
RPUSH {key} < {small} >
LPUSHX {key} < {value} >
RPUSHX {key} < {value} >
LPOP {key} [ {small} ]
RPOP {key} [ {small} ]
LLEN {key}
LINDEX {key} {index}
LSET {key} {index} {value}
LRANGE {key} {small} {small}
LTRIM {key} {small} {small}
LREM {key} {small} {value}
RPUSH {key} < {small} {small} {small} {value} {value} {value} {small} {small} {small} {value} >
LREM {key} {small} {small}
LINSERT {key} ( BEFORE | AFTER ) {small} {value}
LINSERT {key} ( BEFORE | AFTER | foo ) {value} {value}
LPOS {key} {value} [ RANK {small} ] [ COUNT {small} ] [ MAXLEN {small} ]
LMOVE {key} {key} ( LEFT | RIGHT | foo ) ( LEFT | RIGHT )
RPOPLPUSH {key} {key}
LMPOP @ {key} @ ( LEFT | RIGHT | foo ) [ COUNT {small} ]
LMPOP {small} {key} {key} LEFT
BLPOP < {key} > ( 0.001 | {odd-timeout} )
BRPOP < {key} > ( 0.001 | {odd-timeout} )
BLMOVE {key} {key} ( LEFT | RIGHT ) ( LEFT | RIGHT | foo ) 0.001
BRPOPLPUSH {key} {key} ( 0.001 | {odd-timeout} )
BLMPOP ( 0.001 | {odd-timeout} ) @ {key} @ ( LEFT | RIGHT ) [ COUNT {small} ]
SADD {key} < {member} >
SREM {key} < {member} >
SMEMBERS {key}
SISMEMBER {key} {member}
SMISMEMBER {key} < {member} >
SCARD {key}
SPOP {key} ( 1000 | -1 | abc )
SRANDMEMBER {key} [ {small} ]
SMOVE {key} {key} {member}
SSCAN {key} 0 [ MATCH {pattern} ] [ COUNT {small} ] [ ( NOSCORES | NOVALUES ) ]
HSCAN {key} 0 [ NOSCORES ] [ NOVALUES ]
SCAN 0 COUNT 10000 [ MATCH {pattern} ] [ TYPE ( string | LIST | set | zset | hash | stream | foo ) ] [ ( NOSCORES | NOVALUES ) ]
SINTER < {key} >
SUNION < {key} >
SDIFF < {key} >
SINTERSTORE {key} < {key} >
SUNIONSTORE {key} < {key} >
SDIFFSTORE {key} < {key} >
SINTERCARD @ {key} @ [ LIMIT {small} ]
SINTERCARD {small} {key} {key}
ZADD {key} [ ( NX | XX ) ] [ ( GT | LT ) ] [ CH ] [ INCR ] < {float} {member} >
ZADD {key} < {float} {member} >
ZADD {key} < 0 {member} >
ZINCRBY {key} {float} {member}
ZREM {key} < {member} >
ZSCORE {key} {member}
ZMSCORE {key} < {member} >
ZCARD {key}
ZRANK {key} {member} [ ( WITHSCORE | foo ) ]
ZREVRANK {key} {member} [ WITHSCORE ]
ZPOPMIN {key} [ {small} ]
ZPOPMAX {key} [ {small} ]
ZMPOP @ {key} @ ( MIN | MAX | foo ) [ COUNT {small} ]
BZPOPMIN < {key} > 0.001
BZPOPMAX < {key} > ( 0.001 | {odd-timeout} )
BZMPOP ( 0.001 | {odd-timeout} ) @ {key} @ ( MIN | MAX ) [ COUNT {small} ]
ZRANDMEMBER {key} [ {small} [ WITHSCORES ] ]
ZSCAN {key} 0 [ MATCH {pattern} ] [ COUNT {small} ] [ ( NOSCORES | NOVALUES | TYPE zset ) ]
ZRANGE {key} {small} {small} [ REV ] [ WITHSCORES ] [ LIMIT {small} {small} ]
ZRANGE {key} {score} {score} BYSCORE [ REV ] [ LIMIT {small} {small} ] [ WITHSCORES ]
ZADD {lexical-key} < 0 {member} >
ZREVRANGEBYLEX {lexical-key} {lex} {lex} [ LIMIT {small} {small} ]
ZRANGEBYLEX {lexical-key} {lex} {lex}
ZLEXCOUNT {lexical-key} {lex} {lex}
ZREMRANGEBYLEX {lexical-key} {lex} {lex}
ZRANGE {lexical-key} {lex} {lex} BYLEX [ REV ] [ LIMIT {small} {small} ] [ WITHSCORES ]
ZRANGESTORE {key} {key} {small} {small} [ REV ]
ZRANGESTORE {key} {key} {score} {score} BYSCORE [ REV ] [ LIMIT {small} {small} ] [ WITHSCORES ]
ZREVRANGE {key} {small} {small} [ WITHSCORES ]
ZRANGEBYSCORE {key} {score} {score} [ WITHSCORES ] [ LIMIT {small} {small} ]
ZREVRANGEBYSCORE {key} {score} {score} [ WITHSCORES ] [ LIMIT {small} {small} ]
ZCOUNT {key} {score} {score}
ZREMRANGEBYRANK {key} {small} {small}
ZREMRANGEBYSCORE {key} {score} {score}
ZUNION @ {key} @ [ WEIGHTS {float} {float} ] [ AGGREGATE ( SUM | MIN | MAX | foo ) ] [ WITHSCORES ]
ZINTER @ {key} @ [ AGGREGATE ( SUM | MIN | MAX ) ] [ WITHSCORES ]
ZDIFF @ {key} @ [ WITHSCORES ]
ZUNIONSTORE {key} 2 {key} {key} [ WEIGHTS {float} {float} ] [ AGGREGATE ( SUM | MIN | MAX ) ]
ZINTER 2 {key} {key} WEIGHTS ( inf | 0 | -inf | 1 ) ( 0 | inf | -1 ) [ AGGREGATE ( SUM | MIN | MAX ) ] WITHSCORES
ZINTERSTORE {key} 2 {key} {key} [ WEIGHTS {float} {float} ] [ AGGREGATE ( SUM | MIN | MAX ) ]
ZDIFFSTORE {key} @ {key} @
ZUNIONSTORE {key} {small} {key} {key}
ZINTERCARD @ {key} @ [ LIMIT {small} ]
PFADD {hll-key} [ < {member} > ]
PFADD {lexical-key} {value}
PFADD {hll-key} < {float} {millis} {at} {float} >
PFCOUNT < {key} >
PFCOUNT {hll-key} {hll-key}
PFMERGE {hll-key} [ < {key} > ]
PFMERGE {hll-key} {hll-key}
GEOADD {key} [ ( NX | XX ) ] [ ( CH | GT ) ] < {lon} {lat} {member} >
GEOADD {key} {lon} {lat} {member} {lon} {lat} {member}
GEOPOS {key} < {member} >
GEOPOS {key}
GEOHASH {key} < {member} >
GEODIST {key} {member} {member} [ {unit} ]
GEOSEARCH {key} ( FROMMEMBER {member} | FROMLONLAT {lon} {lat} ) ( BYRADIUS {distance} {unit} | BYBOX {distance} {distance} {unit} ) [ ( ASC | DESC ) ] [ COUNT {small} [ ANY ] ] [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ]
GEOSEARCH {key} ( BYRADIUS {distance} {unit} | BYBOX {distance} {distance} {unit} | foo ) [ FROMMEMBER {member} ] [ FROMLONLAT {lon} {lat} ] [ ANY ] [ BYRADIUS {distance} km ] [ STOREDIST ]
GEOSEARCH {key} BYPOLYGON {vertices} {lon} {lat} {lon} {lat} {lon} {lat} [ WITHDIST ] [ FROMLONLAT {lon} {lat} ] [ ( BYRADIUS {distance} km | COUNT 2 ) ]
GEOSEARCH {key} BYPOLYGON 4 {lon} {lat} {lon} {lat} {lon} {lat} {lon} {lat} [ ASC ] [ WITHCOORD ] [ WITHDIST ]
GEOSEARCHSTORE {key} {key} ( FROMMEMBER {member} | FROMLONLAT {lon} {lat} ) ( BYRADIUS {distance} {unit} | BYBOX {distance} {distance} {unit} ) [ ( ASC | DESC ) ] [ COUNT {small} ] [ ( STOREDIST | WITHDIST ) ]
GEORADIUS {key} {lon} {lat} {distance} {unit} [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ] [ COUNT {small} [ ANY ] ] [ ( ASC | DESC ) ] [ ( STORE {key} | STOREDIST {key} ) ]
GEORADIUS_RO {key} {lon} {lat} {distance} {unit} [ WITHCOORD ] [ WITHDIST ] [ COUNT {small} [ ANY ] ] [ ( ASC | DESC | STORE a ) ]
GEORADIUSBYMEMBER {key} {member} {distance} {unit} [ WITHCOORD ] [ WITHDIST ] [ COUNT {small} [ ANY ] ] [ ( ASC | DESC ) ] [ ( STORE {key} | STOREDIST {key} ) ]
GEORADIUSBYMEMBER_RO {key} {member} {distance} {unit} [ WITHCOORD ] [ WITHDIST ] [ COUNT {small} [ ANY ] ] [ ( ASC | DESC | STOREDIST b ) ]
SORT {key} [ LIMIT {small} {small} ] [ ( ASC | DESC ) ] [ ALPHA ] [ STORE {key} ]
SORT {key} BY nosort [ ( ASC | DESC ) ] [ STORE {key} ]
SORT {key} BY nosort [ ( ASC | DESC ) ] GET # GET * [ STORE {key} ]
SORT_RO {key} BY nosort [ ( ASC | DESC ) ]
SORT {key} BY ( nosort | * | *->m ) [ GET * ] [ GET # ] [ GET *->m ] [ ALPHA ]
SORT_RO {key} [ ALPHA ] [ DESC ]
FLUSHDB ( foo | foo | foo | foo | ASYNC | SYNC )
FLUSHALL ( foo | foo | foo | foo | ASYNC | SYNC )
";

static TEMPLATES: LazyLock<Vec<Vec<Part>>> = LazyLock::new(|| {
    GRAMMAR
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split(' ');
            let mut parts = Vec::new();
            while let Some(word) = words.next() {
                parts.push(parse(word, &mut words));
            }
            parts
        })
        .collect()
});

pub(super) fn templates() -> &'static [Vec<Part>] {
    &TEMPLATES
}

fn parse(word: &'static str, words: &mut std::str::Split<'static, char>) -> Part {
    match word {
        "[" => Part::Optional(until("]", words)),
        "<" => Part::Repeated(until(">", words)),
        "@" => Part::Counted(until("@", words)),
        "(" => {
            let mut choices = vec![Vec::new()];
            for word in words.by_ref() {
                match word {
                    ")" => break,
                    "|" => choices.push(Vec::new()),
                    word => choices.last_mut().expect("never empty").push(leaf(word)),
                }
            }
            Part::Choice(choices)
        }
        word => leaf(word),
    }
}

fn until(end: &str, words: &mut std::str::Split<'static, char>) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some(word) = words.next() {
        if word == end {
            break;
        }
        parts.push(parse(word, words));
    }
    parts
}

fn leaf(word: &'static str) -> Part {
    match word
        .strip_prefix('{')
        .and_then(|word| word.strip_suffix('}'))
    {
        Some(name) => Part::Slot(name),
        None => Part::Word(word),
    }
}
