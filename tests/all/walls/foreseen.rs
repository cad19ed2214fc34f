//! The module's table of costs beside what the servers say of their commands.

#[path = "../../../valkey/src/transaction/cost/shape.rs"]
#[allow(dead_code, reason = "shared with the module, which needs more of it")]
mod shape;

use ferrite_tests::{EngineKind, Reply};

use shape::Shape;

/// Words in which a command's complexity says that it depends on its arguments alone.
const BY_ARGUMENTS: [&str; 10] = [
    "number of keys to check",
    "number of keys to set",
    "number of keys that will be touched",
    "number of provided keys",
    "number of specified fields",
    "number of fields being",
    "number of fields to be",
    "number of members being requested",
    "number of members requested",
    "number of elements being checked",
];

/// Commands that list names, which are charged while they run, and others that need a reason.
const OTHERS: [(&str, &str); 5] = [
    ("keys", "charged by the name"),
    ("clusterscan", "charged by the name"),
    (
        "restore",
        "refused unless it is named; its payload is an argument",
    ),
    ("lolwut", "looks at no data"),
    ("srem", "removes what its arguments name"),
];

fn depends_on_arguments(complexity: &str) -> bool {
    complexity.starts_with("O(1)")
        || complexity.starts_with("O(log(N))")
        || complexity.starts_with("O(log N)")
        || complexity.starts_with("O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed")
        || BY_ARGUMENTS.iter().any(|words| complexity.contains(words))
}

fn pairs(reply: &Reply) -> &[[Reply; 2]] {
    reply.elements().unwrap_or_default().as_chunks::<2>().0
}

#[test]
fn a_command_is_taken_for_cheap_only_if_the_server_says_so() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let docs = engine.client().call(&["COMMAND", "DOCS"]);
        let mut all = Vec::new();
        for [name, doc] in pairs(&docs) {
            all.push((name, doc));
            let subcommands = doc.at("subcommands").map(pairs).unwrap_or_default();
            all.extend(subcommands.iter().map(|[name, doc]| (name, doc)));
        }
        let mut flat = 0;
        for (name, doc) in all {
            let name = name.text().expect("a name");
            if Shape::of(name.as_bytes()) != Shape::Flat {
                continue;
            }
            flat += 1;
            let complexity = doc
                .at("complexity")
                .and_then(Reply::text)
                .unwrap_or_default();
            let is_known = OTHERS.iter().any(|(other, _)| *other == name);
            assert!(
                is_known || depends_on_arguments(complexity),
                "{kind:?}: {name}: {complexity}"
            );
        }
        assert!(flat > 80, "{kind:?}: {flat}");
    }
}
