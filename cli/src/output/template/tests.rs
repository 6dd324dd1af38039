use serde_json::{Value, json};

use super::*;

fn dot() -> Value {
    json!({
        "ID": "abcdefghijklmno",
        "Name": "web",
        "Replicas": 3,
        "Ratio": 0.5,
        "Ports": ["80", "443"],
        "Empty": [],
        "Up": true,
        "Labels": {"tier": "front", "zone": "a"},
        "Spec": {"Name": "web", "Image": "nginx:1.25", "Labels": {"a.b/c": "x"}},
        "Tasks": [{"Slot": 1, "State": "running"}, {"Slot": 2, "State": "failed"}],
    })
}

#[track_caller]
fn check(template: &str, expected: &str) {
    let made = Template::read(template).and_then(|template| template.run(&dot()));
    assert_eq!(made.as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn refuses(template: &str, place: (usize, usize), words: &str) {
    let error = Template::read(template)
        .and_then(|template| template.run(&dot()))
        .expect_err(template);
    assert_eq!((error.line, error.column), place, "{template}: {error}");
    assert!(error.message.contains(words), "{template}: {error}");
}

#[test]
fn fields_are_taken_by_name() {
    check("plain", "plain");
    check("{{.Name}}: {{ .Spec.Image }}", "web: nginx:1.25");
    check("{{(.Spec).Name}}", "web");
    check(
        "{{$.Name}} {{.}}x",
        &format!("web {}x", functions::shown(&dot())),
    );
    check(
        "{{.Ports}} {{.Ratio}} {{.Up}} {{.Labels}}",
        "[80 443] 0.5 true map[tier:front zone:a]",
    );
    check(
        "{{.Labels.none}}{{.Label \"tier\"}}{{.Label \"none\"}}",
        "<no value>front",
    );
    check(
        "{{index .Spec.Labels \"a.b/c\"}} {{index .Ports 1}} {{index .Tasks 1 \"State\"}}",
        "x 443 failed",
    );
}

#[test]
fn space_is_trimmed_and_comments_are_left_out() {
    check("a {{- .Name -}} b", "awebb");
    check("a {{/* nothing */}} b", "a  b");
    check("a {{- /* nothing */ -}} b", "ab");
    check("{{3 -}} x {{- -3}}", "3x-3");
}

#[test]
fn literals_are_read_as_go_writes_them() {
    check(
        r#"{{"a\t\"b\" \u00e9\x21"}} {{`raw\n`}}"#,
        "a\t\"b\" \u{e9}! raw\\n",
    );
    check(
        "{{'a'}} {{0x10}} {{1_000}} {{1.5e3}} {{-7}} {{true}}",
        "97 16 1000 1500 -7 true",
    );
    check("{{1e-7}} {{1e21}}", "1e-07 1e+21");
}

#[test]
fn pipelines_pass_the_last_argument_on() {
    check("{{.Name | upper | printf \"%s-%s\" \"x\"}}", "x-WEB");
    check(
        "{{.Replicas | eq 3}} {{len .Ports | printf \"%03d\"}}",
        "true 002",
    );
    check(
        "{{join .Ports \", \"}}|{{json .Ports}}|{{.Labels | json}}",
        r#"80, 443|["80","443"]|{"tier":"front","zone":"a"}"#,
    );
    check(
        "{{split .Spec.Image \":\"}} {{title \"a small hive\"}} {{lower \"ABC\"}}",
        "[nginx 1.25] A Small Hive abc",
    );
    check(
        "{{truncate .ID 5}}|{{pad .Name 1 2}}|{{println .Name 1}}{{print 1 2 \"a\" 3}}",
        "abcde| web  |web 1\n1 2a3",
    );
    check("{{slice .ID 2 4}} {{slice .Ports 1}}", "cd [443]");
}

#[test]
fn printf_shapes_what_it_shows() {
    check(
        r#"{{printf "%5s|%-5s|%05d|%+d|%.2f|%q|%t|%x|%v|%%" "a" "b" 42 7 1.005 "q" true 255 .Ports}}"#,
        "    a|b    |00042|+7|1.00|\"q\"|true|ff|[80 443]|%",
    );
}

#[test]
fn conditions_choose() {
    check("{{if .Up}}up{{else}}down{{end}}", "up");
    check(
        "{{if .Empty}}some{{else if eq .Replicas 3}}three{{else}}none{{end}}",
        "three",
    );
    check(
        "{{if and .Up (not .Empty) (gt .Replicas 2)}}yes{{end}}",
        "yes",
    );
    check(
        "{{or .Empty \"other\"}} {{and .Up 0}} {{eq .Name \"a\" \"web\"}}",
        "other 0 true",
    );
    // The second is not looked at.
    check("{{if or .Up (index .Ports 9)}}x{{end}}", "x");
    check(
        "{{ne .Name \"a\"}} {{lt 1 2}} {{le 2.0 2}} {{ge \"b\" \"a\"}}",
        "true true true true",
    );
    check(
        "{{with .Spec}}{{.Name}}{{end}}{{with .Empty}}x{{else}}empty{{end}}",
        "webempty",
    );
}

#[test]
fn ranges_go_over_lists_and_maps() {
    check(
        "{{range .Tasks}}{{.Slot}}={{.State}};{{end}}",
        "1=running;2=failed;",
    );
    check(
        "{{range $i, $p := .Ports}}{{$i}}:{{$p}} {{end}}",
        "0:80 1:443 ",
    );
    check(
        "{{range $k, $v := .Labels}}{{$k}}={{$v}},{{end}}",
        "tier=front,zone=a,",
    );
    check("{{range .Empty}}x{{else}}none{{end}}", "none");
    check(
        "{{range .Tasks}}{{if eq .Slot 2}}{{break}}{{end}}{{.Slot}}{{end}}",
        "1",
    );
    check(
        "{{range .Tasks}}{{if eq .Slot 1}}{{continue}}{{end}}{{.Slot}}{{end}}",
        "2",
    );
    check(
        "{{$n := 0}}{{range .Tasks}}{{$n = .Slot}}{{end}}{{$n}}",
        "2",
    );
    check(
        "{{range .Ports}}{{$.Name}}:{{.}} {{end}}",
        "web:80 web:443 ",
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    refuses(
        "{{.Nmae}}",
        (1, 3),
        "there is no field .Nmae; there are .Empty, .ID",
    );
    refuses("a\n  {{.Spec.Nothing}}", (2, 5), "no field .Nothing");
    refuses("{{.Name", (1, 3), "}} is missing");
    refuses("{{.Name.First}}", (1, 3), "cannot take .First of a string");
    refuses(
        "{{jsn .}}",
        (1, 3),
        "there is no function \"jsn\"; there are and, eq",
    );
    refuses("{{if .Up}}x", (1, 12), "{{end}} is missing");
    refuses("x{{end}}", (1, 7), "{{end}} has nothing to end");
    refuses("{{range .Name}}{{end}}", (1, 9), "expected a list or a map");
    refuses("{{break}}", (1, 3), "outside {{range}}");
    refuses("{{$x}}", (1, 3), "$x has not been set");
    refuses("{{\"abc}}", (1, 3), "\" is missing");
    refuses("{{index .Ports 9}}", (1, 3), "the list has 2 elements");
    refuses(
        "{{lt .Name 1}}",
        (1, 3),
        "cannot compare a string with a number",
    );
    refuses("{{template \"x\"}}", (1, 3), "not supported");
    refuses("{{}}", (1, 3), "expected a value");
    refuses("{{.Name .ID}}", (1, 3), "takes no arguments");
    refuses(
        "{{printf \"%d\" .Name}}",
        (1, 3),
        "%d does not take a string",
    );
}

#[test]
fn a_template_as_deep_as_a_well_is_refused() {
    let deep = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    let error = Template::read(&deep).expect_err("deep");
    assert!(error.message.contains("deep"), "{error}");
}
