//! From a question's bytes to an answer's, or to the finding that someone else must answer.
//!
//! Pure: bytes in, bytes out.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use skep_proto::ids::NetworkId;

use super::directory::Directory;

/// Seconds an answer may be kept: none, as tasks come and go.
const TTL: u32 = 0;

/// How a question came, which limits the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What is to be done with a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Reply(Vec<u8>),
    /// Not one of ours.
    Forward,
    /// Not a question; silence.
    Ignore,
}

/// Judges a question asked by a task on the networks of `scope`.
pub(super) fn judge(
    bytes: &[u8],
    transport: Transport,
    directory: &Directory,
    scope: &[NetworkId],
) -> Verdict {
    let Ok(question) = Message::from_vec(bytes) else {
        return Verdict::Ignore;
    };
    if question.metadata.message_type != MessageType::Query {
        return Verdict::Ignore;
    }
    let [query] = question.queries.as_slice() else {
        return refuse(&question, ResponseCode::FormErr);
    };
    if question.metadata.op_code != OpCode::Query || query.query_class() != DNSClass::IN {
        return Verdict::Forward;
    }
    let answers = match query.query_type() {
        RecordType::PTR => name_of(directory, scope, query.name()),
        kind => addresses_of(directory, scope, query.name(), kind),
    };
    match answers {
        Some(answers) => reply(&question, answers, transport),
        None => Verdict::Forward,
    }
}

/// An answer that only says why there is none.
pub(super) fn failure(bytes: &[u8], why: ResponseCode) -> Option<Vec<u8>> {
    let question = Message::from_vec(bytes).ok()?;
    match refuse(&question, why) {
        Verdict::Reply(bytes) => Some(bytes),
        _ => None,
    }
}

fn addresses_of(
    directory: &Directory,
    scope: &[NetworkId],
    name: &Name,
    kind: RecordType,
) -> Option<Vec<Record>> {
    let found = directory.addresses(scope, &name.to_ascii())?;
    // A name of ours has addresses of version 4 and nothing else; that is an empty answer, not an unknown name.
    let wanted = matches!(kind, RecordType::A | RecordType::ANY);
    let record = |address: &Ipv4Addr| Record::from_rdata(name.clone(), TTL, RData::A(A(*address)));
    Some(if wanted {
        found.iter().map(record).collect()
    } else {
        Vec::new()
    })
}

fn name_of(directory: &Directory, scope: &[NetworkId], name: &Name) -> Option<Vec<Record>> {
    let address = name.parse_arpa_name().ok()?;
    let IpAddr::V4(address) = address.addr() else {
        return None;
    };
    let found = Name::from_ascii(directory.name(scope, address)?).ok()?;
    Some(vec![Record::from_rdata(
        name.clone(),
        TTL,
        RData::PTR(PTR(found)),
    )])
}

fn begin(question: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.authoritative = code == ResponseCode::NoError;
    answer.metadata.response_code = code;
    answer.add_queries(question.queries.iter().cloned());
    answer
}

fn refuse(question: &Message, code: ResponseCode) -> Verdict {
    begin(question, code)
        .to_vec()
        .map_or(Verdict::Ignore, Verdict::Reply)
}

fn reply(question: &Message, answers: Vec<Record>, transport: Transport) -> Verdict {
    let mut answer = begin(question, ResponseCode::NoError);
    answer.add_answers(answers);
    let Ok(bytes) = answer.to_vec() else {
        return Verdict::Ignore;
    };
    if transport == Transport::Udp && bytes.len() > usize::from(question.max_payload()) {
        return answer
            .truncate()
            .to_vec()
            .map_or(Verdict::Ignore, Verdict::Reply);
    }
    Verdict::Reply(bytes)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
