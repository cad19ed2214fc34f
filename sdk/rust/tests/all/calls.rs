//! Functions as callers see them: how parameters are filled, how results and mistakes are replied.

use std::collections::{BTreeMap, HashMap};

use ferrite_wasm_sdk::ferrite::{Level, SetOptions, Ttl};
use ferrite_wasm_sdk::*;

const NONE: [&str; 0] = [];

fn error(text: &str) -> Value {
    Value::Error(text.to_owned())
}

#[ferrite_function]
fn rate_limit(key: &str, limit: i64, window_secs: i64) -> Result<bool, Error> {
    let current: i64 = ferrite::get(key)?.unwrap_or(0);
    if current >= limit {
        return Ok(false);
    }
    ferrite::incr(key)?;
    if current == 0 {
        ferrite::expire(key, window_secs)?;
    }
    Ok(true)
}

#[test]
fn the_rate_limiter_of_the_readme_counts_within_its_window() {
    let store = mock::Store::new();
    let call = || store.call(entry!(rate_limit), ["api:1"], ["2", "60"]);
    assert_eq!(call(), Value::Bool(true));
    assert_eq!(call(), Value::Bool(true));
    assert_eq!(call(), Value::Bool(false));
    store.advance_millis(60_000);
    assert_eq!(call(), Value::Bool(true));
}

#[test]
fn keys_and_arguments_fill_the_parameters_in_order_wherever_the_line_is() {
    let store = mock::Store::new();
    let reply = store.call(entry!(rate_limit), NONE, ["api:1", "1", "60"]);
    assert_eq!(reply, Value::Bool(true));
    let reply = store.call(entry!(rate_limit), ["api:1", "1", "60"], NONE);
    assert_eq!(reply, Value::Bool(false));
}

#[test]
fn mistakes_in_the_input_name_the_parameter() {
    let store = mock::Store::new();
    let call = |keys: &[&str], arguments: &[&str]| {
        store.call(entry!(rate_limit), keys.iter(), arguments.iter())
    };
    assert_eq!(
        call(&["api:1"], &["2"]),
        error(
            "ERR rate_limit(key: &str, limit: i64, window_secs: i64): no value for 'window_secs' \
             (i64); got 1 key and 1 argument"
        )
    );
    assert_eq!(
        call(&["api:1"], &["2", "60", "x"]),
        error(
            "ERR rate_limit(key: &str, limit: i64, window_secs: i64): ARGS[3] is one too many; \
             got 1 key and 3 arguments"
        )
    );
    assert_eq!(
        call(&["api:1"], &["two", "60"]),
        error("ERR rate_limit: 'limit' (ARGS[1], i64) must be a 64-bit integer, not \"two\"")
    );
    assert_eq!(
        call(&["api:1"], &["1", "99999999999999999999"]),
        error(
            "ERR rate_limit: 'window_secs' (ARGS[2], i64) must be a 64-bit integer, not \
             \"99999999999999999999\""
        )
    );
    let reply = store.call(entry!(rate_limit), [b"\xff\xfe"], ["1", "1"]);
    assert_eq!(
        reply,
        error(r#"ERR rate_limit: 'key' (KEYS[1], &str) must be UTF-8 text, not "\xff\xfe""#)
    );
}

#[test]
fn errors_of_the_store_reach_the_caller() {
    let store = mock::Store::new();
    store.command(&["HSET", "api:1", "a", "b"]);
    assert_eq!(
        store.call(entry!(rate_limit), ["api:1"], ["1", "1"]),
        error("WRONGTYPE Operation against a key holding the wrong kind of value")
    );
    store.set("api:2", "many");
    assert_eq!(
        store.call(entry!(rate_limit), ["api:2"], ["1", "1"]),
        error(r#"ERR the value of key "api:2" must be a 64-bit integer, not "many""#)
    );
}

/// The values of its parameters that `shapes` replies.
type Shapes<'a> = (
    Vec<&'a str>,
    Vec<u8>,
    bool,
    f64,
    (u8, i16),
    Option<&'a [u8]>,
);

#[ferrite_function]
fn shapes<'a>(
    keys: Keys<&'a str>,
    bytes: Vec<u8>,
    flag: bool,
    ratio: f64,
    pair: (u8, i16),
    maybe: Option<&'a [u8]>,
    rest: Vec<(String, u32)>,
) -> Shapes<'a> {
    drop(rest);
    (keys.0, bytes, flag, ratio, pair, maybe)
}

