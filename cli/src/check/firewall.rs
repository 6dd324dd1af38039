//! A firewall that drops what is forwarded: containers would have no way out, and published ports no way in.

use std::io;
use std::path::Path;

use bytes::BytesMut;
use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, HookNumber, InetHookNumber, NfTablesMessage, RuleAttribute,
    RuleMessage,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::Finding;

const CHECK: &str = "forwarding";
/// Interfaces of ours in the node's namespace begin so.
const OURS: &[u8] = b"skep";
/// The largest part of an answer that the kernel gives at once.
const ANSWER: usize = 64 * 1024;
/// Parts of an answer at most: some 100,000 rules.
const PARTS: usize = 10_000;
/// Where old iptables says which tables it has.
const LEGACY: &str = "/proc/net/ip_tables_names";

/// A chain that sees what is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) family: &'static str,
    pub(super) table: String,
    pub(super) name: String,
    /// What is not accepted by a rule is dropped.
    pub(super) drops: bool,
}

/// What the rules of this network namespace do to what is forwarded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) chains: Vec<Chain>,
    /// All chains' names, by table.
    pub(super) names: Vec<(String, String)>,
    /// Tables that have a rule for interfaces of ours.
    pub(super) ours: Vec<String>,
}

pub(super) fn finding() -> Finding {
    let legacy = std::fs::read_to_string(Path::new(LEGACY)).unwrap_or_default();
    judge(read(), legacy.lines().any(|table| table == "filter"))
}

/// `legacy` is whether old iptables has a filter.
pub(super) fn judge(rules: io::Result<Rules>, legacy: bool) -> Finding {
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => {
            let found = format!("the rules of nftables cannot be read: {error}");
            return Finding::degraded(CHECK, found, "look with: nft list ruleset");
        }
    };
    let shut = |chain: &&Chain| chain.drops && !rules.ours.contains(&chain.table);
    if let Some(chain) = rules.chains.iter().find(shut) {
        let Chain {
            family,
            table,
            name,
            ..
        } = chain;
        let found = format!(
            "chain {name} of table {family} {table} drops: no way out for containers, none in for published ports"
        );
        return Finding::missing(CHECK, found, accept(chain, &rules));
    }
    let firewalld = |chain: &&Chain| chain.table == "firewalld";
    if rules.chains.iter().any(|chain| firewalld(&chain))
        && !rules.ours.iter().any(|it| it == "firewalld")
    {
        return Finding::missing(
            CHECK,
            "firewalld rejects what no zone allows: no way out for containers, none in for published ports",
            "firewall-cmd --permanent --zone=trusted --add-interface=skep0 --add-interface=skep-in0 && \
             firewall-cmd --reload",
        );
    }
    if legacy {
        return Finding::degraded(
            CHECK,
            "old iptables has a filter, which cannot be read from here",
            "look whether its policy drops: iptables-legacy -S FORWARD",
        );
    }
    Finding::ok(CHECK, "nothing drops it")
}

/// The rules to add.
fn accept(chain: &Chain, rules: &Rules) -> String {
    let Chain {
        family,
        table,
        name,
        ..
    } = chain;
    if table == "filter" && name == "FORWARD" {
        // Docker leaves rules in a chain of the user's alone.
        let user = rules
            .names
            .contains(&(table.clone(), "DOCKER-USER".to_owned()));
        let chain = if user { "DOCKER-USER" } else { "FORWARD" };
        let program = if *family == "ip6" {
            "ip6tables"
        } else {
            "iptables"
        };
        return format!(
            "{program} -I {chain} -i skep+ -j ACCEPT && {program} -I {chain} -o skep+ -j ACCEPT"
        );
    }
    format!(
        "nft insert rule {family} {table} {name} iifname '\"skep*\"' accept && \
         nft insert rule {family} {table} {name} oifname '\"skep*\"' accept"
    )
}

/// Asks the kernel for the chains and rules of this network namespace.
pub(super) fn read() -> io::Result<Rules> {
    let mut rules = Rules::default();
    let chains = NfTablesMessage::GetChain(ChainMessage {
        attributes: Vec::new(),
    });
    for (family, message) in dump(chains)? {
        let NfTablesMessage::NewChain(chain) = message else {
            continue;
        };
        note_chain(family, chain, &mut rules);
    }
    let all = NfTablesMessage::GetRule(RuleMessage {
        attributes: Vec::new(),
    });
    for (_, message) in dump(all)? {
        let NfTablesMessage::NewRule(rule) = message else {
            continue;
        };
        note_rule(&rule, &mut rules);
    }
    Ok(rules)
}

fn note_chain(family: NetfilterProtoFamily, chain: ChainMessage, rules: &mut Rules) {
    let (mut table, mut name, mut forward, mut drops) =
        (String::new(), String::new(), false, false);
    for attribute in chain.attributes {
        match attribute {
            ChainAttribute::Table(text) => table = text,
            ChainAttribute::Name(text) => name = text,
            ChainAttribute::Policy(policy) => drops = policy == 0,
            ChainAttribute::Hook(hooks) => {
                let number = Hook::Number(HookNumber::Inet(InetHookNumber::Forward));
                forward = hooks.contains(&number);
            }
            _ => {}
        }
    }
    rules.names.push((table.clone(), name.clone()));
    let family = match family {
        NetfilterProtoFamily::IPv4 => "ip",
        NetfilterProtoFamily::IPv6 => "ip6",
        NetfilterProtoFamily::Inet => "inet",
        _ => return,
    };
    if forward {
        rules.chains.push(Chain {
            family,
            table,
            name,
            drops,
        });
    }
}

/// A rule that names interfaces of ours was made for us.
fn note_rule(rule: &RuleMessage, rules: &mut Rules) {
    let table = rule
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RuleAttribute::Table(table) => Some(table),
            _ => None,
        });
    let named = rule.attributes.iter().any(|attribute| {
        let RuleAttribute::Expressions(expressions) = attribute else {
            return false;
        };
        let mut bytes = vec![0; expressions.as_slice().buffer_len()];
        expressions.as_slice().emit(&mut bytes);
        bytes.windows(OURS.len()).any(|part| part == OURS)
    });
    if let Some(table) = table.filter(|_| named) {
        rules.ours.push(table.clone());
    }
}

/// All objects of a kind, with their families.
fn dump(what: NfTablesMessage) -> io::Result<Vec<(NetfilterProtoFamily, NfTablesMessage)>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let mut request = NetlinkMessage::from(NetfilterMessage::new(header, what));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.header.sequence_number = 1;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let bad = |_| io::Error::from(io::ErrorKind::InvalidData);
    let mut all = Vec::new();
    for _ in 0..PARTS {
        let mut part = BytesMut::with_capacity(ANSWER);
        socket.recv(&mut part, 0)?;
        let mut rest: &[u8] = &part;
        while !rest.is_empty() {
            let length = NetlinkBuffer::new_checked(rest).map_err(bad)?.length();
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest).map_err(bad)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(all),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(NetfilterMessage {
                    header,
                    inner: NetfilterMessageInner::NfTables(inner),
                    ..
                }) => all.push((header.family, inner)),
                _ => {}
            }
            let length = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    Err(io::Error::other("there are too many rules"))
}
