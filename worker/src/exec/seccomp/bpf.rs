//! Classic BPF for seccomp: comparisons of 64-bit arguments, a tree of ranges, a head that tells
//! architectures apart.
//!
//! Every block ends in a return on all its paths, so blocks can be put one after another. Pure.

/// One instruction, as the kernel's `sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub if_true: u8,
    pub if_false: u8,
    pub value: u32,
}

pub const LOAD: u16 = 0x20;
pub const AND: u16 = 0x54;
pub const JUMP: u16 = 0x05;
pub const JUMP_EQUAL: u16 = 0x15;
pub const JUMP_GREATER: u16 = 0x25;
pub const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
pub const RETURN: u16 = 0x06;

/// Offsets in the kernel's `seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Jump targets that are not known yet.
const PASS: u8 = 254;
const FAIL: u8 = 255;

/// How an argument is compared, without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `(argument & mask) comparison value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub index: u32,
    pub comparison: Comparison,
    pub value: u64,
    pub mask: u64,
}

/// What becomes of a call: the first rule whose conditions are all met, or else the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    rules: Vec<(Vec<Condition>, u32)>,
    default: u32,
}

impl Leaf {
    /// The same for every call.
    pub fn of(ret: u32) -> Self {
        Self {
            rules: Vec::new(),
            default: ret,
        }
    }

    /// Adds a rule with its alternatives. One without conditions replaces all others.
    pub fn add(&mut self, alternatives: &[Vec<Condition>], ret: u32) {
        if self.is_settled() {
            return;
        }
        if alternatives.iter().any(Vec::is_empty) {
            self.rules = vec![(Vec::new(), ret)];
            return;
        }
        self.rules.extend(
            alternatives
                .iter()
                .map(|conditions| (conditions.clone(), ret)),
        );
    }

    fn is_settled(&self) -> bool {
        self.rules
            .iter()
            .any(|(conditions, _)| conditions.is_empty())
    }

    fn code(&self) -> Vec<Instruction> {
        let mut code = Vec::new();
        for (conditions, ret) in &self.rules {
            if conditions.is_empty() {
                code.push(give(*ret));
                return code;
            }
            code.extend(rule(conditions, *ret));
        }
        code.push(give(self.default));
        code
    }
}

impl Instruction {
    /// As the kernel reads it.
    pub fn bytes(&self) -> [u8; 8] {
        let (code, value) = (self.code.to_ne_bytes(), self.value.to_ne_bytes());
        let [low, high] = code;
        [
            low,
            high,
            self.if_true,
            self.if_false,
            value[0],
            value[1],
            value[2],
            value[3],
        ]
    }
}

fn plain(code: u16, value: u32) -> Instruction {
    Instruction {
        code,
        if_true: 0,
        if_false: 0,
        value,
    }
}

fn give(ret: u32) -> Instruction {
    plain(RETURN, ret)
}

fn branch(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code,
        if_true,
        if_false,
        value,
    }
}

/// All conditions, then the return; falls behind it when one is not met.
fn rule(conditions: &[Condition], ret: u32) -> Vec<Instruction> {
    let mut code = Vec::new();
    let ends: Vec<usize> = conditions
        .iter()
        .map(|one| {
            code.extend(condition(one));
            code.len()
        })
        .collect();
    let whole = code.len() + 1;
    for (index, instruction) in code.iter_mut().enumerate() {
        if instruction.code == LOAD || instruction.code == AND {
            continue;
        }
        let next = ends
            .iter()
            .copied()
            .find(|end| *end > index)
            .unwrap_or(whole);
        let resolve = |target: u8| {
            let to = match target {
                PASS => next,
                FAIL => whole,
                near => return near,
            };
            // At most six conditions of seven instructions: it fits by far.
            u8::try_from(to - index - 1).unwrap_or(u8::MAX)
        };
        instruction.if_true = resolve(instruction.if_true);
        instruction.if_false = resolve(instruction.if_false);
    }
    code.push(give(ret));
    code
}

fn condition(condition: &Condition) -> Vec<Instruction> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    let (high, low) = (half(condition.value >> 32), half(condition.value));
    let at = ARGUMENTS + 8 * condition.index;
    let load = |offset: u32, mask: u32| {
        let masked = (mask != u32::MAX).then(|| plain(AND, mask));
        [Some(plain(LOAD, offset)), masked].into_iter().flatten()
    };
    // What the high halves settle already, and what is left to the low ones.
    let (above, below) = match condition.comparison {
        Equal => (FAIL, FAIL),
        NotEqual => (PASS, PASS),
        Greater | GreaterOrEqual => (PASS, FAIL),
        Less | LessOrEqual => (FAIL, PASS),
    };
    let last = match condition.comparison {
        Equal => branch(JUMP_EQUAL, low, PASS, FAIL),
        NotEqual => branch(JUMP_EQUAL, low, FAIL, PASS),
        Greater => branch(JUMP_GREATER, low, PASS, FAIL),
        GreaterOrEqual => branch(JUMP_GREATER_OR_EQUAL, low, PASS, FAIL),
        Less => branch(JUMP_GREATER_OR_EQUAL, low, FAIL, PASS),
        LessOrEqual => branch(JUMP_GREATER, low, FAIL, PASS),
    };
    let mut code: Vec<_> = load(at + 4, half(condition.mask >> 32)).collect();
    if above == below {
        code.push(branch(JUMP_EQUAL, high, 0, above));
    } else {
        code.push(branch(JUMP_GREATER, high, above, 0));
        code.push(branch(JUMP_EQUAL, high, 0, below));
    }
    code.extend(load(at, half(condition.mask)));
    code.push(last);
    code
}

/// A balanced search for the range of the number in the accumulator.
pub fn search(ranges: &[(u32, Leaf)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![give(0)],
        [(_, leaf)] => leaf.code(),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let pivot = upper.first().map_or(0, |(from, _)| *from);
            let (lower, upper) = (search(lower), search(upper));
            let mut code = Vec::with_capacity(lower.len() + upper.len() + 2);
            if let Ok(distance) = u8::try_from(lower.len()) {
                code.push(branch(JUMP_GREATER_OR_EQUAL, pivot, distance, 0));
            } else {
                code.push(branch(JUMP_GREATER_OR_EQUAL, pivot, 0, 1));
                code.push(far(lower.len()));
            }
            code.extend(lower);
            code.extend(upper);
            code
        }
    }
}

fn far(distance: usize) -> Instruction {
    plain(JUMP, u32::try_from(distance).unwrap_or(u32::MAX))
}

/// The whole program: the code for the architecture of the call, each with the number loaded.
/// Architectures without code, and all others, end with `otherwise`.
pub fn by_architecture(known: &[(u32, Vec<Instruction>)], otherwise: u32) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for (architecture, code) in known.iter().filter(|(_, code)| !code.is_empty()) {
        program.push(branch(JUMP_EQUAL, *architecture, 1, 0));
        program.push(far(code.len() + 1));
        program.push(plain(LOAD, NUMBER));
        program.extend(code);
    }
    program.push(give(otherwise));
    program
}