#[test]
fn every_shape_of_parameter_and_result() {
    let store = mock::Store::new();
    let arguments = [
        "\0b", "true", "-0.5", "255", "-32768", "m", "a", "1", "b", "2",
    ];
    let expected = |keys: &[&str], maybe: Value| {
        Value::Array(vec![
            Value::Array(keys.iter().map(|key| Value::from(*key)).collect()),
            Value::from("\0b"),
            Value::Bool(true),
            Value::Double(-0.5),
            Value::Array(vec![Value::Int(255), Value::Int(-32768)]),
            maybe,
        ])
    };
    assert_eq!(
        store.call(entry!(shapes), ["k", "l"], arguments),
        expected(&["k", "l"], Value::from("m"))
    );
    assert_eq!(
        store.call(entry!(shapes), NONE, &arguments[..5]),
        expected(&[], Value::Null)
    );
    assert_eq!(
        store.call(entry!(shapes), NONE, &arguments[..7]),
        error(
            "ERR shapes(keys: Keys<&str>, bytes: Vec<u8>, flag: bool, ratio: f64, pair: (u8, i16), \
             maybe: Option<&[u8]>, rest: Vec<(String, u32)>): no value for 'rest' \
             (Vec<(String, u32)>); got 0 keys and 7 arguments"
        )
    );
    assert_eq!(
        store.call(
            entry!(shapes),
            NONE,
            ["", "1", "1", "1", "1", "", "x", "-1"]
        ),
        error(
            "ERR shapes: 'rest' (ARGS[8], Vec<(String, u32)>) must be an unsigned 32-bit integer, \
             not \"-1\""
        )
    );
}

#[ferrite_function(name = "sum-by")]
fn sum_by(amounts: HashMap<String, i64>) -> BTreeMap<String, i64> {
    amounts.into_iter().collect()
}

#[test]
fn maps_are_pairs_both_ways_and_a_name_may_differ() {
    let store = mock::Store::new();
    let pair = |name: &str, amount| (Value::from(name), Value::Int(amount));
    assert_eq!(entry!(sum_by).name, "sum-by");
    assert_eq!(
        store.call(entry!(sum_by), NONE, ["b", "2", "a", "1"]),
        Value::Map(vec![pair("a", 1), pair("b", 2)])
    );
}

#[ferrite_function]
fn many(values: Vec<String>) -> Vec<String> {
    values
}

#[test]
fn input_beyond_the_inline_room_is_whole() {
    let store = mock::Store::new();
    let values: Vec<String> = (0..100).map(|n| format!("{n}").repeat(n)).collect();
    let (keys, arguments) = values.split_at(30);
    let expected = Value::Array(values.iter().map(|it| Value::from(it.as_str())).collect());
    assert_eq!(store.call(entry!(many), keys, arguments), expected);
}

#[ferrite_function]
fn everything(key: &str) -> Result<Vec<Value>, Error> {
    let long = "x".repeat(1000);
    let lock = SetOptions::new().if_absent().ttl_millis(1500);
    let mut seen = vec![
        Value::Bool(ferrite::set_with(key, 7, lock)?),
        Value::Bool(ferrite::set_with(key, 8, lock)?),
        Value::Bool(ferrite::ttl(key)? == Ttl::Millis(1500)),
        Value::Int(ferrite::incr_by(key, -3)?),
        Value::Bool(ferrite::exists(key)?),
        Value::Bool(ferrite::del(key)?),
        Value::Bool(ferrite::get::<Value>(key)?.is_none()),
        Value::Bool(ferrite::hset(key, "f", &long)?),
        Value::Bool(ferrite::hset(key, "g", 1.5)?),
        Value::Bool(ferrite::hget::<String>(key, "f")? == Some(long)),
        Value::Double(ferrite::hget(key, "g")?.unwrap_or_default()),
    ];
    let all: BTreeMap<String, Vec<u8>> = ferrite::hgetall(key)?;
    seen.push(Value::Int(all.len() as i64));
    seen.push(Value::Bool(ferrite::hdel(key, "f")?));
    seen.push(Value::Int(ferrite::hdel_many(key, ["f", "g"])? as i64));
    ferrite::call::<()>("RPUSH", ("list", &[1, 2, 3][..]))?;
    seen.push(ferrite::call("LRANGE", ("list", 0, -1))?);
    seen.push(Value::Int(
        ferrite::exists_many(["list", "list", "no"])? as i64
    ));
    seen.push(Value::Int(ferrite::del_many(["list", "no"])? as i64));
    seen.push(Value::Bool(ferrite::random_u64() != ferrite::random_u64()));
    ferrite::log(Level::Warn, format!("at {}", ferrite::time_millis()));
    Ok(seen)
}

