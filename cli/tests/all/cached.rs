//! Several processes that share one cache.

use std::process::{Command, Output};

use crate::transcript;

fn compile(folder: &std::path::Path, files: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferrite-wasmc"))
        .args(["--json", "compile"])
        .args(files)
        .current_dir(folder)
        .env_clear()
        .output()
        .expect("the program starts")
}

fn outcomes(output: &Output) -> Vec<bool> {
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the report is JSON");
    report["files"]
        .as_array()
        .expect("there is a list of files")
        .iter()
        .map(|file| file["done"]["cached"].as_bool().expect("it was compiled"))
        .collect()
}

/// Several processes that compile the same modules at the same time compile each of them once.
#[test]
fn a_module_is_compiled_once_however_many_ask_for_it() {
    let sandbox = transcript::sandbox();
    let files = ["add1.wat", "rate.wat", "add1.wat"];
    let processes: Vec<_> = (0..4)
        .map(|_| {
            let folder = sandbox.path().to_owned();
            std::thread::spawn(move || outcomes(&compile(&folder, &files)))
        })
        .collect();
    let fresh = processes
        .into_iter()
        .flat_map(|process| process.join().expect("the process ends"))
        .filter(|cached| !cached)
        .count();
    assert_eq!(fresh, 2, "two modules were compiled {fresh} times");
}

/// Reports come in the order of the files, not in the order in which the files are done.
#[test]
fn reports_keep_the_order_of_the_files() {
    let sandbox = transcript::sandbox();
    let names: Vec<String> = (0..40).map(|index| format!("m{index}.wat")).collect();
    for (index, name) in names.iter().enumerate() {
        let text = format!("(module (func (export \"run\") (result i32) (i32.const {index})))");
        std::fs::write(sandbox.path().join(name), text).expect("there is room");
    }
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let output = compile(sandbox.path(), &files);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let reported: Vec<&str> = report["files"]
        .as_array()
        .expect("there is a list of files")
        .iter()
        .map(|file| file["file"].as_str().expect("a file has a name"))
        .collect();
    assert_eq!(reported, files);
}
