//! Every change and every object reads back; what is not known stops the reader.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;
use prost::Message;
use skep_proto::cluster::{Authority, Cluster, ClusterSpec, JoinSecrets};
use skep_proto::drill::{Drill, DrillKind};
use skep_proto::event::{Action, Event, EventKind};
use skep_proto::file::{Content, File, FileId, FileKind, FileRevision, FileSpec, Rotation};
use skep_proto::ids::{
    ClusterId, DrillId, NetworkId, NodeId, RequestId, ServiceId, TaskId, TokenId,
};
use skep_proto::image::{Digest, Image};
use skep_proto::network::{Network, NetworkSpec};
use skep_proto::node::{
    Availability, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
};
use skep_proto::service::{Revision, Service, Update, UpdateState};
use skep_proto::spec::{ContainerSpec, Mode, ServiceSpec, TaskSpec, UpdateConfig};
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};
use skep_proto::token::{DeployBounds, StoredToken, Token, TokenRole, TokenSpec};
use skep_proto::wire::v1;

use super::{RecordError, decode_entry, decode_object, encode_entry, encode_object};
use crate::state::{Answer, Answered, Change, Entry, Mark, Meta, Object, Restarts, Times};

const NODE: NodeId = NodeId::new(1);
const SERVICE: ServiceId = ServiceId::new(2);
const TASK: TaskId = TaskId::new(3);
const NETWORK: NetworkId = NetworkId::new(4);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

fn time(millis: u64) -> ClusterTime {
    ClusterTime::from_millis(millis)
}

fn cluster() -> Arc<Cluster> {
    Arc::new(Cluster {
        id: ClusterId::new(u128::MAX),
        version: 1,
        created: WallTime::from_unix_millis(5),
        spec: ClusterSpec::default(),
        authority: Authority {
            certificate: vec![1],
            key: vec![2],
        },
        tokens: JoinSecrets {
            worker: [3; 16],
            manager: [4; 16],
        },
        feature_level: 1,
        incarnation: 2,
    })
}

fn node_status() -> NodeStatus {
    NodeStatus {
        state: NodeState::Down,
        since: time(9),
        message: "silent".into(),
    }
}

fn node() -> Arc<Node> {
    Arc::new(Node {
        id: NODE,
        version: 3,
        created: WallTime::from_unix_millis(6),
        spec: NodeSpec {
            labels: [("rack".into(), "a".into())].into(),
            role: Role::Manager,
            availability: Availability::Drain,
        },
        description: NodeDescription::default(),
        address: IpAddr::V4(ADDRESS),
        status: node_status(),
        number: 7,
        manager: None,
    })
}

fn task_spec() -> TaskSpec {
    let mut container = ContainerSpec::new("web:1");
    container.image.digest = Some(Digest([1; 32]));
    container.args = vec!["serve".into()];
    TaskSpec::new(container)
}

fn service() -> Arc<Service> {
    Arc::new(Service {
        id: SERVICE,
        version: 4,
        created: WallTime::default(),
        updated: WallTime::default(),
        spec: Arc::new(ServiceSpec {
            mode: Mode::Replicated { replicas: 3 },
            ..ServiceSpec::new("web", task_spec())
        }),
        revision: 2,
        template: 1,
        templates: [(1, Arc::new(task_spec()))].into(),
        vips: [(NETWORK, ADDRESS)].into(),
        ports: vec![],
        removed: Some(time(4)),
        auth: Some(Arc::new(skep_proto::image::RegistryAuth {
            username: "me".into(),
            password: "sesame".into(),
            identity_token: String::new(),
        })),
        history: vec![Revision {
            number: 2,
            spec: Arc::new(ServiceSpec::new("web", task_spec())),
            at: WallTime::from_unix_millis(9),
            by: "ann@desk".into(),
            why: "a new page".into(),
        }],
        update: Some(update()),
    })
}

fn update() -> Update {
    Update {
        state: UpdateState::RollbackPaused,
        from: 1,
        to: 2,
        started: WallTime::from_unix_millis(10),
        ended: Some(WallTime::from_unix_millis(11)),
        message: "it failed".into(),
        config: UpdateConfig::default(),
        total: 3,
        replacing: [Slot::Replica(2)].into(),
        failed: [Slot::Node(NODE)].into(),
    }
}

fn status() -> TaskStatus {
    TaskStatus {
        exit_code: Some(137),
        ..TaskStatus::of(TaskState::Failed, WallTime::from_unix_millis(8))
    }
}