#[test]
fn every_function_of_the_module_works() {
    let store = mock::Store::new();
    let Value::Array(seen) = store.call(entry!(everything), ["k"], NONE) else {
        panic!("expected an array");
    };
    let expected = [
        Value::Bool(true),
        Value::Bool(false),
        Value::Bool(true),
        Value::Int(4),
        Value::Bool(true),
        Value::Bool(true),
        Value::Bool(true),
        Value::Bool(true),
        Value::Bool(true),
        Value::Bool(true),
        Value::Double(1.5),
        Value::Int(2),
        Value::Bool(true),
        Value::Int(1),
        Value::from(vec!["1", "2", "3"]),
        Value::Int(2),
        Value::Int(1),
        Value::Bool(true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(store.log(), [(Level::Warn, "at 1700000000000".to_owned())]);
}

#[ferrite_function]
fn refuse(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    Err(Error::new(text.to_owned()))
}

#[ferrite_function]
fn parse(text: &str) -> Result<i8, Error> {
    Ok(text.parse::<i8>()?)
}

#[test]
fn errors_keep_their_code_or_get_one() {
    let store = mock::Store::new();
    let refuse = |text| store.call(entry!(refuse), NONE, [text]);
    assert_eq!(refuse(""), Value::Simple("OK".into()));
    assert_eq!(
        refuse("OUT_OF_STOCK none\r\nleft"),
        error("OUT_OF_STOCK none  left")
    );
    assert_eq!(refuse("no such user"), error("ERR no such user"));
    assert_eq!(
        store.call(entry!(parse), NONE, ["300"]),
        error("ERR number too large to fit in target type")
    );
}

#[ferrite_function]
fn unknown() -> Result<(), Error> {
    ferrite::call("BLPOP", ("list", 0))
}

#[test]
fn a_commands_own_error_comes_back() {
    let store = mock::Store::new();
    assert_eq!(
        store.call(entry!(unknown), NONE, NONE),
        error("ERR the mock store does not know 'BLPOP'; test this with `ferrite-wasmc run`")
    );
}

#[test]
fn stores_nest_and_the_newest_counts() {
    let outer = mock::Store::new();
    outer.set("k", "outer");
    {
        let inner = mock::Store::new();
        inner.set("k", "inner");
        assert_eq!(ferrite::get("k"), Ok(Some("inner".to_owned())));
    }
    assert_eq!(ferrite::get("k"), Ok(Some("outer".to_owned())));
}

#[test]
#[should_panic(expected = "no store on this thread")]
fn a_function_without_a_store_says_what_to_do() {
    let _ = ferrite::get::<String>("k");
}

#[ferrite_function]
#[allow(
    clippy::print_stdout,
    reason = "a macro named by its path is left alone"
)]
fn prints(name: &str) {
    println!("hello, {name}");
    print!("no line\n");
    let warn = || {
        if !name.is_empty() {
            eprintln!("careful");
        }
    };
    std::println!("not in the log");
    warn();
}

#[test]
fn what_a_function_prints_goes_to_the_log() {
    let store = mock::Store::new();
    let reply = store.call(entry!(prints), NONE, ["Ann"]);
    assert_eq!(reply, Value::Simple("OK".into()));
    let expected = [
        (Level::Info, "hello, Ann"),
        (Level::Info, "no line"),
        (Level::Warn, "careful"),
    ];
    assert_eq!(
        store.log(),
        expected.map(|(level, text)| (level, text.to_owned()))
    );
}

#[test]
fn a_request_is_made_and_its_response_read() -> Result<(), Error> {
    let store = mock::Store::new();
    store.respond("POST", "https://example.com/a", 201, "made");
    let response = http::post("https://example.com/a")
        .header("content-type", "text/plain")
        .body("a\r\nbody")
        .timeout_millis(100)
        .send()?;
    assert_eq!((response.status(), response.is_success()), (201, true));
    assert_eq!(response.text()?, "made");
    assert_eq!(
        store.requests(),
        [(
            "POST".to_owned(),
            "https://example.com/a".to_owned(),
            b"a\r\nbody".to_vec()
        )]
    );
    // A response that is longer than the first buffer.
    store.respond("GET", "https://example.com/long", 200, "x".repeat(5000));
    assert_eq!(
        http::get("https://example.com/long").send()?.body().len(),
        5000
    );
    let error = http::get("https://example.com/none")
        .send()
        .expect_err("nobody answers");
    assert_eq!(error.code(), "CONNECT");
    Ok(())
}
