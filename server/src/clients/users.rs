//! The users that clients authenticate as: their passwords, and what each may do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ferrite_protocol::glob::{Glob, GlobError};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::clients::rules::{CommandRules, KeyRules};
use crate::config::{self, PasswordHash, Right, Rights, UserSpec};

/// The user of connections that do not authenticate.
pub(crate) const DEFAULT_USER: &str = "default";

/// Most passwords of one user.
pub(crate) const PASSWORDS_MAX: usize = 16;

/// A user: its passwords, and what it may do.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: Box<str>,
    /// False if nobody can authenticate as this user.
    pub(crate) enabled: bool,
    /// True if any password is right.
    pub(crate) no_password: bool,
    pub(crate) passwords: Vec<PasswordHash>,
    pub(crate) commands: UserCommands,
    pub(crate) keys: KeyRules,
    /// Patterns of the functions that it may use, with their text; none for all.
    pub(crate) functions: Vec<(Glob, String)>,
}

/// The commands that a user may run.
#[derive(Clone, Debug)]
pub(crate) enum UserCommands {
    /// Those of its rights, as the configuration gives them.
    Rights(Rights),
    /// Those of its rules, as `ACL SETUSER` sets them.
    Rules(CommandRules),
}

impl User {
    /// A user that can do nothing, as `ACL SETUSER` makes it.
    pub(crate) fn powerless(name: &str) -> Self {
        Self {
            name: name.into(),
            enabled: false,
            no_password: false,
            passwords: Vec::new(),
            commands: UserCommands::Rules(CommandRules::nothing()),
            keys: KeyRules::default(),
            functions: Vec::new(),
        }
    }

    /// A user that may do everything. Without a password, it needs none.
    fn unlimited(name: &str, password: Option<PasswordHash>) -> Self {
        Self {
            name: name.into(),
            enabled: true,
            no_password: password.is_none(),
            passwords: password.into_iter().collect(),
            commands: UserCommands::Rights(Rights::all()),
            keys: KeyRules::all(),
            functions: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if the user may do everything, so that nothing needs to be checked.
    pub(crate) fn is_unrestricted(&self) -> bool {
        let every_command = match &self.commands {
            UserCommands::Rights(rights) => *rights == Rights::all(),
            UserCommands::Rules(rules) => rules.all,
        };
        every_command && self.functions.is_empty() && self.keys.is_all()
    }

    /// Returns true if the user has a right, as far as its commands are given by rights.
    pub(crate) const fn may(&self, right: Right) -> bool {
        match &self.commands {
            UserCommands::Rights(rights) => rights.has(right),
            UserCommands::Rules(_) => true,
        }
    }

    /// Returns true if the user may call, look at and manage this function, as far as it may do that
    /// with any.
    pub(crate) fn may_use(&self, function: &[u8]) -> bool {
        self.functions.is_empty()
            || self
                .functions
                .iter()
                .any(|(glob, _)| glob.matches(function))
    }

    /// Returns true if the user may use some functions only.
    pub(crate) const fn has_some_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Returns true if this is one of the user's passwords.
    fn takes(&self, password: &[u8]) -> bool {
        // Each is tried, so that the time does not tell which one is right.
        let right = self
            .passwords
            .iter()
            .fold(false, |found, hash| hash.matches(password) | found);
        self.enabled && (self.no_password || right)
    }
}

/// Reason why the users of a configuration are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// A pattern is not a valid glob.
    #[error("user {user}: {glob:?} is not a valid pattern for names of {what}")]
    Glob {
        /// The user.
        user: String,
        /// The kind of names that the pattern is for.
        what: &'static str,
        /// The pattern.
        glob: String,
        /// The reason.
        #[source]
        source: GlobError,
    },
    /// Both `server.users` and `server.password` define the user `default`.
    #[error("server.users names \"default\" and server.password is set; give one of them")]
    DefaultTwice,
}

/// Every user.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    by_name: BTreeMap<Box<str>, Arc<User>>,
}

