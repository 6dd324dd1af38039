//! Short forms of what rules are written with.
//!
//! Pure.

use crate::nft::{Base, Edit, Expr, Header, Hook, Kind, Policy, Reg, Table, Test};

pub(super) fn load(header: Header, offset: u32, len: u32, to: Reg) -> Expr {
    Expr::Load {
        header,
        offset,
        len,
        to,
    }
}

/// Drops whatever table of this name is there and begins an empty one, within one batch.
pub(super) fn anew(table: Table) -> Vec<Edit> {
    vec![
        Edit::AddTable(table),
        Edit::DropTable(table),
        Edit::AddTable(table),
    ]
}

pub(super) fn base(kind: Kind, hook: Hook, priority: i32, policy: Policy) -> Option<Base> {
    Some(Base {
        kind,
        hook,
        priority,
        policy,
    })
}

pub(super) fn chain(table: Table, name: &str, base: Option<Base>) -> Edit {
    Edit::AddChain {
        table,
        name: name.to_owned(),
        base,
    }
}

pub(super) fn rule(table: Table, chain: &str, rule: Vec<Expr>) -> Edit {
    Edit::AddRule {
        table,
        chain: chain.to_owned(),
        rule,
    }
}

pub(super) fn equal(reg: Reg, with: &[u8]) -> Expr {
    Expr::Compare {
        reg,
        test: Test::Equal,
        with: with.to_vec(),
    }
}

pub(super) fn differs(reg: Reg, with: &[u8]) -> Expr {
    Expr::Compare {
        reg,
        test: Test::Differs,
        with: with.to_vec(),
    }
}

/// A device's name as the kernel compares it.
pub(super) fn device(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(name.bytes())
        .for_each(|(to, from)| *to = from);
    bytes
}
