//! The part of nftables that netd speaks, in values: tables, chains, maps, rules and their expressions.
//!
//! Pure. `kernel::nft` puts it on the wire; nothing here knows netlink.

#![expect(missing_docs, reason = "the names of the parts say it")]

/// A table: the unit netd owns whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    pub family: Family,
    pub name: &'static str,
}

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ip,
    Bridge,
    Netdev,
    /// IPv4 and IPv6.
    Inet,
}

/// One change in a batch; a batch happens whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Makes the table, or leaves the one that is there.
    AddTable(Table),
    /// Makes a table that goes with the socket that made it, and that nobody else can change.
    HoldTable(Table),
    /// Drops the table, which must be there.
    DropTable(Table),
    AddChain {
        table: Table,
        name: String,
        base: Option<Base>,
    },
    AddMap {
        table: Table,
        name: &'static str,
        key: Key,
        value: Value,
    },
    AddRule {
        table: Table,
        chain: String,
        rule: Vec<Expr>,
    },
    PutElement {
        table: Table,
        map: &'static str,
        key: Vec<u8>,
        value: Datum,
    },
    DropElement {
        table: Table,
        map: &'static str,
        key: Vec<u8>,
    },
}

/// What a map is looked up by. The order of the parts is the order of the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// address
    Address,
    /// address, number
    AddressSlot,
    /// protocol, port
    ProtocolPort,
    /// protocol, port, number
    ProtocolPortSlot,
}

/// What a map yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Verdict,
    Address,
    /// address, port
    AddressPort,
}

/// What one element of a map holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Datum {
    Bytes(Vec<u8>),
    Goto(String),
    Drop,
}

/// Where a chain hangs in the packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub kind: Kind,
    pub hook: Hook,
    pub priority: i32,
    pub policy: Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Filter,
    Nat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    /// Netdev tables only.
    Egress {
        device: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Accept,
    Drop,
}

/// A register of four bytes, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    Link,
    Network,
    Transport,
}

/// What the kernel knows of a packet beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    Mark,
    InterfaceIn,
    InterfaceOut,
    Protocol,
}

/// What connection tracking knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ct {
    Mark,
    /// Bits that say what was done to the connection.
    Status,
    /// The zone of the original direction only.
    OriginalZone,
}

/// Which address a route look-up asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Equal,
    Differs,
}

/// One step of a rule. A rule goes on to its next expression only while tests hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Bytes of the packet into registers.
    Load {
        header: Header,
        offset: u32,
        len: u32,
        to: Reg,
    },
    /// Registers into the packet; no checksum is touched.
    Store {
        header: Header,
        offset: u32,
        len: u32,
        from: Reg,
    },
    Meta {
        what: Meta,
        to: Reg,
    },
    SetMeta {
        what: Meta,
        from: Reg,
    },
    Ct {
        what: Ct,
        to: Reg,
    },
    SetCt {
        what: Ct,
        from: Reg,
    },
    /// The kind of address by the routing table (2 is local).
    AddressKind {
        of: Side,
        to: Reg,
    },
    Mask {
        reg: Reg,
        mask: Vec<u8>,
    },
    Compare {
        reg: Reg,
        test: Test,
        with: Vec<u8>,
    },
    /// A number below `modulus`, drawn anew for each connection.
    Random {
        modulus: u32,
        to: Reg,
    },
    /// Looks a key up in a map: the value into `to`.
    Lookup {
        map: &'static str,
        key: Reg,
        to: Reg,
    },
    /// Looks a key up in a map of verdicts and follows it.
    Follow {
        map: &'static str,
        key: Reg,
    },
    /// Rewrites the destination.
    Dnat {
        address: Reg,
        port: Option<Reg>,
    },
    /// Writes the address of the interface the packet leaves by as its source.
    Masquerade,
    /// Writes bytes given here into a register.
    Immediate {
        to: Reg,
        bytes: Vec<u8>,
    },
    Accept,
    Drop,
}