impl Users {
    /// Reads the users of a configuration.
    ///
    /// Without users and password, every connection is the user `default`, which may do everything.
    /// With a password, the user `default` must authenticate. With users and no password, there is
    /// a user `default` only if one of them has that name.
    pub(crate) fn new(server: &config::Server) -> Result<Self, UsersError> {
        let mut by_name = BTreeMap::new();
        for spec in &server.users {
            by_name.insert(spec.name.as_str().into(), Arc::new(User::try_from(spec)?));
        }
        let password = server.password.reveal();
        if !password.is_empty() && by_name.contains_key(DEFAULT_USER) {
            return Err(UsersError::DefaultTwice);
        }
        let default = if !password.is_empty() {
            Some(Some(password_hash(password)))
        } else if by_name.is_empty() {
            Some(None)
        } else {
            None
        };
        if let Some(password) = default {
            let user = Arc::new(User::unlimited(DEFAULT_USER, password));
            by_name.insert(DEFAULT_USER.into(), user);
        }
        Ok(Self { by_name })
    }

    /// Returns the user of connections that have not authenticated; `None` if they must.
    pub(crate) fn unnamed(&self) -> Option<Arc<User>> {
        let default = self.by_name.get(DEFAULT_USER)?;
        (default.enabled && default.no_password).then(|| Arc::clone(default))
    }

    /// Returns every user, in the order of their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// Returns the number of users that can authenticate.
    fn enabled(&self) -> usize {
        self.all().filter(|user| user.enabled).count()
    }

    /// Returns the user of this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<User>> {
        self.by_name.get(name).cloned()
    }

    /// Adds a user, or replaces the one of the same name.
    pub(crate) fn put(&mut self, user: User) {
        self.by_name.insert(user.name.clone(), Arc::new(user));
    }

    /// Removes a user; returns true if there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Returns true if checking a password may take long.
    fn has_slow_passwords(&self) -> bool {
        self.all()
            .flat_map(|user| &user.passwords)
            .any(PasswordHash::is_slow)
    }

    /// Returns the user of this name and password. Takes about the same time if one of them is wrong.
    fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let user = std::str::from_utf8(name)
            .ok()
            .and_then(|name| self.by_name.get(name));
        match user {
            Some(user) => user.takes(password).then(|| Arc::clone(user)),
            None => {
                // So that a name that does not exist is not told by the time of the answer.
                let like = self
                    .all()
                    .find(|user| user.passwords.iter().any(PasswordHash::is_slow));
                let _ = like.is_some_and(|user| user.takes(password));
                None
            }
        }
    }
}

/// Reads `server.password`: the hash of `ferrite-server hash-password`, or the password itself.
fn password_hash(text: &str) -> PasswordHash {
    let slow = PasswordHash::parse(text).filter(PasswordHash::is_slow);
    slow.unwrap_or_else(|| PasswordHash::blake3(text.as_bytes()))
}

/// The users in force. They can be replaced while clients are connected.
#[derive(Debug)]
pub(crate) struct UserDirectory {
    current: RwLock<Arc<Users>>,
    /// Rises with every change, so that connections notice it without a lock.
    generation: AtomicU64,
    /// Number of users that can authenticate.
    enabled: AtomicUsize,
    /// Passwords that slow hashes have accepted, so that the next login of a client's pool takes no
    /// time: by user, a hash with a key that only this process has.
    accepted: Mutex<Accepted>,
    slow_checks: SlowChecks,
    /// Held from the moment when a user is read to be changed until it is put back.
    edits: Mutex<()>,
}

#[derive(Debug)]
struct Accepted {
    key: [u8; 32],
    by_user: HashMap<Box<str>, blake3::Hash>,
}

impl UserDirectory {
    pub(crate) fn new(users: Users) -> Self {
        let mut key = [0; 32];
        // Without randomness nothing is remembered.
        let random = getrandom::fill(&mut key).is_ok();
        Self {
            enabled: AtomicUsize::new(users.enabled()),
            current: RwLock::new(Arc::new(users)),
            generation: AtomicU64::new(0),
            accepted: Mutex::new(Accepted {
                key: if random { key } else { [0; 32] },
                by_user: HashMap::new(),
            }),
            slow_checks: SlowChecks::default(),
            edits: Mutex::new(()),
        }
    }

    /// Returns the users in force.
    pub(crate) fn current(&self) -> Arc<Users> {
        Arc::clone(&self.current.read())
    }

