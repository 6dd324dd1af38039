//! Which device nodes a container may use: rules for version 1, an eBPF program for version 2.
//!
//! Pure: files and system calls are in the other modules.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any node.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// One rule. Numbers that are `None` match any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// True to allow.
    pub allow: bool,
    /// What it is about.
    pub kind: Kind,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// A sum of `MKNOD`, `READ` and `WRITE`.
    pub access: u32,
}

/// Making the node.
pub const MKNOD: u32 = 1;
/// Opening it for reading.
pub const READ: u32 = 2;
/// Opening it for writing.
pub const WRITE: u32 = 4;

impl DeviceRule {
    /// The rule that an OCI bundle holds.
    #[must_use]
    pub fn from_oci(rule: &LinuxDeviceCgroup) -> Self {
        let kind = match rule.typ() {
            Some(LinuxDeviceType::B) => Kind::Block,
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Kind::Character,
            _ => Kind::All,
        };
        let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        let access = rule
            .access()
            .as_deref()
            .unwrap_or("rwm")
            .chars()
            .map(|letter| match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => 0,
            });
        Self {
            allow: rule.allow(),
            kind,
            major: number(rule.major()),
            minor: number(rule.minor()),
            access: access.fold(0, |all, one| all | one),
        }
    }

    /// True for "everything about every device".
    fn is_all(&self) -> bool {
        let any = self.major.is_none() && self.minor.is_none();
        self.kind == Kind::All && any && self.access == MKNOD | READ | WRITE
    }

    /// The file below a version 1 group and the line to write to it.
    #[must_use]
    pub fn legacy(&self) -> (&'static str, String) {
        let file = if self.allow {
            "devices.allow"
        } else {
            "devices.deny"
        };
        if self.is_all() {
            return (file, "a".to_owned());
        }
        let kind = match self.kind {
            Kind::All => 'a',
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |known| known.to_string());
        let letter = |bit, letter| if self.access & bit == 0 { "" } else { letter };
        let access = [letter(READ, "r"), letter(WRITE, "w"), letter(MKNOD, "m")].concat();
        (
            file,
            format!(
                "{kind} {}:{} {access}",
                number(self.major),
                number(self.minor)
            ),
        )
    }
}

/// Instructions of eight bytes for a program that answers 1 to allow: the last rule that matches
/// decides, and if none does, all is allowed unless some rule denies everything.
#[must_use]
pub fn program(rules: &[DeviceRule]) -> Vec<[u8; 8]> {
    // What stands before the last rule about everything can never decide.
    let cut = rules.iter().rposition(DeviceRule::is_all);
    let default = cut
        .and_then(|at| rules.get(at))
        .is_none_or(|rule| rule.allow);
    let rest = rules.get(cut.map_or(0, |at| at + 1)..).unwrap_or_default();
    // r2 = type, r3 = access, r4 = major, r5 = minor of the request.
    let mut code = vec![
        load_word(2, 0),
        move_register(3, 2),
        and(2, 0xffff),
        shift_right(3, 16),
        load_word(4, 4),
        load_word(5, 8),
    ];
    for rule in rest.iter().rev() {
        code.extend(match_rule(rule));
    }
    code.extend([move_value(0, i32::from(default)), exit()]);
    code
}

fn match_rule(rule: &DeviceRule) -> Vec<[u8; 8]> {
    let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut tests: Vec<Vec<[u8; 8]>> = Vec::new();
    let mut unequal = |register: u8, value: u32| {
        tests.push(vec![instruction(0x55, register, 0, 0, signed(value))]);
    };
    match rule.kind {
        Kind::All => {}
        Kind::Block => unequal(2, 1),
        Kind::Character => unequal(2, 2),
    }
    if let Some(major) = rule.major {
        unequal(4, major);
    }
    if let Some(minor) = rule.minor {
        unequal(5, minor);
    }
    // To allow, all that is asked must be in the rule; to deny, any of it.
    let mask = if rule.allow {
        !rule.access & 7
    } else {
        rule.access
    };
    let skip_if = if rule.allow { 0x55 } else { 0x15 };
    tests.push(vec![
        move_register(1, 3),
        and(1, signed(mask)),
        instruction(skip_if, 1, 0, 0, 0),
    ]);
    let mut code: Vec<_> = tests.concat();
    code.extend([move_value(0, i32::from(rule.allow)), exit()]);
    let length = code.len();
    for (index, line) in code.iter_mut().enumerate() {
        if line[0] == 0x55 || line[0] == 0x15 {
            let distance = i16::try_from(length - index - 1).unwrap_or(0);
            line[2..4].copy_from_slice(&distance.to_ne_bytes());
        }
    }
    code
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> [u8; 8] {
    let ([low, high], value) = (offset.to_ne_bytes(), value.to_ne_bytes());
    [
        code,
        from << 4 | to,
        low,
        high,
        value[0],
        value[1],
        value[2],
        value[3],
    ]
}

/// A word of the context, which is in register 1.
fn load_word(to: u8, offset: i16) -> [u8; 8] {
    instruction(0x61, to, 1, offset, 0)
}

fn move_register(to: u8, from: u8) -> [u8; 8] {
    instruction(0xbc, to, from, 0, 0)
}

fn move_value(to: u8, value: i32) -> [u8; 8] {
    instruction(0xb7, to, 0, 0, value)
}

fn and(register: u8, value: i32) -> [u8; 8] {
    instruction(0x54, register, 0, 0, value)
}

fn shift_right(register: u8, by: i32) -> [u8; 8] {
    instruction(0x74, register, 0, 0, by)
}

fn exit() -> [u8; 8] {
    instruction(0x95, 0, 0, 0, 0)
}
