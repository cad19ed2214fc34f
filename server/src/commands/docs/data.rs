//! What `COMMAND DOCS` tells of the commands on data: their group, their arguments, and what they do.

/// What is told of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) struct DataDoc {
    pub(in crate::commands) group: &'static str,
    pub(in crate::commands) arguments: &'static str,
    pub(in crate::commands) summary: &'static str,
}

/// What is told of the command of this name, in lower case.
pub(in crate::commands) fn find(name: &str) -> Option<DataDoc> {
    all().find(|(known, _)| *known == name).map(|(_, doc)| doc)
}

/// Every command's name, and what is told of it.
fn all() -> impl Iterator<Item = (&'static str, DataDoc)> {
    let mut group = "";
    DOCS.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix("# ") {
            group = name;
        }
        let (usage, summary) = line.split_once(" -- ")?;
        let (name, arguments) = usage.split_once(' ').unwrap_or((usage, ""));
        let doc = DataDoc {
            group,
            arguments,
            summary,
        };
        Some((name, doc))
    })
}

/// A heading for each group, then a line for each command: its name, its arguments, what it does.
const DOCS: &str = "\
# string
get key -- Returns a string.
set key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL] -- Writes a string, whatever the key held.
setnx key value -- Writes a string if there is no such key.
setex key seconds value -- Writes a string that expires.
psetex key milliseconds value -- Writes a string that expires, in milliseconds.
getset key value -- Writes a string and returns the one before.
getdel key -- Returns a string and removes it.
getex key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST] -- Returns a string and sets when it expires.
mget key [key ...] -- Returns several strings.
mset key value [key value ...] -- Writes several strings.
msetnx key value [key value ...] -- Writes several strings if none of the keys is there.
strlen key -- Tells a string's length.
append key value -- Adds to the end of a string.
setrange key offset value -- Writes over a part of a string.
getrange key start end -- Returns a part of a string.
substr key start end -- Returns a part of a string.
incr key -- Adds one to an integer.
decr key -- Takes one from an integer.
incrby key increment -- Adds to an integer.
decrby key decrement -- Takes from an integer.
incrbyfloat key increment -- Adds to a number.
# bitmap
setbit key offset value -- Sets a bit of a string and returns what it was.
getbit key offset -- Returns a bit of a string.
bitcount key [start end [BYTE|BIT]] -- Counts the bits that are set.
bitpos key bit [start [end [BYTE|BIT]]] -- Finds the first bit that is set, or not.
bitop AND|OR|XOR|NOT destkey key [key ...] -- Combines strings bit by bit.
bitfield key [GET encoding offset|OVERFLOW WRAP|SAT|FAIL|SET encoding offset value|INCRBY encoding offset increment ...] -- Reads and writes integers of any width inside a string.
bitfield_ro key [GET encoding offset ...] -- Reads integers of any width inside a string.
# generic
del key [key ...] -- Removes keys.
unlink key [key ...] -- Removes keys; their memory is given back later.
exists key [key ...] -- Counts how many of the keys there are.
touch key [key ...] -- Counts how many of the keys there are.
type key -- Tells what kind of value a key holds.
keys pattern -- Returns all keys that match a pattern.
scan cursor [MATCH pattern] [COUNT count] [TYPE type] -- Goes through the keys, some at a time.
dbsize -- Counts the keys.
randomkey -- Returns any key.
rename key newkey -- Gives a value another key, in the place of what was there.
renamenx key newkey -- Gives a value another key if there is none of that name.
copy source destination [DB destination-db] [REPLACE] -- Copies a value to another key.
move key db -- Moves a key to another database.
swapdb index1 index2 -- Exchanges two databases.
flushdb [ASYNC|SYNC] -- Removes every key of the database.
flushall [ASYNC|SYNC] -- Removes every key of every database.
object subcommand [key] -- Tells how a value is kept.
sort key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] [STORE destination] -- Sorts a list, a set or a sorted set.
sort_ro key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] -- Sorts a list, a set or a sorted set, and stores nothing.
expire key seconds [NX|XX|GT|LT] -- Sets how long a key lives.
pexpire key milliseconds [NX|XX|GT|LT] -- Sets how long a key lives, in milliseconds.
expireat key unix-time-seconds [NX|XX|GT|LT] -- Sets when a key expires.
pexpireat key unix-time-milliseconds [NX|XX|GT|LT] -- Sets when a key expires, in milliseconds.
ttl key -- Tells how long a key has to live.
pttl key -- Tells how long a key has to live, in milliseconds.
expiretime key -- Tells when a key expires.
pexpiretime key -- Tells when a key expires, in milliseconds.
persist key -- Lets a key live for good.
# hash
hset key field value [field value ...] -- Writes fields of a hash.
hmset key field value [field value ...] -- Writes fields of a hash.
hsetnx key field value -- Writes a field of a hash if it is not there.
hget key field -- Returns a field of a hash.
hmget key field [field ...] -- Returns several fields of a hash.
hgetall key -- Returns a hash.
hkeys key -- Returns the fields' names of a hash.
hvals key -- Returns the fields' values of a hash.
hlen key -- Counts the fields of a hash.
hexists key field -- Tells whether a hash has a field.
hstrlen key field -- Tells the length of a field's value.
hdel key field [field ...] -- Removes fields of a hash.
hincrby key field increment -- Adds to an integer in a hash.
hincrbyfloat key field increment -- Adds to a number in a hash.
hrandfield key [count [WITHVALUES]] -- Returns any fields of a hash.
hscan key cursor [MATCH pattern] [COUNT count] [NOVALUES] -- Goes through a hash, some fields at a time.
# list
lpush key element [element ...] -- Adds to the head of a list.
rpush key element [element ...] -- Adds to the end of a list.
lpushx key element [element ...] -- Adds to the head of a list that is there.
rpushx key element [element ...] -- Adds to the end of a list that is there.
lpop key [count] -- Takes from the head of a list.
rpop key [count] -- Takes from the end of a list.
llen key -- Counts the elements of a list.
lindex key index -- Returns an element of a list.
lset key index element -- Writes over an element of a list.
lrange key start stop -- Returns a part of a list.
ltrim key start stop -- Removes all but a part of a list.
lrem key count element -- Removes elements of a list that equal one.
linsert key BEFORE|AFTER pivot element -- Adds an element beside another one.
lpos key element [RANK rank] [COUNT num-matches] [MAXLEN len] -- Finds elements of a list that equal one.
lmove source destination LEFT|RIGHT LEFT|RIGHT -- Moves an element from one list to another.
rpoplpush source destination -- Moves the last element of a list to the head of another.
lmpop numkeys key [key ...] LEFT|RIGHT [COUNT count] -- Takes from the first list that has any.
blpop key [key ...] timeout -- Takes from the head of the first list that has any, or waits.
brpop key [key ...] timeout -- Takes from the end of the first list that has any, or waits.
blmove source destination LEFT|RIGHT LEFT|RIGHT timeout -- Moves an element from one list to another, or waits.
brpoplpush source destination timeout -- Moves the last element of a list to the head of another, or waits.
blmpop timeout numkeys key [key ...] LEFT|RIGHT [COUNT count] -- Takes from the first list that has any, or waits.
# set
sadd key member [member ...] -- Adds to a set.
srem key member [member ...] -- Removes from a set.
smembers key -- Returns a set.
sismember key member -- Tells whether a set has a member.
smismember key member [member ...] -- Tells which members a set has.
scard key -- Counts the members of a set.
spop key [count] -- Takes any members of a set.
srandmember key [count] -- Returns any members of a set.
smove source destination member -- Moves a member from one set to another.
sscan key cursor [MATCH pattern] [COUNT count] -- Goes through a set, some members at a time.
sinter key [key ...] -- Returns what all sets have.
sunion key [key ...] -- Returns what any of the sets has.
sdiff key [key ...] -- Returns what the first set has and the others do not.
sinterstore destination key [key ...] -- Stores what all sets have.
sunionstore destination key [key ...] -- Stores what any of the sets has.
sdiffstore destination key [key ...] -- Stores what the first set has and the others do not.
sintercard numkeys key [key ...] [LIMIT limit] -- Counts what all sets have.
# sorted-set
zadd key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...] -- Adds to a sorted set, or changes scores.
zincrby key increment member -- Adds to a score.
zrem key member [member ...] -- Removes from a sorted set.
zscore key member -- Returns a score.
zmscore key member [member ...] -- Returns several scores.
zcard key -- Counts the members of a sorted set.
zrank key member [WITHSCORE] -- Tells a member's place, from the lowest score.
zrevrank key member [WITHSCORE] -- Tells a member's place, from the highest score.
zpopmin key [count] -- Takes the members of the lowest scores.
zpopmax key [count] -- Takes the members of the highest scores.
zmpop numkeys key [key ...] MIN|MAX [COUNT count] -- Takes from the first sorted set that has any.
bzpopmin key [key ...] timeout -- Takes the member of the lowest score of the first sorted set that has any, or waits.
bzpopmax key [key ...] timeout -- Takes the member of the highest score of the first sorted set that has any, or waits.
bzmpop timeout numkeys key [key ...] MIN|MAX [COUNT count] -- Takes from the first sorted set that has any, or waits.
zrandmember key [count [WITHSCORES]] -- Returns any members of a sorted set.
zscan key cursor [MATCH pattern] [COUNT count] -- Goes through a sorted set, some members at a time.
zrange key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES] -- Returns members by place, score or name.
zrangestore dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] -- Stores members by place, score or name.
zrevrange key start stop [WITHSCORES] -- Returns members by place, from the highest score.
zrangebyscore key min max [WITHSCORES] [LIMIT offset count] -- Returns members by score.
zrevrangebyscore key max min [WITHSCORES] [LIMIT offset count] -- Returns members by score, from the highest.
zrangebylex key min max [LIMIT offset count] -- Returns members by name, where scores are equal.
zrevrangebylex key max min [LIMIT offset count] -- Returns members by name backwards, where scores are equal.
zcount key min max -- Counts members by score.
zlexcount key min max -- Counts members by name, where scores are equal.
zremrangebyrank key start stop -- Removes members by place.
zremrangebyscore key min max -- Removes members by score.
zremrangebylex key min max -- Removes members by name, where scores are equal.
zunion numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES] -- Returns what any of the sorted sets has.
zinter numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES] -- Returns what all sorted sets have.
zdiff numkeys key [key ...] [WITHSCORES] -- Returns what the first sorted set has and the others do not.
zunionstore destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] -- Stores what any of the sorted sets has.
zinterstore destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] -- Stores what all sorted sets have.
zdiffstore destination numkeys key [key ...] -- Stores what the first sorted set has and the others do not.
zintercard numkeys key [key ...] [LIMIT limit] -- Counts what all sorted sets have.
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ferrite_store::{Store, StoreOptions};

    use super::{all, find};
    use crate::commands::docs::usage;

    #[test]
    fn every_data_command_is_documented_once_and_nothing_else_is() {
        let store = Store::in_memory(&StoreOptions::default());
        let there: BTreeSet<&str> = store.commands().map(|spec| spec.name).collect();
        let told: Vec<&str> = all().map(|(name, _)| name).collect();
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), there);
        assert_eq!(told.len(), there.len(), "a command is told twice");
    }

    #[test]
    fn as_many_arguments_are_told_as_a_command_takes() {
        let store = Store::in_memory(&StoreOptions::default());
        for spec in store.commands() {
            let doc = find(spec.name).expect("it is documented");
            let arguments = usage::parse(doc.arguments);
            let needed = arguments
                .iter()
                .map(usage::Argument::words_min)
                .sum::<usize>();
            let optional = arguments.iter().any(usage::Argument::is_open);
            let least = spec.arity.unsigned_abs() as usize - 1;
            assert_eq!(needed, least, "{} {}", spec.name, doc.arguments);
            assert_eq!(optional, spec.arity < 0, "{} {}", spec.name, doc.arguments);
        }
    }
}
