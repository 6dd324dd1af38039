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