    /// Returns the number of users that can authenticate.
    #[inline]
    pub(crate) fn enabled(&self) -> usize {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Returns true if connections must authenticate.
    pub(crate) fn is_required(&self) -> bool {
        self.current.read().unnamed().is_none()
    }

    /// Puts other users into force.
    pub(crate) fn replace(&self, users: Users) {
        self.change(|current| *current = users);
    }

    /// Changes the users in force.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Users) -> R) -> R {
        let mut current = self.current.write();
        let mut users = Users::clone(&current);
        let result = change(&mut users);
        self.enabled.store(users.enabled(), Ordering::Relaxed);
        *current = Arc::new(users);
        // Before the passwords are forgotten, so that no check of the users before adds one after it.
        self.generation.fetch_add(1, Ordering::Release);
        self.accepted.lock().by_user.clear();
        result
    }

    /// Keeps others from changing a user between the moments when one is read and put back.
    pub(crate) fn edit(&self) -> MutexGuard<'_, ()> {
        self.edits.lock()
    }

    /// Returns a number that differs after every change.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the user of this name and password. May take some tens of milliseconds; `slowly` runs
    /// what takes that long.
    ///
    /// # Errors
    ///
    /// If too many others wait for the same.
    pub(crate) fn authenticate(
        &self,
        name: &[u8],
        password: &[u8],
        slowly: impl FnOnce(&mut dyn FnMut()),
    ) -> Result<Option<Arc<User>>, TooManyLogins> {
        // Before the users: of older ones nothing is remembered.
        let generation = self.generation();
        let users = self.current();
        if !users.has_slow_passwords() {
            return Ok(users.authenticate(name, password));
        }
        let remembered = {
            let accepted = self.accepted.lock();
            (accepted.key != [0; 32]).then(|| blake3::keyed_hash(&accepted.key, password))
        };
        let user = std::str::from_utf8(name)
            .ok()
            .and_then(|name| users.by_name(name));
        if let (Some(user), Some(remembered)) = (&user, remembered)
            && user.enabled
            && self.accepted.lock().by_user.get(&user.name) == Some(&remembered)
        {
            return Ok(Some(Arc::clone(user)));
        }
        let _waiting = self.slow_checks.enter()?;
        let mut found = None;
        slowly(&mut || {
            let _one = self.slow_checks.one.lock();
            found = users.authenticate(name, password);
        });
        if let (Some(user), Some(remembered)) = (&found, remembered)
            && !user.no_password
        {
            let mut accepted = self.accepted.lock();
            if self.generation() == generation {
                accepted.by_user.insert(user.name.clone(), remembered);
            }
        }
        Ok(found)
    }
}

/// Checks of passwords by a slow hash. One runs at a time and few wait for it, so that those who guess
/// passwords occupy one processor and few threads.
#[derive(Debug, Default)]
struct SlowChecks {
    one: Mutex<()>,
    /// Number of logins that wait for a check or run one.
    entered: AtomicUsize,
}

/// Most logins that wait for a slow check or run one; each has a thread meanwhile.
const SLOW_LOGINS_MAX: usize = 16;

/// Error: too many logins wait for a slow check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyLogins;

struct Entered<'a>(&'a SlowChecks);

