use super::*;

#[derive(Serialize)]
struct Row {
    id: String,
    error: String,
}

fn rows() -> Vec<Row> {
    vec![Row {
        id: "0123456789abcdef".into(),
        error: "x".repeat(70),
    }]
}

const COLUMNS: &[Column<Row>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("ERROR", |row, width| width.text(&row.error)),
];

#[test]
fn a_table_is_cut_and_has_no_lines() {
    let text = table(&rows(), COLUMNS, Width::Short);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("ID             ERROR"));
    assert_eq!(
        lines.next(),
        Some(format!("0123456789ab   {}…", "x".repeat(59)).as_str())
    );
}

#[test]
fn nothing_is_cut_when_the_whole_is_asked_for() {
    let text = table(&rows(), COLUMNS, Width::Whole);
    assert!(text.contains(&"x".repeat(70)) && text.contains("0123456789abcdef"));
}

#[test]
fn an_outline_shows_what_is_there() {
    let value =
        serde_json::json!({"name": "web", "empty": null, "spec": {"ports": [80], "none": []}});
    let mut text = String::new();
    outline(&value, 0, &mut text);
    assert_eq!(text, "name: web\nspec:\n  ports:\n    80\n");
}

fn list_args(format: &str, filter: &[&str]) -> ListArgs {
    ListArgs {
        format: format.parse().expect("a format"),
        filter: filter.iter().map(ToString::to_string).collect(),
        quiet: false,
        no_trunc: true,
    }
}

#[derive(Serialize)]
struct Node {
    id: String,
    name: String,
    desired: String,
    labels: std::collections::BTreeMap<String, String>,
}

fn nodes() -> Vec<Node> {
    let node = |id: &str, name: &str, desired: &str, tier: &str| Node {
        id: id.into(),
        name: name.into(),
        desired: desired.into(),
        labels: [("tier".to_owned(), tier.to_owned())].into(),
    };
    vec![
        node("aaa", "web-1", "running", "front"),
        node("bbb", "web-2", "shutdown", "front"),
        node("abc", "db", "running", ""),
    ]
}

const NODES: &[Column<Node>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("HOST NAME", |row, _| row.name.clone()),
];

#[track_caller]
fn passes(filter: &[&str], expected: &[&str]) {
    let texts: Vec<String> = filter.iter().map(ToString::to_string).collect();
    let nodes = nodes();
    let passed = filter::pass(&nodes, &texts).expect("a filter");
    let names: Vec<&str> = passed.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, expected, "{filter:?}");
}

#[test]
fn filters_of_one_key_are_alternatives_and_all_keys_hold() {
    passes(&[], &["web-1", "web-2", "db"]);
    passes(&["name=web"], &["web-1", "web-2"]);
    passes(&["name=web-1", "name=db"], &["web-1", "db"]);
    passes(&["id=a", "name=web"], &["web-1"]);
    passes(&["desired-state=Running", "label=tier=front"], &["web-1"]);
    passes(&["label=tier"], &["web-1", "web-2", "db"]);
    passes(&["label=none"], &[]);
}

#[test]
fn a_filter_that_a_list_has_not_is_refused_with_those_it_has() {
    for (text, words) in [
        (
            "driver=overlay",
            "filtered by id, name, label, node.label, desired-state",
        ),
        ("name", "expected KEY=VALUE"),
    ] {
        let error = filter::pass(&nodes(), &[text.into()]).err().expect(text);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_table_of_a_template_has_headings_and_columns() {
    let Format::TableOf(template) =
        list_args(r"table {{.HostName}}\t{{.ID}}\t{{.Labels}}", &[]).format
    else {
        panic!("no table");
    };
    let nodes = nodes();
    let nodes: Vec<&Node> = nodes.iter().collect();
    let lines = lines_of(&nodes, NODES, &template, Width::Short).expect("lines");
    assert_eq!(
        aligned::aligned(&lines),
        "HOST NAME   ID        LABELS\nweb-1       aaa       map[tier:front]\n\
         web-2       bbb       map[tier:front]\ndb          abc       map[tier:]"
    );
    let none = lines_of(&[], NODES, &template, Width::Short).expect("lines");
    assert_eq!(none, [""]);
}

#[test]
fn a_format_is_read() {
    assert_eq!("json".parse(), Ok(Format::Json));
    assert_eq!("table".parse(), Ok(Format::Table));
    let error = "jsn".parse::<Format>().expect_err("jsn");
    assert!(
        error.to_string().contains("a template such as {{.ID}}"),
        "{error}"
    );
    let error = "{{.ID".parse::<Format>().expect_err("open");
    assert_eq!((error.line, error.column), (1, 3));
}

#[test]
fn docker_fields_stand_beside_our_own() {
    #[derive(Serialize)]
    struct Sheet {
        id: &'static str,
        limit_memory: u64,
    }
    let sheet = Sheet {
        id: "x",
        limit_memory: 5,
    };
    let docker = serde_json::json!({"ID": "x", "Spec": {"Name": "web"}});
    let fields = fields::with(&docker, &sheet).expect("fields");
    assert_eq!(
        fields,
        serde_json::json!({"ID": "x", "LimitMemory": 5, "Spec": {"Name": "web"}})
    );
}
