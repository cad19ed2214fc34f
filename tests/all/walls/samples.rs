//! Requests of every command that a server has, made from what it says of its arguments.

use ferrite_tests::{Client, Reply};

/// Most forms of one command.
const FORMS_MAX: usize = 40;

/// A word of a request.
#[derive(Clone, PartialEq)]
enum Word {
    Key,
    Text(String),
}

/// A command with the forms that its requests may have.
pub(super) struct Sample {
    /// Its name, and that of the subcommand.
    pub(super) name: Vec<String>,
    forms: Vec<Vec<Word>>,
}

impl Sample {
    /// Returns the command's requests with these keys; the last one stands for all further ones.
    pub(super) fn requests(&self, keys: &[&str]) -> Vec<Vec<String>> {
        let with_keys = |form: &Vec<Word>| {
            let mut keys = keys.iter();
            let mut key = "";
            let mut request = self.name.clone();
            for word in form {
                match word {
                    Word::Key => {
                        key = keys.next().copied().unwrap_or(key);
                        request.push(key.to_owned());
                    }
                    Word::Text(text) => request.push(text.clone()),
                }
            }
            request
        };
        self.forms.iter().map(with_keys).collect()
    }
}

/// Returns every command of a server, with those that have subcommands once for each.
pub(super) fn of_server(client: &mut Client) -> Vec<Sample> {
    let docs = client.call(&["COMMAND", "DOCS"]);
    let mut samples = Vec::new();
    for [name, doc] in pairs(&docs) {
        let name = name.text().expect("a command has a name").to_owned();
        let subcommands = doc.at("subcommands").map(pairs).unwrap_or_default();
        if subcommands.is_empty() {
            samples.push(Sample {
                forms: forms_of(doc),
                name: vec![name],
            });
            continue;
        }
        for [whole, doc] in subcommands {
            let whole = whole.text().expect("a subcommand has a name");
            let words = whole.split('|').map(str::to_owned);
            samples.push(Sample {
                forms: forms_of(doc),
                name: words.collect(),
            });
        }
    }
    samples.sort_by(|one, other| one.name.cmp(&other.name));
    samples
}

fn pairs(reply: &Reply) -> Vec<[&Reply; 2]> {
    let (pairs, _) = reply.elements().unwrap_or_default().as_chunks::<2>();
    pairs.iter().map(|[one, other]| [one, other]).collect()
}

fn forms_of(doc: &Reply) -> Vec<Vec<Word>> {
    let arguments = doc.at("arguments").and_then(Reply::elements);
    let mut forms = sequence(arguments.unwrap_or_default());
    forms.truncate(FORMS_MAX);
    forms
}

/// The first form has only what is required; each further one differs from it in one argument.
fn sequence(arguments: &[Reply]) -> Vec<Vec<Word>> {
    let alternatives: Vec<Vec<Vec<Word>>> = arguments.iter().map(forms_of_argument).collect();
    let joined = |changed: usize, form: &Vec<Word>| -> Vec<Word> {
        let words = alternatives.iter().enumerate();
        words
            .flat_map(|(index, forms)| if index == changed { form } else { &forms[0] })
            .cloned()
            .collect()
    };
    let none = Vec::new();
    let mut forms = vec![joined(usize::MAX, &none)];
    for (index, others) in alternatives.iter().enumerate() {
        forms.extend(others[1..].iter().map(|form| joined(index, form)));
    }
    forms
}

fn forms_of_argument(argument: &Reply) -> Vec<Vec<Word>> {
    let text = |field: &str| argument.at(field).and_then(Reply::text).unwrap_or_default();
    let has_flag = |flag: &str| {
        let flags = argument.at("flags").and_then(Reply::elements);
        flags
            .unwrap_or_default()
            .iter()
            .any(|one| one.text() == Some(flag))
    };
    let inner = argument.at("arguments").and_then(Reply::elements);
    let mut forms = match text("type") {
        "oneof" => inner
            .unwrap_or_default()
            .iter()
            .flat_map(forms_of_argument)
            .collect(),
        "block" => sequence(inner.unwrap_or_default()),
        "pure-token" => vec![Vec::new()],
        "key" => vec![vec![Word::Key]],
        kind => vec![vec![Word::Text(value(kind, text("name")).to_owned())]],
    };
    if !text("token").is_empty() {
        let token = Word::Text(text("token").to_owned());
        for form in &mut forms {
            form.insert(0, token.clone());
        }
    }
    if has_flag("optional") {
        forms.insert(0, Vec::new());
    }
    forms
}

/// Returns a value that a command takes for an argument of this type and name.
fn value(kind: &str, name: &str) -> &'static str {
    match (kind, name) {
        ("unix-time", name) if name.contains("milli") => "4102444800000",
        ("unix-time", _) => "4102444800",
        ("pattern", _) => "*",
        (_, "cursor" | "start" | "offset" | "minidle" | "min-idle-time" | "index") => "0",
        (_, "stop") => "-1",
        (_, "min") => "-",
        (_, "max") => "+",
        (_, "seconds" | "milliseconds") => "1000",
        (_, "destination-db" | "db" | "index1") => "1",
        (_, "longitude" | "latitude" | "radius" | "width" | "height") => "10",
        (_, "encoding") => "u8",
        (_, "field") => "f",
        (_, "member" | "member1" | "member2" | "element" | "pivot") => "m",
        (_, "group" | "groupname") => "g",
        (_, "consumer" | "consumername") => "c",
        (_, "id" | "last-id" | "start-id") => "1-1",
        ("double", "timeout") => "0.01",
        ("integer" | "double", _) => "1",
        _ => "v",
    }
}
