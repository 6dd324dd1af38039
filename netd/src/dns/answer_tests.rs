use std::net::Ipv4Addr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::view::{EndpointState, EndpointView, NetworkView, ServiceView, View};

use super::{Directory, Transport, Verdict, judge};

const NET: NetworkId = NetworkId::new(7);

fn endpoint(task: u128, state: EndpointState) -> EndpointView {
    let last = u8::try_from(task).unwrap();
    EndpointView {
        task: TaskId::new(task),
        service: ServiceId::new(1),
        name: format!("web.{task}.abc"),
        address: Ipv4Addr::new(10, 0, 1, last),
        node: NodeId::new(1),
        state,
    }
}

fn directory(tasks: u128) -> Directory {
    let mut endpoints: Vec<EndpointView> = (3..3 + tasks)
        .map(|task| endpoint(task, EndpointState::Live))
        .collect();
    endpoints.push(endpoint(200, EndpointState::Draining));
    endpoints.push(endpoint(201, EndpointState::Starting));
    let service = ServiceView {
        id: ServiceId::new(1),
        name: "Web".to_owned(),
        aliases: vec!["www".to_owned()],
        vip: Some(Ipv4Addr::new(10, 0, 1, 2)),
    };
    let network = NetworkView {
        id: NET,
        name: "front".to_owned(),
        revision: 1,
        vni: 4096,
        subnet: "10.0.1.0/24".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 0, 1, 1),
        mtu: 1450,
        internal: false,
        ingress: false,
        endpoints,
        services: vec![service],
    };
    Directory::of(&View {
        networks: vec![network],
        ..View::default()
    })
}

fn ask(name: &str, kind: RecordType) -> Vec<u8> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    question.to_vec().unwrap()
}

fn answer(directory: &Directory, name: &str, kind: RecordType) -> Option<Message> {
    match judge(&ask(name, kind), Transport::Udp, directory, &[NET]) {
        Verdict::Reply(bytes) => Some(Message::from_vec(&bytes).unwrap()),
        _ => None,
    }
}

fn addresses(directory: &Directory, name: &str) -> Option<Vec<String>> {
    let answer = answer(directory, name, RecordType::A)?;
    Some(
        answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect(),
    )
}

#[test]
fn names_lead_to_addresses() {
    let directory = directory(2);
    let check = |name: &str, expected: &[&str]| {
        assert_eq!(addresses(&directory, name).unwrap(), expected, "{name}");
    };
    check("web.", &["10.0.1.2"]);
    check("WEB.", &["10.0.1.2"]);
    check("www.", &["10.0.1.2"]);
    check("web.front.", &["10.0.1.2"]);
    check("tasks.web.", &["10.0.1.3", "10.0.1.4"]);
    check("web.3.abc.", &["10.0.1.3"]);
    check("web.200.abc.", &["10.0.1.200"]);
    assert_eq!(addresses(&directory, "web.201.abc."), None);
    assert_eq!(addresses(&directory, "example.org."), None);
}

#[test]
fn a_known_name_has_no_ipv6_address_and_says_so() {
    let answer = answer(&directory(1), "web.", RecordType::AAAA).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.answers.is_empty());
}

#[test]
fn an_address_leads_back_to_its_name() {
    let directory = directory(1);
    let check = |name: &str, expected: &str| {
        let answer = answer(&directory, name, RecordType::PTR).unwrap();
        let RData::PTR(found) = &answer.answers[0].data else {
            panic!("no PTR")
        };
        assert_eq!(found.to_string(), expected);
    };
    check("2.1.0.10.in-addr.arpa.", "Web.front.");
    check("3.1.0.10.in-addr.arpa.", "web.3.abc.front.");
}

#[test]
fn a_task_on_another_network_does_not_know_the_name() {
    let verdict = judge(
        &ask("web.", RecordType::A),
        Transport::Udp,
        &directory(1),
        &[],
    );
    assert_eq!(verdict, Verdict::Forward);
}

#[test]
fn an_answer_too_long_for_udp_says_so() {
    let directory = directory(60);
    let cut = answer(&directory, "tasks.web.", RecordType::A).unwrap();
    assert!(cut.metadata.truncation);
    let whole = judge(
        &ask("tasks.web.", RecordType::A),
        Transport::Tcp,
        &directory,
        &[NET],
    );
    let Verdict::Reply(bytes) = whole else {
        panic!("no reply")
    };
    assert_eq!(Message::from_vec(&bytes).unwrap().answers.len(), 60);
}

#[test]
fn what_is_no_question_gets_no_answer() {
    let directory = directory(1);
    for bytes in [&b""[..], &[0; 5], &[0xff; 40]] {
        let verdict = judge(bytes, Transport::Udp, &directory, &[NET]);
        assert_eq!(verdict, Verdict::Ignore);
    }
}
