//! Reads the rules of `ACL SETUSER`, and writes them.

use ferrite_protocol::glob::Glob;

use super::categories::{CATEGORIES, categories, rules_of};
use crate::clients::rules::{CommandRules, CommandSet, KeyRules};
use crate::clients::users::{PASSWORDS_MAX, User, UserCommands};
use crate::commands::command_ref::CommandTable;
use crate::config::PasswordHash;

/// Changes a user by one rule.
///
/// # Errors
///
/// A text that says what is wrong with the rule.
pub(super) fn apply(user: &mut User, rule: &str, table: &CommandTable) -> Result<(), String> {
    match rule.to_ascii_lowercase().as_str() {
        "on" => user.enabled = true,
        "off" => user.enabled = false,
        "nopass" => {
            user.no_password = true;
            user.passwords.clear();
        }
        "resetpass" => {
            user.no_password = false;
            user.passwords.clear();
        }
        "allkeys" => user.keys = KeyRules::all(),
        "resetkeys" => user.keys = KeyRules::default(),
        "resetfunctions" => user.functions.clear(),
        // There are no rules for channels here, so all of them are allowed.
        "allchannels" | "resetchannels" | "&*" => {}
        "allcommands" => return change_commands(user, "+@all", table),
        "nocommands" => return change_commands(user, "-@all", table),
        "reset" => *user = User::powerless(user.name()),
        "clearselectors" | "sanitize-payload" | "skip-sanitize-payload" => {}
        _ => return apply_with_value(user, rule, table),
    }
    Ok(())
}

fn apply_with_value(user: &mut User, rule: &str, table: &CommandTable) -> Result<(), String> {
    let pattern = |user: &mut User, text: &str, read, write| {
        if user.keys.add(text, read, write) {
            Ok(())
        } else {
            Err(format!("{text:?} is not a valid pattern for keys"))
        }
    };
    if let Some(functions) = rule.strip_prefix("functions=") {
        for text in functions.split('+') {
            let glob = Glob::parse(text.as_bytes())
                .map_err(|_| format!("{text:?} is not a valid pattern for functions"))?;
            user.functions.push((glob, text.to_owned()));
        }
        return Ok(());
    }
    let Some(kind) = rule.chars().next() else {
        return Err("a rule is empty".to_owned());
    };
    let value = &rule[kind.len_utf8()..];
    match kind {
        '>' => {
            let hash = PasswordHash::slow(value.as_bytes()).map_err(|error| error.to_string())?;
            add_password(user, hash)
        }
        '#' => {
            let hash = PasswordHash::parse(value).ok_or(
                "a hash is that of ferrite-server hash-password, or 64 hexadecimal digits of blake3; hashes of SHA-256 are not taken",
            )?;
            add_password(user, hash)
        }
        '<' => remove_password(user, |hash| hash.matches(value.as_bytes())),
        '!' => remove_password(user, |hash| hash.to_string() == value),
        '~' => pattern(user, value, true, true),
        '%' => {
            let (access, text) = value
                .split_once('~')
                .ok_or_else(|| format!("{rule:?} lacks a ~ before its pattern"))?;
            let access = access.to_ascii_uppercase();
            let known = !access.is_empty() && access.bytes().all(|byte| b"RW".contains(&byte));
            if !known {
                return Err(format!("{rule:?}: after % stand R, W or both"));
            }
            pattern(user, text, access.contains('R'), access.contains('W'))
        }
        '&' => Ok(()),
        '+' | '-' => change_commands(user, rule, table),
        '(' => Err("selectors are not available; make another user".to_owned()),
        _ => Err("Syntax error".to_owned()),
    }
}

fn add_password(user: &mut User, hash: PasswordHash) -> Result<(), String> {
    if user.passwords.len() >= PASSWORDS_MAX {
        return Err(format!("a user has at most {PASSWORDS_MAX} passwords"));
    }
    user.no_password = false;
    if !user.passwords.contains(&hash) {
        user.passwords.push(hash);
    }
    Ok(())
}

fn remove_password(user: &mut User, is_it: impl Fn(&PasswordHash) -> bool) -> Result<(), String> {
    let before = user.passwords.len();
    user.passwords.retain(|hash| !is_it(hash));
    if user.passwords.len() == before {
        return Err("the user has no such password".to_owned());
    }
    Ok(())
}

