//! The commit that a program is built from, for the build scripts of the programs.
//!
//! It is read from files, so that no git is needed, and an outer repository is never taken for this one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The variable that names the commit, for cargo and then for the compiler.
pub(crate) const VARIABLE: &str = "FERRITE_COMMIT";

/// Digits of a commit that are shown.
const SHOWN: usize = 12;

/// Longest chain of references from `HEAD` to a commit.
const LINKS_MAX: usize = 5;

/// Writes cargo's instructions that give the compiler the commit in `FERRITE_COMMIT`.
///
/// `root` is the top of the sources, and `profile` cargo's variable `PROFILE`. A commit in `named` needs none: the
/// compiler sees the same variable. Programs for development get no commit, because a new one would have them built
/// again. Nor do programs from sources that name none.
///
/// # Errors
/// If nothing can be written.
pub(crate) fn tell(
    out: &mut impl Write,
    root: &Path,
    profile: &str,
    named: &str,
) -> io::Result<()> {
    writeln!(out, "cargo::rerun-if-env-changed={VARIABLE}")?;
    if !named.is_empty() || profile == "debug" {
        return Ok(());
    }
    let Some(source) = exported(root).or_else(|| checked_out(root)) else {
        return Ok(());
    };
    for file in source.files {
        writeln!(out, "cargo::rerun-if-changed={}", file.display())?;
    }
    let commit = source.commit.get(..SHOWN).unwrap_or(&source.commit);
    writeln!(out, "cargo::rustc-env={VARIABLE}={commit}")
}

/// A commit, and the files that change with it.
struct Source {
    commit: String,
    files: Vec<PathBuf>,
}

/// The commit of an archive that git has made: git fills it in.
fn exported(root: &Path) -> Option<Source> {
    let file = root.join("packaging/commit-id");
    let commit = digits(&fs::read_to_string(&file).ok()?)?;
    Some(Source {
        commit,
        files: vec![file],
    })
}

/// The commit that git has checked out in this folder.
fn checked_out(root: &Path) -> Option<Source> {
    let mut git = root.join(".git");
    // A further working tree has a file that names its folder, which names the one of the repository.
    if git.is_file() {
        let link = fs::read_to_string(&git).ok()?;
        git = root.join(link.strip_prefix("gitdir:")?.trim());
    }
    let shared = fs::read_to_string(git.join("commondir"))
        .map_or_else(|_| git.clone(), |link| git.join(link.trim()));
    // Git adds a line to the first file with every commit, and writes the second when it changes branches.
    let mut files = vec![git.join("logs/HEAD"), git.join("HEAD")];
    let mut text = fs::read_to_string(git.join("HEAD")).ok()?;
    for _ in 0..LINKS_MAX {
        let Some(name) = text.strip_prefix("ref:").map(str::trim) else {
            let commit = digits(&text)?;
            // Cargo takes a file that is not there for one that has changed.
            files.retain(|file| file.is_file());
            return Some(Source { commit, files });
        };
        let loose = shared.join(name);
        text = match fs::read_to_string(&loose) {
            Ok(text) => {
                files.push(loose);
                text
            }
            Err(_) => packed(&shared.join("packed-refs"), name, &mut files)?,
        };
    }
    None
}

/// The commit of a reference in the file that git puts them together in.
fn packed(file: &Path, name: &str, files: &mut Vec<PathBuf>) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    files.push(file.to_owned());
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, found)| *found == name)
        .map(|(commit, _)| commit.to_owned())
}

