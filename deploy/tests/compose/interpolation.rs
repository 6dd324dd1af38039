//! Variables in files.

use crate::desk::Desk;

fn image(text: &str) -> Result<String, String> {
    let compose = format!("services: {{a: {{image: '{text}'}}}}");
    let desk = Desk::new(&compose)
        .variable("SET", "v")
        .variable("EMPTY", "")
        .variable("OTHER", "o");
    let wanted = desk.wanted()?;
    Ok(wanted.services[0].spec.task.container.image.name.clone())
}

#[test]
fn every_operator() {
    for (text, expected) in [
        ("x$SET", "xv"),
        ("x${SET}y", "xvy"),
        ("x$SET-y", "xv-y"),
        ("x${ABSENT}y", "xy"),
        ("${SET:-d}", "v"),
        ("${EMPTY:-d}", "d"),
        ("${ABSENT:-d}", "d"),
        ("${SET-d}", "v"),
        ("x${EMPTY-d}", "x"),
        ("${ABSENT-d}", "d"),
        ("${SET:?must}", "v"),
        ("x${EMPTY?must}", "x"),
        ("${SET:+a}", "a"),
        ("x${EMPTY:+a}", "x"),
        ("${EMPTY+a}", "a"),
        ("x${ABSENT+a}", "x"),
        ("x$$y", "x$y"),
        ("x$${SET}", "x${SET}"),
        ("${ABSENT:-${OTHER}}", "o"),
        ("${ABSENT:-a${EMPTY:-b${SET}}c}", "abvc"),
        ("${SET:-${ABSENT:?must}}", "v"),
        ("${ABSENT:-a:b/c-d}", "a:b/c-d"),
        ("${SET:+$OTHER-$$}", "o-$"),
    ] {
        assert_eq!(image(text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_written_wrongly_is_named_with_its_place() {
    for (text, expected) in [
        (
            "${EMPTY:?give a tag}",
            "compose.yaml:1:23: variable EMPTY: give a tag; set it",
        ),
        ("${ABSENT?}", "variable ABSENT: it must have a value"),
        ("${SET", "has no closing"),
        ("$", "no variable's name"),
        ("$1", "no variable's name"),
        ("${SET:=x}", "behind SET there may be"),
        ("${ABSENT:-${SET}", "has no closing"),
        ("${}", "no variable's name"),
    ] {
        let error = image(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn variables_come_from_a_file_beside_the_first_one() {
    let compose = "services: {a: {image: '$A-$B-$C'}}";
    let desk = Desk::new(compose)
        .file(".env", "A=file\nB=file\nC=${A}${B}\n")
        .variable("B", "outside");
    let image = |desk: &Desk| {
        let wanted = desk.wanted().unwrap();
        wanted.services[0].spec.task.container.image.name.clone()
    };
    assert_eq!(image(&desk), "file-outside-fileoutside");
    let mut named = desk.file("other.env", "A=other\nC=\n");
    named.env_files = vec!["other.env".into()];
    assert_eq!(image(&named), "other-outside-");
}

#[test]
fn a_variable_without_a_value_is_said_once() {
    let compose = "services: {a: {image: 'x$NO', hostname: 'h$NO'}}";
    let warnings = Desk::new(compose).project().unwrap().warnings;
    assert_eq!(
        warnings,
        ["variable NO is not set; an empty text stands for it"]
    );
}

#[test]
fn a_file_of_variables_says_where_it_is_wrong() {
    for (text, expected) in [
        ("A=1\n1B=2\n", "/project/.env:2:1: \"1B\" is not the name"),
        (
            "A='x\ny\n",
            "/project/.env:1:1: a value begins with ' and never ends",
        ),
        ("A='x' y\n", "stands behind the closing '"),
        ("A=${B\n", "has no closing"),
    ] {
        let desk = Desk::new("services: {a: {image: x}}").file(".env", text);
        let error = desk.project().unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
