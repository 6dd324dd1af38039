//! What a node has, what a task reserves, what a task may use.

/// Processor time and memory. Used for what a node has and for what a task reserves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resources {
    /// Processor time in billionths of a core.
    pub nano_cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
}

impl Resources {
    /// What is left after taking `taken`; never below nothing.
    #[must_use]
    pub fn less(self, taken: Self) -> Self {
        Self {
            nano_cpus: self.nano_cpus.saturating_sub(taken.nano_cpus),
            memory: self.memory.saturating_sub(taken.memory),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            nano_cpus: self.nano_cpus.saturating_add(other.nano_cpus),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    /// Whether `wanted` fits into this.
    pub fn holds(self, wanted: Self) -> bool {
        self.nano_cpus >= wanted.nano_cpus && self.memory >= wanted.memory
    }
}

/// The most a task may use; `None` means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Processor time in billionths of a core.
    pub nano_cpus: Option<u64>,
    /// Memory in bytes; a task over it is killed.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}
