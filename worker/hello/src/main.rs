//! `hello`: the program of the built-in image.
//!
//! Without arguments it is an HTTP server that says who it is and who asked. Its other words serve tests and
//! tours: they ask, resolve, sleep, end, allocate and print. It needs no file of its image but itself.

mod addresses;
mod names;
mod request;
mod server;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

const USAGE: &str = "usage: hello [serve] [PORT] | get URL | resolve NAME | sleep SECONDS | \
                     exit CODE | alloc BYTES | print LINES";

/// Port when neither an argument nor PORT in the environment says otherwise.
const PORT: u16 = 80;

fn main() -> ExitCode {
    signals::end_on_request();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(io::stderr(), "hello: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<u8, String> {
    match words {
        [] | ["serve"] => server::serve(port_from_environment()?)?,
        ["serve", port] => server::serve(number(port)?)?,
        ["get", url] => show(&request::get(url)?)?,
        ["resolve", name] => {
            let found = names::resolve(name)?;
            let lines: String = found.iter().map(|address| format!("{address}\n")).collect();
            show(lines.as_bytes())?;
        }
        ["sleep", seconds] => wait(Duration::from_secs(number(seconds)?)),
        ["exit", code] => return number(code),
        ["alloc", bytes] => allocate(number(bytes)?)?,
        ["print", lines] => print(number(lines)?)?,
        [port] if port.bytes().all(|byte| byte.is_ascii_digit()) => server::serve(number(port)?)?,
        _ => return Err(USAGE.to_owned()),
    }
    Ok(0)
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| format!("\"{text}\" is not a number that fits; {USAGE}"))
}

fn port_from_environment() -> Result<u16, String> {
    std::env::var("PORT").map_or(Ok(PORT), |port| number(&port))
}

fn show(bytes: &[u8]) -> Result<(), String> {
    let mut output = io::stdout().lock();
    output
        .write_all(bytes)
        .and_then(|()| output.flush())
        .map_err(|error| format!("cannot print: {error}"))
}

fn wait(time: Duration) {
    let (sender, receiver) = mpsc::channel::<()>();
    // Nothing is ever sent: it ends with the time.
    let _ = receiver.recv_timeout(time);
    drop(sender);
}

/// Takes memory and writes to each page of it, as a program would that needs it.
fn allocate(bytes: usize) -> Result<(), String> {
    let mut memory: Vec<u8> = Vec::new();
    memory
        .try_reserve_exact(bytes)
        .map_err(|error| format!("cannot allocate {bytes} bytes: {error}"))?;
    memory.resize(bytes, 1);
    let written = std::hint::black_box(&memory)
        .iter()
        .filter(|byte| **byte == 1)
        .count();
    show(format!("allocated: {written}\n").as_bytes())
}

fn print(lines: u64) -> Result<(), String> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    (1..=lines)
        .try_for_each(|line| writeln!(output, "line {line}"))
        .and_then(|()| output.flush())
        .map_err(|error| format!("cannot print: {error}"))
}
