//! Functions that read numbers, print, and fail.

use ferrite_wasm_sdk::*;

#[ferrite_function]
pub fn integer(n: i64) -> i64 {
    n
}

#[ferrite_function]
pub fn float(n: f64) -> f64 {
    n
}

#[ferrite_function]
pub fn print(text: &str) {
    println!("printed {text}");
}

#[ferrite_function]
pub fn fail(text: &str) -> i64 {
    panic!("on purpose: {text}");
}

#[inline(never)]
fn deeper(n: u64) -> u64 {
    let room = std::hint::black_box([n; 64]);
    if n == 0 { 0 } else { deeper(n + 1) + room[3] }
}

#[ferrite_function]
pub fn overflow() -> u64 {
    deeper(1)
}

#[ferrite_function]
pub fn ask(url: &str) -> Result<Vec<String>, Error> {
    let request = http::post(url).header("X-A", "b").body("body");
    let response = request.timeout_millis(60_000).send()?;
    Ok(vec![
        response.status().to_string(),
        response.text()?.to_owned(),
        response.header("content-length").unwrap_or("none").to_owned(),
        response.url().to_owned(),
    ])
}

#[ferrite_function]
pub fn tell(url: &str) -> Result<Vec<String>, Error> {
    let key = http::post(url).body("later").after_commit()?;
    let value = |name| Ok::<_, Error>(ferrite::config(name)?.unwrap_or_else(|| "none".to_owned()));
    Ok(vec![key, value("token")?, value("other")?])
}

#[ferrite_function]
pub fn keys(pattern: &str) -> Result<i64, Error> {
    let mut count = 0;
    for key in ferrite::scan_keys::<String>(pattern) {
        count += i64::from(ferrite::exists(key?)?);
    }
    Ok(count)
}

#[ferrite::every("365d")]
#[ferrite_function]
#[ferrite::on(keys = ["a b", "order:*"], events = ["set", "del"])]
#[ferrite::cron("0 3 1 1 *", missed = "once", keys = "k", args = ["x", "y z"])]
pub fn watched(_values: Vec<&[u8]>) {}