/// Adds a rule on commands.
fn change_commands(user: &mut User, rule: &str, table: &CommandTable) -> Result<(), String> {
    let rule = rule.to_ascii_lowercase();
    let mut text = match &user.commands {
        UserCommands::Rights(rights) => rules_of(*rights),
        UserCommands::Rules(rules) => rules.text.clone(),
    };
    if rule == "+@all" || rule == "-@all" {
        // Nothing before it matters any more.
        text.clear();
    }
    // A rule that is said again replaces the one before, so that the list stays short.
    text.retain(|known| known[1..] != rule[1..]);
    text.push(rule);
    user.commands = UserCommands::Rules(compile(&text, table)?);
    Ok(())
}

/// Finds the commands that the rules allow.
fn compile(text: &[String], table: &CommandTable) -> Result<CommandRules, String> {
    let mut rules = CommandRules {
        text: text.to_vec(),
        ..CommandRules::default()
    };
    for rule in text {
        let (allow, name) = match rule.split_at_checked(1) {
            Some(("+", name)) => (true, name),
            Some(("-", name)) => (false, name),
            _ => return Err(format!("{rule:?} is no rule on commands")),
        };
        if name == "@all" {
            rules.all = allow;
            rules.allowed = CommandSet::default();
            rules.subcommands.clear();
        } else if let Some(category) = name.strip_prefix('@') {
            if !CATEGORIES.contains(&category) {
                return Err(format!(
                    "there is no category {category:?}; ACL CAT lists them"
                ));
            }
            let members = table
                .all_found()
                .filter(|found| categories(found.command).contains(&category));
            for found in members {
                set(&mut rules, found.number, allow, table);
            }
        } else {
            let (command, subcommand) = match name.split_once('|') {
                Some((command, subcommand)) => (command, Some(subcommand)),
                None => (name, None),
            };
            let found = table
                .find(command.as_bytes())
                .ok_or_else(|| format!("there is no command {command:?}"))?;
            match subcommand {
                None => set(&mut rules, found.number, allow, table),
                Some(subcommand) if allow => {
                    let allowed = rules.subcommands.entry(found.number).or_default();
                    allowed.insert(subcommand.as_bytes().to_vec());
                }
                Some(subcommand) => {
                    let removed = rules
                        .subcommands
                        .get_mut(&found.number)
                        .is_some_and(|allowed| allowed.remove(subcommand.as_bytes()));
                    if !removed && rules.allow(found.number, &[]) {
                        return Err(format!(
                            "{rule:?}: a subcommand cannot be taken from a whole command; allow the others one by one"
                        ));
                    }
                }
            }
        }
    }
    Ok(rules)
}

/// Allows or forbids one command.
fn set(rules: &mut CommandRules, number: u16, allow: bool, table: &CommandTable) {
    if rules.all && !allow {
        // From now on, every command is named.
        rules.all = false;
        for found in table.all_found() {
            rules.allowed.set(found.number, true);
        }
    }
    rules.allowed.set(number, allow);
    if !allow {
        rules.subcommands.remove(&number);
    }
}

/// Returns the rules on commands as they are shown.
pub(super) fn commands(user: &User) -> String {
    match &user.commands {
        UserCommands::Rights(rights) => rules_of(*rights).join(" "),
        UserCommands::Rules(rules) => rules.text.join(" "),
    }
}

/// Returns the functions as a rule; empty if the user may use all.
pub(super) fn functions(user: &User) -> String {
    if user.functions.is_empty() {
        return String::new();
    }
    let texts: Vec<&str> = user
        .functions
        .iter()
        .map(|(_, text)| text.as_str())
        .collect();
    format!("functions={}", texts.join("+"))
}