fn task() -> Arc<Task> {
    Arc::new(Task {
        id: TASK,
        version: 5,
        service: SERVICE,
        template: 1,
        slot: Slot::Replica(2),
        node: Some(NODE),
        desired: TaskState::Running,
        status: status(),
        created: time(1),
        start_at: None,
        attachments: vec![],
    })
}

fn network() -> Arc<Network> {
    let subnet = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 24);
    Arc::new(Network {
        id: NETWORK,
        version: 6,
        created: WallTime::default(),
        spec: NetworkSpec {
            name: "front".into(),
            labels: [].into(),
            internal: true,
            attachable: false,
            ingress: false,
            subnet: Some(subnet),
            gateway: None,
            mtu: None,
        },
        subnet,
        gateway: Ipv4Addr::new(10, 0, 0, 1),
        vni: 4096,
        last_given: ADDRESS,
    })
}

fn image() -> Arc<Image> {
    Arc::new(Image {
        name: "web:1".into(),
        digest: Digest([9; 32]),
        size: 12,
    })
}

const FILE: FileId = FileId::new(FileKind::Config, 6);

fn file() -> Arc<File> {
    let revision = |number, rotation| FileRevision {
        number,
        at: WallTime::from_unix_millis(4),
        by: "anna@host".into(),
        size: 3,
        rotation,
    };
    Arc::new(File {
        id: FILE,
        version: 5,
        created: WallTime::from_unix_millis(1),
        updated: WallTime::from_unix_millis(2),
        spec: FileSpec {
            name: "page".into(),
            labels: [("tier".into(), "front".into())].into(),
        },
        revisions: vec![
            revision(2, Rotation::InPlace { signal: Some(1) }),
            revision(3, Rotation::Rolling),
        ],
    })
}

fn put_file(content: Option<Content>) -> Change {
    let file = file();
    Change::PutFile { file, content }
}

fn content() -> Content {
    Content::new(b"abc".to_vec())
}

fn token() -> Arc<StoredToken> {
    let bounds = DeployBounds {
        services: ["web".into()].into(),
        images: vec!["registry.example.com/web".parse().unwrap()],
        replicas: None,
    };
    Arc::new(StoredToken {
        token: Token {
            id: TokenId::new(8),
            version: 2,
            created: WallTime::from_unix_millis(4),
            by: "anna@host".into(),
            expires: Some(WallTime::from_unix_millis(5)),
            spec: TokenSpec {
                name: "ci".into(),
                role: TokenRole::Deploy(bounds),
            },
        },
        digest: Digest([3; 32]),
    })
}

fn event() -> Arc<Event> {
    Arc::new(Event {
        revision: 7,
        position: 1,
        time: time(2),
        at: WallTime::from_unix_millis(3),
        by: "anna@host".into(),
        kind: EventKind::Task,
        action: Action::Failed,
        id: TASK.to_string(),
        attributes: [("exitCode".into(), "1".into())].into(),
        labels: [("tier".into(), "front".into())].into(),
    })
}

fn drill() -> Arc<Drill> {
    let short = std::time::Duration::from_millis(7);
    Arc::new(Drill {
        id: DrillId::new(8),
        version: 9,
        kind: DrillKind::Link,
        node: NODE,
        task: Some(TASK),
        fill: None,
        target: "n1".into(),
        by: "anna@host".into(),
        begun: WallTime::from_unix_millis(1),
        begun_at: time(2),
        fuse: short,
        lasts: short,
        lease: short,
        services: vec![SERVICE],
        obeyed: None,
        end: None,
    })
}

fn delete_token(version: u64) -> Change {
    let token = TokenId::new(8);
    Change::DeleteToken { token, version }
}

fn every_change() -> Vec<Change> {
    let version = 8;
    vec![
        Change::PutCluster(cluster()),
        Change::PutNode(node()),
        Change::DeleteNode {
            node: NODE,
            version,
        },
        Change::Turned {
            node: NODE,
            status: node_status(),
        },
        Change::GaveIngress {
            node: NODE,
            address: ADDRESS,
        },
        Change::PutService(service()),
        Change::Progressed {
            service: SERVICE,
            version,
            update: Arc::new(update()),
        },
        Change::DeleteService {
            service: SERVICE,
            version,
        },
        Change::PutTask(task()),
        Change::DeleteTask {
            task: TASK,
            version,
        },
        Change::SetDesired {
            task: TASK,
            desired: TaskState::Shutdown,
        },
        Change::Replaced {
            task: TASK,
            revision: 3,
        },
        Change::Observed {
            task: TASK,
            status: status(),
        },
        Change::Drained { task: TASK },
        Change::Released { task: TASK },
        Change::PutNetwork(network()),
        Change::DeleteNetwork {
            network: NETWORK,
            version,
        },
        put_file(Some(content())),
        put_file(None),
        Change::DeleteFile {
            file: FILE,
            version,
        },
        Change::DropContent {
            file: FileId::new(FileKind::Secret, 7),
            revision: 2,
        },
        Change::PutToken(token()),
        delete_token(version),
        Change::PutDrill(drill()),
        Change::PutImage(image()),
        Change::DeleteImage {
            name: "web:1".into(),
        },
    ]
}

