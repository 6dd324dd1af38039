//! Ids from a seed: whoever proposes gives the randomness. Pure.

use skep_proto::ids::{NetworkId, TaskId};

/// Makes ids from a seed. A leader seeds it once from the system's randomness, a simulation from its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ids {
    high: u64,
    low: u64,
}

impl Ids {
    /// Two makers with different seeds make different ids, for all practical purposes.
    pub const fn new(seed: u128) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = seed.to_be_bytes();
        Self {
            high: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// 128 bits for an id.
    pub fn next_bits(&mut self) -> u128 {
        self.high = self.high.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.low = self.low.wrapping_add(0xd1b5_4a32_d192_ed03);
        let (one, two) = (mix(self.high ^ self.low.rotate_left(32)), mix(self.low));
        (u128::from(one) << 64) | u128::from(two)
    }

    /// A new task's id.
    pub fn task(&mut self) -> TaskId {
        TaskId::new(self.next_bits())
    }

    /// A new network's id.
    pub fn network(&mut self) -> NetworkId {
        NetworkId::new(self.next_bits())
    }
}

/// The finalizer of Steele, Lea and Flood's `SplitMix64` (2014): every input bit reaches every output bit.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