impl SlowChecks {
    fn enter(&self) -> Result<Entered<'_>, TooManyLogins> {
        let entered = Entered(self);
        if self.entered.fetch_add(1, Ordering::Relaxed) < SLOW_LOGINS_MAX {
            Ok(entered)
        } else {
            Err(TooManyLogins)
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.entered.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TryFrom<&UserSpec> for User {
    type Error = UsersError;

    fn try_from(spec: &UserSpec) -> Result<Self, UsersError> {
        let UserSpec {
            name,
            rights,
            password,
            keys,
            functions,
        } = spec;
        let parse = |glob: &String, what| {
            Glob::parse(glob.as_bytes()).map_err(|source| UsersError::Glob {
                user: name.clone(),
                what,
                glob: glob.clone(),
                source,
            })
        };
        let mut key_rules = if keys.is_empty() {
            KeyRules::all()
        } else {
            KeyRules::default()
        };
        for glob in keys {
            parse(glob, "keys")?;
            key_rules.add(glob, true, true);
        }
        let functions = functions
            .iter()
            .map(|glob| Ok((parse(glob, "functions")?, glob.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.as_str().into(),
            enabled: true,
            no_password: false,
            passwords: vec![password.clone()],
            commands: UserCommands::Rights(*rights),
            keys: key_rules,
            functions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{SLOW_LOGINS_MAX, TooManyLogins, User, UserDirectory, Users};
    use crate::config::{Config, PasswordHash, Right};

    fn users(text: &str) -> Users {
        let config = Config::parse("ferrite.toml".as_ref(), text).expect("right");
        Users::new(&config.server).expect("users that go together")
    }

    #[test]
    fn without_users_everybody_may_do_everything() {
        let users = users("");
        assert!(users.unnamed().is_some_and(|user| user.is_unrestricted()));
        assert!(users.authenticate(b"default", b"anything").is_some());
        assert!(users.authenticate(b"somebody", b"anything").is_none());
    }

    #[test]
    fn a_password_is_asked_for() {
        let users = users("[server]\npassword = \"s3cret\"");
        assert!(users.unnamed().is_none());
        assert!(users.authenticate(b"default", b"s3cret").is_some());
        for (name, password) in [
            (&b"default"[..], &b""[..]),
            (b"default", b"s3cret "),
            (b"Default", b"s3cret"),
            (b"", b"s3cret"),
            (b"\xff", b"s3cret"),
        ] {
            assert!(users.authenticate(name, password).is_none());
        }
    }

    #[test]
    fn named_users_leave_no_default() {
        let users = users(
            "[server]\nusers = [\"app may=read+call password=x functions=rate_* keys=app:*+ref:*\"]",
        );
        assert!(users.unnamed().is_none());
        assert!(users.authenticate(b"default", b"").is_none());
        let app = users
            .authenticate(b"app", b"x")
            .expect("the right password");
        assert!(app.may(Right::Call) && !app.may(Right::Write) && !app.is_unrestricted());
        assert!(app.may_use(b"rate_limit") && !app.may_use(b"other"));
        assert!(app.keys.allow(b"ref:1", true, true) && !app.keys.allow(b"x", true, false));
    }

    #[test]
    fn users_that_contradict_each_other_are_refused() {
        for text in [
            "[server]\npassword = \"x\"\nusers = [\"default may=all password=x\"]",
            "[server]\nusers = [\"a may=call password=x functions=[\"]",
            "[server]\nusers = [\"a may=call password=x keys=[\"]",
        ] {
            let config = Config::parse("ferrite.toml".as_ref(), text).expect("right");
            assert!(Users::new(&config.server).is_err(), "{text}");
        }
    }

    #[test]
    fn few_logins_wait_for_a_slow_check() {
        let slow = PasswordHash::slow(b"s3cret").expect("memory");
        let text = format!("[server]\npassword = \"{slow}\"");
        let directory = UserDirectory::new(users(&text));
        let waiting: Vec<_> = (0..SLOW_LOGINS_MAX)
            .map(|_| directory.slow_checks.enter())
            .collect();
        assert!(waiting.iter().all(Result::is_ok));
        let log_in = || directory.authenticate(b"default", b"s3cret", |check| check());
        assert_eq!(log_in().map(|user| user.is_some()), Err(TooManyLogins));
        drop(waiting);
        assert_eq!(log_in().map(|user| user.is_some()), Ok(true));
    }

    #[test]
    fn a_slow_check_is_made_once_and_again_after_a_change() {
        let slow = PasswordHash::slow(b"s3cret").expect("memory");
        let text = format!("[server]\npassword = \"{slow}\"");
        let directory = UserDirectory::new(users(&text));
        let mut checks = 0;
        let mut log_in = |password: &[u8]| {
            let slowly = |check: &mut dyn FnMut()| {
                checks += 1;
                check();
            };
            let user = directory.authenticate(b"default", password, slowly);
            (user.expect("nobody else logs in").is_some(), checks)
        };
        assert_eq!(log_in(b"wrong"), (false, 1));
        assert_eq!(log_in(b"s3cret"), (true, 2));
        assert_eq!(log_in(b"s3cret"), (true, 2));
        assert_eq!(log_in(b"wrong"), (false, 3));
        directory.change(|users| users.put(User::powerless("other")));
        assert_eq!(log_in(b"s3cret"), (true, 4));
        directory.change(|users| assert!(users.remove("default")));
        assert!(!log_in(b"s3cret").0);
    }
}