/// The hexadecimal digits of a commit (SHA-1 or SHA-256), or nothing for another text.
fn digits(text: &str) -> Option<String> {
    let text = text.trim();
    let is_commit = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::tell;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";

    /// Lines that a build script prints with these files below the top of the sources.
    fn told(files: &[(&str, &str)], profile: &str, named: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join("top").join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let mut out = Vec::new();
        tell(&mut out, &folder.path().join("top"), profile, named).expect("told");
        let text = String::from_utf8(out).expect("text");
        let text = text.replace(&format!("{}/", folder.path().display()), "");
        text.lines().map(str::to_owned).collect()
    }

    fn commit_of(files: &[(&str, &str)]) -> Option<String> {
        let lines = told(files, "release", "");
        lines
            .iter()
            .find_map(|line| line.strip_prefix("cargo::rustc-env=FERRITE_COMMIT="))
            .map(str::to_owned)
    }

    #[test]
    fn a_branch_and_the_files_that_change_with_it_are_told() {
        let files = [
            (".git/HEAD", "ref: refs/heads/main\n"),
            (".git/refs/heads/main", &format!("{COMMIT}\n")),
            (".git/logs/HEAD", "a line\n"),
            ("packaging/commit-id", "$Format:%H$\n"),
        ];
        assert_eq!(
            told(&files, "release", ""),
            [
                "cargo::rerun-if-env-changed=FERRITE_COMMIT",
                "cargo::rerun-if-changed=top/.git/logs/HEAD",
                "cargo::rerun-if-changed=top/.git/HEAD",
                "cargo::rerun-if-changed=top/.git/refs/heads/main",
                "cargo::rustc-env=FERRITE_COMMIT=0123456789ab",
            ]
        );
        let variable_alone = ["cargo::rerun-if-env-changed=FERRITE_COMMIT"];
        assert_eq!(told(&files, "debug", ""), variable_alone);
        assert_eq!(told(&files, "release", "v1"), variable_alone);
    }

    #[test]
    fn commits_are_found_wherever_git_keeps_them() {
        let shown = Some(COMMIT[..12].to_owned());
        assert_eq!(commit_of(&[(".git/HEAD", COMMIT)]), shown);
        let packed = format!("# pack-refs\n{OTHER} refs/heads/mainly\n{COMMIT} refs/heads/main\n");
        let in_pack = [
            (".git/HEAD", "ref: refs/heads/main\n"),
            (".git/packed-refs", &*packed),
        ];
        assert_eq!(commit_of(&in_pack), shown);
        let working_tree = [
            (".git", "gitdir: ../top/store/worktrees/one\n"),
            ("store/worktrees/one/HEAD", "ref: refs/heads/main\n"),
            ("store/worktrees/one/commondir", "../..\n"),
            ("store/refs/heads/main", COMMIT),
        ];
        assert_eq!(commit_of(&working_tree), shown);
        let archive = [("packaging/commit-id", COMMIT), (".git/HEAD", OTHER)];
        assert_eq!(commit_of(&archive), shown);
    }

    #[test]
    fn nothing_is_told_of_what_is_no_commit() {
        assert_eq!(commit_of(&[("Cargo.toml", "")]), None);
        assert_eq!(commit_of(&[("packaging/commit-id", "$Format:%H$\n")]), None);
        assert_eq!(commit_of(&[(".git", "somewhere else\n")]), None);
        assert_eq!(commit_of(&[(".git/HEAD", "ref: refs/heads/none\n")]), None);
        assert_eq!(commit_of(&[(".git/HEAD", "0123456789abcdef\n")]), None);
        let circle = [
            (".git/HEAD", "ref: refs/heads/a"),
            (".git/refs/heads/a", "ref: refs/heads/a"),
        ];
        assert_eq!(commit_of(&circle), None);
        let line = format!("{}\ncargo::rustc-env=PATH=x", &COMMIT[..30]);
        assert_eq!(commit_of(&[(".git/HEAD", &line)]), None);
        // A reference from outside is read, and is no commit.
        assert_eq!(commit_of(&[(".git/HEAD", "ref: ../../../none")]), None);
    }

    #[test]
    fn an_outer_repository_is_not_taken() {
        let files = [("Cargo.toml", ""), ("../.git/HEAD", COMMIT)];
        assert_eq!(commit_of(&files), None);
    }
}
