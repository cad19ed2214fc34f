//! Runs test programs in an emulator, one test after the other: one that hangs costs its own time alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::run;
use crate::workspace::Workspace;

/// A program with tests, built for the emulated machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TestProgram {
    /// Its package.
    pub(super) package: String,
    /// The target of the package, as cargo names it.
    target: String,
    /// Folder of the package, in which the tests run.
    folder: PathBuf,
    executable: PathBuf,
}

/// Tests that cannot run in the emulator.
pub(super) struct LeftOut {
    pub(super) package: &'static str,
    /// The name of a test or the beginning of several.
    pub(super) name: &'static str,
    /// The reason: a thing that the emulator lacks.
    pub(super) reason: &'static str,
}

/// Settings of a run of the programs.
pub(super) struct Emulation<'e> {
    /// A script that runs the program that it is given.
    pub(super) emulator: &'e Path,
    /// Longest time for one test.
    pub(super) patience: Duration,
    /// Number of tests that run at once.
    pub(super) jobs: usize,
    /// Parts of names; only tests with one of them run, if there are any.
    pub(super) filters: &'e [String],
    /// Tests that do not run.
    pub(super) left_out: &'e [LeftOut],
}

/// Outcome of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Ignored,
    Failed,
    /// It took longer than the patience allows.
    TooLong,
    /// The program ended in the middle of it.
    Ended,
}

/// Returns the programs that `cargo test --no-run --message-format json-render-diagnostics` prints.
///
/// # Errors
/// If it printed something else than cargo's messages.
pub(super) fn programs(messages: &str) -> Result<Vec<TestProgram>> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
        package_id: Option<String>,
        profile: Option<Profile>,
        target: Option<Named>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("cargo printed `{line}`"))?;
        let is_test = message.profile.is_some_and(|profile| profile.test);
        let (Some(executable), Some(manifest), Some(id), Some(target)) = (
            message.executable,
            message.manifest_path,
            message.package_id,
            message.target,
        ) else {
            continue;
        };
        if message.reason != "compiler-artifact" || !is_test {
            continue;
        }
        programs.push(TestProgram {
            package: package_name(&id).to_owned(),
            target: target.name,
            folder: manifest.parent().unwrap_or(&manifest).to_owned(),
            executable,
        });
    }
    programs.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    Ok(programs)
}

