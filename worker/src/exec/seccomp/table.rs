//! The numbers of system calls on x86_64 and its two other sides. Data and look-ups only.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Set in the number of a call made through the x32 ABI.
pub const X32_BIT: u32 = 0x4000_0000;

/// A way to call the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// 64 bits.
    X86_64,
    /// 32 bits.
    X86,
    /// 32-bit pointers in 64-bit registers.
    X32,
}

type Numbers = [Option<u32>; 3];

static CALLS: LazyLock<HashMap<&'static str, Numbers>> = LazyLock::new(|| {
    let lines = include_str!("calls.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?;
            let mut number = || words.next().and_then(|word| word.parse().ok());
            Some((name, [number(), number(), number()]))
        })
        .collect()
});

/// The numbers of a call on the given sides, with the bit of x32. None for an unknown name.
pub fn numbers(name: &str, sides: &[Side]) -> impl Iterator<Item = u32> {
    let known = CALLS.get(name).copied().unwrap_or_default();
    sides.iter().filter_map(move |side| number(known, *side))
}

/// One above the highest number that the table knows on a side, without the bit of x32.
pub fn first_unknown(side: Side) -> u32 {
    let all = CALLS.values().filter_map(|known| number(*known, side));
    all.map(|number| number & !X32_BIT)
        .max()
        .map_or(0, |last| last + 1)
}

fn number(known: Numbers, side: Side) -> Option<u32> {
    match side {
        Side::X86_64 => known[0],
        Side::X86 => known[1],
        Side::X32 => known[2].map(|number| number | X32_BIT),
    }
}
