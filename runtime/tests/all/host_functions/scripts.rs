//! Scripts of host functions, and a guest that runs them.
//!
//! For each step, a script has the number of a host function and its parameters. Any bytes are a script.

use std::fmt::Write as _;
use std::time::Duration;

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_wasm_abi::{IMPORTS, NumType};

use crate::support::{Host, TestFunction, guest};

/// Address of the script in the guest's memory of 64 KiB.
const SCRIPT: u32 = 32_768;

/// Bytes of a parameter in a script.
const PARAMETER: u32 = 8;

/// A guest that runs the script in its first argument.
fn interpreter() -> String {
    let count = IMPORTS.len();
    let mut text = format!(
        r#"(data (i32.const 0) "key:1 key:2 value GET SET *1\r\n$5\r\nkey:1\r\n")
        (data (i32.const 512) "\00\00\00\00\05\00\00\00\06\00\00\00\05\00\00\00")
        (func (export "run") (local $at i32) (local $end i32)
        (local.set $at (i32.const {SCRIPT}))
        (local.set $end (i32.add (i32.const {SCRIPT})
            (call $arg (i32.const 0) (i32.const {SCRIPT}) (i32.const 16384))))
        (loop $next
            (if (i32.ge_s (local.get $at) (local.get $end)) (then (return)))
        "#
    );
    for index in (0..count).rev() {
        let _ = write!(text, "(block $call{index} ");
    }
    let labels: String = (0..count).map(|index| format!("$call{index} ")).collect();
    let _ = write!(
        text,
        "(br_table {labels} (i32.rem_u (i32.load8_u (local.get $at)) (i32.const {count}))))"
    );
    for (index, import) in IMPORTS.iter().enumerate() {
        let _ = write!(text, "(call ${}", import.name);
        for (place, kind) in import.params.iter().enumerate() {
            let offset = 1 + place as u32 * PARAMETER;
            let load = match kind {
                NumType::I32 => "i32.load",
                NumType::I64 => "i64.load",
                NumType::F64 => "f64.load",
            };
            let _ = write!(text, "({load} offset={offset} align=1 (local.get $at))");
        }
        text.push(')');
        if import.result.is_some() {
            text.push_str("(drop)");
        }
        let length = 1 + import.params.len() as u32 * PARAMETER;
        let _ = write!(
            text,
            "(local.set $at (i32.add (local.get $at) (i32.const {length}))) (br $next)"
        );
        // The last one closes no block of another.
        if index + 1 < count {
            text.push(')');
        }
    }
    text.push_str("))");
    guest(&text)
}

/// A script of a few steps.
pub(crate) fn script(random: &mut fastrand::Rng) -> Vec<u8> {
    const NUMBERS: [i64; 22] = [
        0,
        1,
        2,
        3,
        5,
        6,
        12,
        18,
        22,
        26,
        64,
        512,
        4096,
        65_530,
        65_536,
        65_537,
        1 << 30,
        i32::MAX as i64,
        i32::MIN as i64,
        -1,
        i64::MAX,
        i64::MIN,
    ];
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..12) {
        let index = random.usize(..IMPORTS.len());
        bytes.push(index as u8);
        for _ in IMPORTS[index].params {
            let number = match random.u8(..8) {
                0 => random.i64(..),
                1 => random.i64(0..70_000),
                _ => *random.choice(&NUMBERS).unwrap_or(&0),
            };
            bytes.extend(number.to_le_bytes());
        }
    }
    bytes
}

/// A host with the guest.
pub(crate) struct Machine {
    host: Host,
    function: TestFunction,
}

impl Machine {
    pub(crate) fn new(isolation: Isolation) -> Self {
        // The host compares every rewound instance with its first state.
        let host = Host::new();
        let function = host.load_with(&interpreter(), |spec| {
            spec.isolation = isolation;
            spec.limits.time_max = Duration::from_secs(10);
            spec.limits.fuel_max = 1_000_000;
            spec.limits.reply_bytes_max = 1 << 16;
        });
        Self { host, function }
    }

    /// Runs a script; returns the code of its error, `a reply`, or `an error of the guest`.
    ///
    /// # Panics
    ///
    /// If the host has a fault.
    pub(crate) async fn run(&self, script: &[u8]) -> String {
        let args: [&[u8]; 1] = [script];
        let keys: [&[u8]; 2] = [b"key:1", b"key:2"];
        let request = CallRequest::new(b"test", &keys, &args);
        let (reply, _) = self
            .host
            .request(Protocol::Resp3, &self.function, &request)
            .await;
        assert!(
            !reply.contains("which is a bug") && !reply.contains("panic"),
            "{}: {reply}",
            script.escape_ascii()
        );
        let Some(error) = reply.strip_prefix('-') else {
            return "a reply".to_owned();
        };
        let code = error.split(' ').next().unwrap_or_default();
        // A guest that replies an error has any bytes for its code.
        let is_word = |code: &str| code.bytes().all(|byte| byte.is_ascii_uppercase());
        match code {
            code if code.len() > 2 && is_word(code) => code.to_owned(),
            _ => "an error of the guest".to_owned(),
        }
    }
}