fn every_object() -> Vec<Object> {
    let answered = Answered {
        at: time(1),
        index: 2,
        answer: Answer::Done,
    };
    let restarts = Restarts {
        template: 1,
        total: 2,
        times: vec![time(3), time(4)],
        failed: 2,
    };
    vec![
        Object::Meta(Meta {
            index: 1,
            time: time(2),
            looked: 3,
            last_vni: 4,
            last_subnet: Some(Ipv4Net::new_assert(ADDRESS, 24)),
            last_number: 5,
            events_gone: 6,
        }),
        Object::Cluster(cluster()),
        Object::Node(node()),
        Object::Gateway(NODE, ADDRESS),
        Object::Service(service()),
        Object::Task(task(), Times::default()),
        Object::Task(
            task(),
            Times {
                running: Some(time(2)),
                stopping: Some(time(1)),
                ended: Some(time(2)),
                drained: true,
                lost: true,
            },
        ),
        Object::Network(network()),
        Object::Revision(NETWORK, 3),
        Object::File(file()),
        Object::Content(FILE, 3, content()),
        Object::Token(token()),
        Object::Image(image()),
        Object::Request(RequestId::new(5), answered),
        Object::Restarts(SERVICE, Slot::Node(NODE), Arc::new(restarts)),
        Object::Failures(SERVICE, NODE, Arc::new(vec![time(1)])),
        Object::Mark(Mark::Cluster, 1),
        Object::Mark(Mark::Node(NODE), 2),
        Object::Mark(Mark::Service(SERVICE), 3),
        Object::Mark(Mark::Slot(SERVICE, Slot::Replica(1)), 4),
        Object::Mark(Mark::Network(NETWORK), 5),
        Object::Drill(drill()),
        Object::Event(event()),
    ]
}

#[test]
fn every_change_and_answer_reads_back() {
    let answers = [
        Answer::Done,
        Answer::Cluster(ClusterId::new(1)),
        Answer::Node(NODE),
        Answer::Service(SERVICE),
        Answer::Network(NETWORK),
        Answer::Image(Digest([7; 32])),
        Answer::File(FILE),
        Answer::Drill(DrillId::new(8)),
    ];
    for answer in answers {
        let entry = Entry {
            time: time(1),
            wall: WallTime::from_unix_millis(2),
            request: Some(RequestId::new(3)),
            answer,
            looked: Some(0),
            atomic: true,
            by: "anna@host".into(),
            changes: every_change(),
        };
        assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
    }
    assert_eq!(
        decode_entry(&encode_entry(&Entry::default())),
        Ok(Entry::default())
    );
}

#[test]
fn every_object_reads_back() {
    for object in every_object() {
        assert_eq!(decode_object(&encode_object(&object)), Ok(object));
    }
}

#[test]
fn a_change_of_a_later_release_is_not_skipped() {
    let record = v1::Record {
        version: super::VERSION,
        content: Some(v1::record::Content::Entry(v1::Entry {
            answer: Some(v1::Answer {
                answer: Some(v1::answer::Answer::Done(v1::Done {})),
            }),
            changes: vec![v1::Change { change: None }],
            ..v1::Entry::default()
        })),
    };
    let error = decode_entry(&record.encode_to_vec()).unwrap_err();
    assert!(error.to_string().contains("changes[0].change"), "{error}");
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn another_version_or_kind_or_damage_is_refused() {
    let later = v1::Record {
        version: 2,
        content: None,
    };
    assert_eq!(
        decode_entry(&later.encode_to_vec()),
        Err(RecordError::Version(2))
    );
    let object = encode_object(&Object::Revision(NETWORK, 1));
    assert!(matches!(
        decode_entry(&object),
        Err(RecordError::Kind { .. })
    ));
    let cut = &object[..object.len() - 1];
    assert!(matches!(decode_object(cut), Err(RecordError::Malformed(_))));
    assert_eq!(decode_object(&[]), Err(RecordError::Version(0)));
}
