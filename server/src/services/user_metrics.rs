//! The metrics of users that share the places of functions.

use crate::functions::Functions;
use crate::services::metrics_page::Page;

/// Most users that are shown: those with the most running calls.
const USERS_MAX: usize = 100;

/// Writes how many calls users have running, and how many calls their shares held up.
pub(super) fn write(runtime: &Functions, page: &mut Page) {
    page.single(
        "ferrite_user_calls_held_total",
        "counter",
        "Calls that waited, or were refused, because their user had its share.",
        runtime.calls_held_by_share(),
    );
    let mut users = runtime.user_calls();
    users.truncate(USERS_MAX);
    let name = "ferrite_user_running_calls";
    let help = "Calls that run, by user, where several share the places of functions.";
    page.head(name, "gauge", help);
    for (user, calls) in users {
        let labels = format!("{{user=\"{}\"}}", escaped(&user));
        page.sample(name, &labels, calls);
    }
}

/// Returns a text as the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn names_of_users_cannot_end_their_label() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