/// Returns a user as a line of `ACL LIST`, which [`apply`] reads word by word.
pub(super) fn line(user: &User) -> String {
    let mut words = vec![
        "user".to_owned(),
        user.name().to_owned(),
        if user.enabled { "on" } else { "off" }.to_owned(),
    ];
    if user.no_password {
        words.push("nopass".to_owned());
    }
    words.extend(user.passwords.iter().map(|hash| format!("#{hash}")));
    words.push(user.keys.shown());
    words.push("&*".to_owned());
    words.push(functions(user));
    words.push(commands(user));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{apply, line};
    use crate::clients::users::User;
    use crate::commands::table::TABLE;

    fn user(rules: &[&str]) -> Result<User, String> {
        let mut user = User::powerless("app");
        for rule in rules {
            apply(&mut user, rule, &TABLE)?;
        }
        Ok(user)
    }

    fn allows(user: &User, request: &str) -> bool {
        let argv: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let found = TABLE.find(argv[0]).expect("a command");
        crate::commands::permission::check(user, found, &argv).is_ok()
    }

    #[test]
    fn rules_apply_in_their_order() {
        let app = user(&[
            "on",
            "~app:*",
            "%R~ref:*",
            "+@read",
            "+set",
            "-keys",
            "+config|get",
        ])
        .expect("right");
        for (request, allowed) in [
            ("GET app:1", true),
            ("GET ref:1", true),
            ("GET other", false),
            ("SET app:1 v", true),
            ("SET ref:1 v", false),
            ("DEL app:1", false),
            ("KEYS *", false),
            ("CONFIG GET *", true),
            ("CONFIG SET a b", false),
            ("MEMORY USAGE other", false),
            ("AUTH x", true),
            ("WASM.CALL f", false),
        ] {
            assert_eq!(allows(&app, request), allowed, "{request}");
        }
        let most = user(&["+@all", "-@dangerous", "allkeys"]).expect("right");
        assert!(allows(&most, "SET k v") && !allows(&most, "FLUSHALL"));
        assert!(!allows(&most, "SHUTDOWN") && allows(&most, "WASM.LIST"));
    }

    /// Rules that are damaged or put together at random: each is refused with a reason, or applies.
    #[test]
    fn no_rule_breaks_the_reader() {
        const RULES: [&str; 24] = [
            "on",
            "off",
            "nopass",
            ">pw",
            "<pw",
            "resetpass",
            "reset",
            "~app:*",
            "%R~ref:*",
            "%W~[a-",
            "%RW~*",
            "allkeys",
            "resetkeys",
            "+@all",
            "-@dangerous",
            "+set",
            "-get",
            "+config|get",
            "+config|",
            "functions=a*+b",
            "&*",
            "allchannels",
            "(+get ~a)",
            "#00",
        ];
        let inputs = std::env::var("FERRITE_FUZZ_INPUTS").map_or(3_000, |text| {
            text.parse().expect("FERRITE_FUZZ_INPUTS is a number")
        });
        let mut random = fastrand::Rng::with_seed(7);
        let (mut refused, mut read) = (0, 0);
        for _ in 0..inputs {
            let mut user = User::powerless("app");
            for _ in 0..random.usize(1..8) {
                let mut rule = RULES[random.usize(..RULES.len())].as_bytes().to_vec();
                if random.u8(..3) == 0 {
                    let at = random.usize(..=rule.len());
                    match random.u8(..3) {
                        0 => rule.truncate(at),
                        1 => rule.insert(at, *random.choice(b"+-@~%|*[]()= \\x").unwrap_or(&b'x')),
                        _ => rule.extend_from_slice(RULES[random.usize(..RULES.len())].as_bytes()),
                    }
                }
                let Ok(rule) = String::from_utf8(rule) else {
                    continue;
                };
                match apply(&mut user, &rule, &TABLE) {
                    Ok(()) => read += 1,
                    Err(problem) => {
                        assert!(!problem.is_empty(), "{rule}");
                        refused += 1;
                    }
                }
            }
            // What it may do does not depend on how it was said.
            let _ = allows(&user, "GET app:1");
            let _ = allows(&user, "CONFIG GET *");
        }
        assert!(
            refused > inputs / 10 && read > inputs / 10,
            "{refused} {read}"
        );
    }

    #[test]
    fn a_line_gives_the_same_user() {
        for rules in [
            &["on", "nopass", "allkeys", "+@all"][..],
            &[
                "off",
                ">secret",
                "~a*",
                "%W~b*",
                "functions=rate_*+x",
                "+@read",
                "-get",
            ],
            &["on", "+config|get", "+config|set", "-config|set"],
        ] {
            let one = user(rules).expect("right");
            let text = line(&one);
            let words: Vec<&str> = text.split(' ').skip(2).collect();
            assert_eq!(line(&user(&words).expect("ours")), text);
        }
        assert!(
            user(&["+@all", "~*", "on"])
                .expect("right")
                .is_unrestricted()
        );
    }

    #[test]
    fn wrong_rules_say_what_is_wrong() {
        for (rule, text) in [
            ("+nosuch", "there is no command \"nosuch\""),
            ("+@nosuch", "there is no category \"nosuch\""),
            ("~[", "not a valid pattern"),
            ("%X~a", "after % stand R, W or both"),
            ("#12", "hash-password"),
            ("<x", "no such password"),
            ("(+get ~a)", "selectors"),
            ("what", "Syntax error"),
            ("", "empty"),
        ] {
            let error = user(&[rule]).expect_err(rule);
            assert!(error.contains(text), "{rule}: {error}");
        }
        let error = user(&["+config", "-config|get"]).expect_err("not that way");
        assert!(error.contains("one by one"), "{error}");
    }
}
