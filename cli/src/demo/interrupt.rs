//! Takes the demo's lab down when the user interrupts it. It ends the program itself: whatever the
//! demo is waiting for at that moment then needs not to know.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use skep_deploy::lab::{Lab, LabError, Roots};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output;

/// 128 and the number of SIGINT, as shells count.
const INTERRUPTED: i32 = 130;

static SEEN: AtomicBool = AtomicBool::new(false);
static ARMED: OnceLock<()> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP take the lab `name` down and end the program.
///
/// # Errors
/// When the system has no room for a thread or a signal handler.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread that would return the code may wait for what is being ended"
)]
pub fn arm(name: &'static str) -> anyhow::Result<()> {
    if ARMED.set(()).is_err() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("listen for interrupts")?;
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let entered = runtime.enter();
    let mut signals = kinds
        .map(signal)
        .into_iter()
        .collect::<Result<Vec<Signal>, _>>()
        .context("listen for interrupts")?;
    drop(entered);
    std::thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || {
            runtime.block_on(async {
                let all = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
                futures_util::future::select_all(all).await
            });
            SEEN.store(true, Ordering::SeqCst);
            std::process::exit(end(name));
        })
        .context("listen for interrupts")?;
    Ok(())
}

/// Does not come back if an interrupt was seen: what failed since failed because of it.
pub fn give_way() {
    while SEEN.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

fn end(name: &str) -> i32 {
    output::notice("\nInterrupted: taking the machines down…");
    match Lab::down_in(&Roots::default(), name) {
        Ok(()) | Err(LabError::NoLab { .. }) => output::notice("Nothing is left."),
        Err(error) => output::notice(&format!("Error: {error}")),
    }
    INTERRUPTED
}
