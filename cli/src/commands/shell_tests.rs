use std::process::Command;

use super::*;

/// What bash offers for the last word of `line`.
fn completed(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let (last, before) = words.split_last().unwrap();
    let asked = format!(
        "source \"$1\" || exit 9\nCOMP_WORDS=({}{})\nCOMP_CWORD={}\n_skep skep '{last}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        before.join(" "),
        format_args!(" '{last}'"),
        before.len(),
        before.last().unwrap(),
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("skep.bash");
    fs::write(&path, script(Shell::Bash)).unwrap();
    let out = Command::new("bash")
        .args(["--norc", "-c", &asked, "bash"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(completed("skep serv"), ["service"]);
    assert_eq!(completed("skep service rollb"), ["rollback"]);
    assert_eq!(
        completed("skep service update --update-par"),
        ["--update-parallelism"]
    );
    assert_eq!(completed("skep completion z"), ["zsh"]);
}

#[test]
fn the_other_shells_get_a_script_of_their_own() {
    let zsh = String::from_utf8(script(Shell::Zsh)).unwrap();
    assert!(zsh.starts_with("#compdef skep"), "{}", &zsh[..60]);
    let fish = String::from_utf8(script(Shell::Fish)).unwrap();
    assert!(fish.contains("complete -c skep "));
    for script in [zsh, fish] {
        assert!(script.contains("rollback") && script.contains("update-parallelism"));
    }
}

/// The page of each command below `command`, as `man` would look for it.
fn wanted(command: &clap::Command, path: &str, into: &mut Vec<String>) {
    into.push(format!("{path}.1"));
    for each in command.get_subcommands().filter(|each| !each.is_hide_set()) {
        wanted(each, &format!("{path}-{}", each.get_name()), into);
    }
}

#[test]
fn every_command_has_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("man/man1");
    pages(&below).unwrap();
    let mut names = Vec::new();
    wanted(&Cli::command(), "skep", &mut names);
    assert!(names.len() > 60, "{names:?}");
    for name in &names {
        let page = fs::read_to_string(below.join(name)).unwrap_or_default();
        let title = name.trim_end_matches(".1");
        assert!(page.contains(".SH NAME"), "{name} is no manual page");
        assert!(
            page.contains(&title.replace('-', "\\-")),
            "{name} is not of {title}"
        );
    }
    assert_eq!(fs::read_dir(&below).unwrap().count(), names.len());
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let error = pages(Path::new("/proc/skep-man")).unwrap_err();
    assert!(format!("{error:#}").contains("/proc/skep-man"));
}
