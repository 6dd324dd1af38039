//! The rules. Each takes a path from the root and the file's text, and says what is wrong.

/// A rule.
pub type Rule = fn(&str, &str) -> Vec<String>;

/// All of them.
pub const ALL: [Rule; 9] = [
    is_short,
    opens_with_its_purpose,
    pure_stays_pure,
    uses_our_words,
    wire_types_stop_at_the_door,
    rooms_do_not_know_each_other,
    crates_take_the_lints,
    nothing_is_silenced,
    unsafe_is_named,
];

const LONGEST: usize = 500;

/// Rooms that are pure whether they say so or not; a file elsewhere is when its module comment ends a
/// sentence "Pure."
const PURE: [&str; 9] = [
    "manager/src/state/",
    "manager/src/plan/",
    "manager/src/dispatch/assign",
    "worker/src/step.rs",
    "proto/src/validate",
    "proto/src/constraint.rs",
    "netd/src/plan.rs",
    "netd/src/rules",
    "netd/src/names.rs",
];

/// What asks the outside world, or gives another order in each run.
const IMPURE: [&str; 15] = [
    "tokio",
    "Instant",
    "rand",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "thread",
    "Mutex",
    "RwLock",
    "HashMap",
    "HashSet",
    "RandomState",
    "OnceLock",
];

/// It fills the types of oci-spec, some of which are hash maps and sets.
const OCI_TYPES: &str = "worker/src/exec/bundle.rs";

const FORBIDDEN: [&str; 9] = [
    "info", "data", "util", "utils", "helper", "helpers", "common", "handle", "handler",
];

/// Names that are not ours to choose: users know the option, or another crate's trait asks for it.
const GIVEN: [&str; 6] = [
    "data_root",
    "data_path",
    "connect_info",
    "ConnectInfo",
    "SnapshotData",
    "the_handler_reads",
];

/// Doors, where generated types are converted.
const DOORS: [&str; 12] = [
    "proto/",
    "manager/src/control",
    "manager/src/manager.rs",
    "manager/src/outside/",
    "manager/src/dispatch/",
    "manager/src/streams/",
    "manager/src/raft/",
    "manager/src/record/",
    "manager/src/ca/",
    "worker/src/",
    "cli/src/",
    "tests/",
];

/// Files that may hold `unsafe`: they speak to the kernel.
const KERNEL: [&str; 8] = [
    "cli/src/check/kernel.rs",
    "tests/bench/floor.rs",
    "worker/hello/src/",
    "worker/shim/src/kernel/",
    "worker/src/exec/cgroup/kernel.rs",
    "worker/src/exec/image/unpack/confine.rs",
    "worker/src/exec/image/unpack/tests.rs",
    "netd/src/kernel/",
];

fn starts_with_any(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/") || path.starts_with("tests/")
}

/// The code of a line: without what stands in quotes or behind `//`.
fn code(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, code(line)))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

fn is_short(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let long = is_rust(path) && lines > LONGEST;
    long.then(|| format!("{lines} lines; split it, {LONGEST} is the most"))
        .into_iter()
        .collect()
}

fn opens_with_its_purpose(path: &str, text: &str) -> Vec<String> {
    let first = text
        .lines()
        .find(|line| !line.starts_with("#![") && !line.trim().is_empty());
    let says = first.is_some_and(|line| line.starts_with("//!"));
    let silent = is_rust(path) && !is_test(path) && !says && !text.starts_with("#![");
    let told = "it does not open with what it does (//!)";
    silent.then(|| told.to_owned()).into_iter().collect()
}

fn is_pure(path: &str, text: &str) -> bool {
    let opening = text.lines().take_while(|line| line.starts_with("//!"));
    let mut sentences = opening.flat_map(|line| line.split_inclusive('.'));
    let says = sentences.any(|sentence| sentence.trim_start_matches("//!").trim() == "Pure.");
    says || starts_with_any(path, &PURE)
}

