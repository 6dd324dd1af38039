//! Runs a further program to its end, as a health check wants it.

use super::process::{ExecPlan, Process, Reader};
use super::{Container, RuntimeError};
use std::time::Duration;

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// What a program that ran to its end, or too long, leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// Its exit code; none when it did not end in time and was killed.
    pub code: Option<i32>,
    /// The last of its output and errors, as they came.
    pub output: Vec<u8>,
}

impl Container {
    /// Runs a further program to its end and keeps the last `keep` bytes of what it writes. One that takes
    /// longer than `within` is killed.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub async fn run(
        &self,
        plan: &ExecPlan,
        within: Duration,
        keep: usize,
    ) -> Result<RunEnd, RuntimeError> {
        let mut process = self.exec(plan).await?;
        let mut tail = Tail::new(keep);
        let finished = async {
            process.drain(&mut tail).await;
            process.control.wait().await
        };
        let code = tokio::time::timeout(within, finished).await.ok();
        Ok(RunEnd {
            code: code.map(|end| end.code),
            output: tail.kept(),
        })
    }
}

impl Process {
    /// Reads output and errors to their end.
    async fn drain(&mut self, tail: &mut Tail) {
        let (mut output, mut errors) = (self.output.take(), self.errors.take());
        let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
        let control = self.control.clone();
        let mut lingers = std::pin::pin!(control.lingers());
        while output.is_some() || errors.is_some() {
            tokio::select! {
                count = read(&mut output, &mut one) => match count {
                    0 => output = None,
                    count => tail.push(one.get(..count).unwrap_or_default()),
                },
                count = read(&mut errors, &mut other) => match count {
                    0 => errors = None,
                    count => tail.push(other.get(..count).unwrap_or_default()),
                },
                // What it left running may hold the pipes for ever.
                () = &mut lingers => return,
            }
        }
    }
}

/// Reads once; 0 at the end and after an error, never if there is nothing to read from.
async fn read(from: &mut Option<Reader>, into: &mut [u8]) -> usize {
    use tokio::io::AsyncReadExt;
    match from {
        Some(pipe) => pipe.read(into).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// The last bytes of a text.
struct Tail {
    keep: usize,
    bytes: Vec<u8>,
}

impl Tail {
    fn new(keep: usize) -> Self {
        Self {
            keep,
            bytes: Vec::new(),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > self.keep.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.keep);
        self.bytes.drain(..surplus);
    }

    fn kept(mut self) -> Vec<u8> {
        self.cut();
        self.bytes
    }
}