/// The package's name in an identifier such as `path+file:///ferrite/store#ferrite-store@0.1.0`, or one without a
/// name where that is the folder's.
fn package_name(id: &str) -> &str {
    let (path, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

impl Emulation<'_> {
    /// Runs the tests of all programs, and prints what became of each.
    ///
    /// # Errors
    /// If a program cannot be run, or a test does not pass.
    pub(super) fn run(&self, workspace: &Workspace, programs: &[TestProgram]) -> Result<()> {
        let mut troubles = Vec::new();
        for program in programs {
            let (names, left_out) = self.select(program, &self.list(workspace, program)?);
            if names.is_empty() && left_out.is_empty() {
                continue;
            }
            let start = Instant::now();
            let outcomes = self.run_program(workspace, program, &names)?;
            let count = |outcome| {
                outcomes
                    .iter()
                    .filter(|(_, found)| *found == outcome)
                    .count()
            };
            println!(
                "{} ({}): {} passed, {} did not, {} ignored, {} left out, in {} s",
                program.package,
                program.target,
                count(Outcome::Passed),
                count(Outcome::Failed) + count(Outcome::TooLong) + count(Outcome::Ended),
                count(Outcome::Ignored),
                left_out.values().sum::<usize>(),
                start.elapsed().as_secs(),
            );
            for (reason, tests) in left_out {
                println!("    {tests} left out: {reason}");
            }
            troubles.extend(outcomes.into_iter().filter_map(|(name, outcome)| {
                let what = match outcome {
                    Outcome::Passed | Outcome::Ignored => return None,
                    Outcome::Failed => "failed".to_owned(),
                    Outcome::TooLong => format!("took over {} s", self.patience.as_secs()),
                    Outcome::Ended => "ended its program".to_owned(),
                };
                Some(format!("{} {name} {what}", program.package))
            }));
        }
        if troubles.is_empty() {
            return Ok(());
        }
        bail!(
            "these {} did not pass:\n  {}",
            troubles.len(),
            troubles.join("\n  ")
        );
    }

    /// The names of a program's tests, in the order in which they run.
    fn list(&self, workspace: &Workspace, program: &TestProgram) -> Result<Vec<String>> {
        let mut list = self.command(workspace, program);
        let listed = run::output(list.args(["--list", "--format", "terse"]))?;
        let names = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Divides the names into those to run, and the number of those left out for each reason.
    fn select(
        &self,
        program: &TestProgram,
        names: &[String],
    ) -> (Vec<String>, BTreeMap<&'static str, usize>) {
        let mut left_out = BTreeMap::new();
        let wanted = names.iter().filter(|name| {
            self.filters.is_empty() || self.filters.iter().any(|part| name.contains(part))
        });
        let selected = wanted.filter(|name| {
            let out = self
                .left_out
                .iter()
                .find(|out| out.package == program.package && name.starts_with(out.name));
            if let Some(out) = out {
                *left_out.entry(out.reason).or_default() += 1;
            }
            out.is_none()
        });
        (selected.cloned().collect(), left_out)
    }

    /// Runs these tests of a program, several at once.
    fn run_program(
        &self,
        workspace: &Workspace,
        program: &TestProgram,
        names: &[String],
    ) -> Result<Vec<(String, Outcome)>> {
        let jobs = self.jobs.clamp(1, names.len().max(1));
        let results = std::thread::scope(|scope| {
            let parts: Vec<_> = (0..jobs)
                .map(|job| {
                    let part: Vec<_> = names.iter().skip(job).step_by(jobs).cloned().collect();
                    scope.spawn(move || self.run_part(workspace, program, part))
                })
                .collect();
            parts
                .into_iter()
                .map(|part| {
                    part.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(results.into_iter().flatten().collect())
    }

    /// Runs these tests in one process, and in a further one after each that ends or hangs it.
    fn run_part(
        &self,
        workspace: &Workspace,
        program: &TestProgram,
        mut names: Vec<String>,
    ) -> Result<Vec<(String, Outcome)>> {
        let mut outcomes = Vec::new();
        while !names.is_empty() {
            let mut command = self.command(workspace, program);
            command
                .args(["--test-threads", "1", "--exact"])
                .args(&names);
            let mut child = command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {}", program.executable.display()))?;
            let before = outcomes.len();
            let interrupted = self.follow(program, &mut child, &mut outcomes)?;
            let done: BTreeSet<_> = outcomes[before..].iter().map(|(name, _)| name).collect();
            names.retain(|name| !done.contains(name));
            // The order of the tests is that of their list, so the first one without an outcome was running.
            if !names.is_empty() {
                let name = names.remove(0);
                let outcome = interrupted.unwrap_or(Outcome::Ended);
                println!("{} {name}: {outcome:?}", program.package);
                outcomes.push((name, outcome));
            }
        }
        Ok(outcomes)
    }

    /// Reads the outcomes of tests as a process prints them. Returns why it was ended, if it was.
    fn follow(
        &self,
        program: &TestProgram,
        child: &mut Child,
        outcomes: &mut Vec<(String, Outcome)>,
    ) -> Result<Option<Outcome>> {
        let lines = lines_of(child)?;
        let mut last = Instant::now();
        let mut details = Vec::new();
        let interrupted = loop {
            let wait = self.patience.saturating_sub(last.elapsed());
            match lines.recv_timeout(wait) {
                Ok(line) => match outcome(&line) {
                    Some((name, outcome)) => {
                        let seconds = last.elapsed().as_secs_f32();
                        println!("{} {name}: {outcome:?}, {seconds:.1} s", program.package);
                        outcomes.push((name.to_owned(), outcome));
                        last = Instant::now();
                    }
                    None => details.push(line),
                },
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().context("cannot end a test")?;
                    break Some(Outcome::TooLong);
                }
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        let status = child.wait()?;
        if interrupted.is_some() || !status.success() {
            println!("{}", details.join("\n"));
        }
        Ok(interrupted)
    }

    fn command(&self, workspace: &Workspace, program: &TestProgram) -> Command {
        let mut command = workspace.command(self.emulator);
        command
            .arg(&program.executable)
            .current_dir(&program.folder);
        command.env("CARGO_MANIFEST_DIR", &program.folder);
        command
    }
}

/// Sends the lines that a process prints, on both of its streams.
fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let (sender, lines) = channel();
    let out = child.stdout.take().context("it has a pipe")?;
    let mut errors = child.stderr.take().context("it has a pipe")?;
    let errors_sender = sender.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _read_until_it_ends = errors.read_to_end(&mut text);
        let _nobody_may_listen = errors_sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    Ok(lines)
}

/// The test that a line of a test program is about, and what became of it.
fn outcome(line: &str) -> Option<(&str, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    let outcome = match outcome {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        ignored if ignored.starts_with("ignored") => Outcome::Ignored,
        _ => return None,
    };
    Some((name, outcome))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Emulation, LeftOut, Outcome, TestProgram, outcome, package_name, programs};
    use crate::workspace::Workspace;

    /// Behaves as a test program with the tests that `names` has: they fail, hang, end the program or pass, as
    /// they are named.
    const PROGRAM: &str = r#"
        names="ends fails hangs left::out passes"
        if [ "$1" = --list ]; then
            for name in $names; do echo "$name: test"; done
            exit
        fi
        shift 3
        status=0
        for name; do
            case $name in
                ends) exit 3 ;;
                fails) echo "test $name ... FAILED"; status=101 ;;
                hangs) printf 'test hangs ... '; exec sleep 600 ;;
                *) echo "test $name ... ok" ;;
            esac
        done
        exit $status
    "#;

    #[test]
    fn a_test_that_hangs_or_ends_its_program_leaves_the_others_to_run() {
        let folder = tempfile::tempdir().expect("there is room");
        let program = TestProgram {
            package: "a-package".to_owned(),
            target: "all".to_owned(),
            folder: folder.path().to_owned(),
            executable: folder.path().join("program"),
        };
        std::fs::write(&program.executable, PROGRAM).expect("there is room");
        let workspace = Workspace {
            root: folder.path().to_owned(),
            target: folder.path().to_owned(),
            packages: Vec::new(),
        };
        let left_out = [LeftOut {
            package: "a-package",
            name: "left::",
            reason: "it cannot",
        }];
        let emulation = |filters| Emulation {
            emulator: Path::new("sh"),
            patience: Duration::from_secs(5),
            jobs: 1,
            filters,
            left_out: &left_out,
        };
        let names = emulation(&[])
            .list(&workspace, &program)
            .expect("it lists them");
        let (names, left_out_counts) = emulation(&[]).select(&program, &names);
        assert_eq!(
            left_out_counts.into_iter().collect::<Vec<_>>(),
            [("it cannot", 1)]
        );
        let outcomes = emulation(&[]).run_program(&workspace, &program, &names);
        let expected = [
            ("ends", Outcome::Ended),
            ("fails", Outcome::Failed),
            ("hangs", Outcome::TooLong),
            ("passes", Outcome::Passed),
        ];
        assert_eq!(
            outcomes.expect("it runs"),
            expected.map(|(name, outcome)| (name.to_owned(), outcome))
        );
        let programs = [program];
        let (fails, passes) = (["fails".to_owned()], ["pass".to_owned()]);
        let error = emulation(&fails).run(&workspace, &programs).unwrap_err();
        assert_eq!(
            error.to_string(),
            "these 1 did not pass:\n  a-package fails failed"
        );
        emulation(&passes)
            .run(&workspace, &programs)
            .expect("this one passes");
    }

    #[test]
    fn programs_with_tests_are_found_among_cargos_messages() {
        let artifact = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/store#ferrite-store@0.1.0","manifest_path":"/w/store/Cargo.toml","target":{{"name":"all","kind":["test"]}},"profile":{{"test":{test}}},"executable":{executable},"fresh":true}}"#
            )
        };
        let messages = [
            artifact(false, r#""/w/target/bin""#),
            artifact(true, r#""/w/target/all-1""#),
            artifact(true, "null"),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let found = programs(&messages.join(
            "
",
        ))
        .expect("they are cargo's");
        let [program] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(program.package, "ferrite-store");
        assert_eq!(program.target, "all");
        assert_eq!(program.folder, Path::new("/w/store"));
        assert_eq!(program.executable, Path::new("/w/target/all-1"));
        assert_eq!(package_name("path+file:///w/xtask#0.1.0"), "xtask");
    }

    #[test]
    fn lines_of_a_test_program_say_what_became_of_a_test() {
        let of = |line| outcome(line);
        assert_eq!(of("test a::b ... ok"), Some(("a::b", Outcome::Passed)));
        assert_eq!(of("test a ... FAILED"), Some(("a", Outcome::Failed)));
        assert_eq!(
            of("test a - should panic ... ok"),
            Some(("a", Outcome::Passed))
        );
        assert_eq!(
            of("test a ... ignored, takes an hour"),
            Some(("a", Outcome::Ignored))
        );
        for other in [
            "running 2 tests",
            "test result: ok. 2 passed",
            "test a ... ",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