fn pure_stays_pure(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || is_test(path) || !is_pure(path, text) {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for (number, line) in numbered(text) {
        let reaches = [
            "std::fs",
            "std::env",
            "std::process",
            "std::os",
            "SystemTime::now",
        ];
        let reaches = reaches.into_iter().find(|what| line.contains(what));
        let given = |word: &str| path == OCI_TYPES && word.starts_with("Hash");
        let named = words(&line)
            .find(|word| IMPURE.contains(word) && !given(word))
            .or(reaches);
        wrong.extend(named.map(|word| format!("line {number}: a pure file names {word}")));
    }
    wrong
}

fn uses_our_words(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let stem = path
        .rsplit('/')
        .next()
        .unwrap_or(path)
        .split('.')
        .next()
        .unwrap_or(path);
    if is_rust(path) && forbidden(stem) {
        wrong.push("its name says nothing".to_owned());
    }
    if !is_rust(path) {
        return wrong;
    }
    for (number, line) in numbered(text) {
        let words: Vec<&str> = words(&line).collect();
        for pair in words.windows(2) {
            let [keyword, name] = pair else { continue };
            let defines = [
                "fn", "struct", "enum", "mod", "trait", "type", "const", "static",
            ];
            let verb = *keyword == "fn" && name.starts_with("process_");
            if defines.contains(keyword) && (forbidden(name) || verb) {
                wrong.push(format!("line {number}: \"{name}\" is none of our words"));
            }
        }
    }
    wrong
}

/// Whether one of the words that `name` is made of is forbidden.
fn forbidden(name: &str) -> bool {
    let constant = name.chars().all(|c| !c.is_lowercase());
    let mut name = if constant {
        name.to_lowercase()
    } else {
        name.to_owned()
    };
    for given in GIVEN {
        name = name.replace(given, "");
    }
    let mut split = String::new();
    let mut before = '_';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            split.push('_');
        }
        split.extend(c.to_lowercase());
        before = c;
    }
    split.split('_').any(|word| FORBIDDEN.contains(&word))
}

fn wire_types_stop_at_the_door(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || (starts_with_any(path, &DOORS) && !is_pure(path, text)) {
        return Vec::new();
    }
    let named = numbered(text).filter(|(_, line)| line.contains("wire::"));
    named
        .map(|(number, _)| format!("line {number}: a generated type outside a door"))
        .collect()
}

fn rooms_do_not_know_each_other(path: &str, text: &str) -> Vec<String> {
    let barred: &[&str] = match path.split('/').next() {
        Some("manager") => &["worker", "netd", "deploy", "cli"],
        Some("worker") => &["manager", "deploy", "cli"],
        Some("netd") => &["manager", "worker", "deploy", "cli"],
        Some("deploy") => &["manager", "worker", "cli"],
        Some("proto") => &["manager", "worker", "netd", "deploy", "cli"],
        _ => &[],
    };
    let mut wrong = Vec::new();
    for room in barred {
        let (krate, package) = (format!("skep_{room}"), format!("skep-{room}"));
        let known = if is_rust(path) {
            numbered(text).any(|(_, line)| words(&line).any(|word| word == krate))
        } else {
            text.lines().any(|line| line.starts_with(&package))
        };
        if known {
            wrong.push(format!("it knows {room}"));
        }
    }
    if is_rust(path) && !path.starts_with("manager/src/raft") {
        let known = numbered(text).any(|(_, line)| words(&line).any(|word| word == "openraft"));
        if known {
            wrong.push("openraft is known to manager/raft alone".to_owned());
        }
    }
    wrong
}

fn crates_take_the_lints(path: &str, text: &str) -> Vec<String> {
    let takes = text.contains("[lints]\nworkspace = true");
    let told = "it does not take the workspace's lints";
    (!is_rust(path) && !takes)
        .then(|| told.to_owned())
        .into_iter()
        .collect()
}

fn nothing_is_silenced(path: &str, text: &str) -> Vec<String> {
    let silences = ["#[allow(", "#![allow(", "#[ignore"];
    let mut wrong = Vec::new();
    for (number, line) in numbered(text).filter(|_| is_rust(path)) {
        let found = silences.iter().find(|silence| line.contains(**silence));
        wrong.extend(found.map(|what| format!("line {number}: {what} hides what is wrong")));
    }
    wrong
}

fn unsafe_is_named(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || starts_with_any(path, &KERNEL) {
        return Vec::new();
    }
    let uses = numbered(text).filter(|(_, line)| words(line).any(|word| word == "unsafe"));
    uses.map(|(number, _)| format!("line {number}: unsafe outside the named kernel files"))
        .collect()
}
