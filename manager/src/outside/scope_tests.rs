//! What the bearer of a deploy token may do and what not, message by message.

use std::collections::BTreeMap;

use skep_proto::ids::{RequestId, ServiceId, TaskId};
use skep_proto::image::{Digest, Image, RegistryAuth};
use skep_proto::service::Revision;
use skep_proto::spec::{ContainerSpec, Mode, Mount, MountSource, PullPolicy, TaskSpec};
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};
use skep_proto::token::ReplicaRange;
use skep_proto::wire::WireId;

use super::*;
use crate::state::{Change, Entry};

const WEB: ServiceId = ServiceId::new(1);
const DB: ServiceId = ServiceId::new(2);
const FOREIGN: Digest = Digest([9; 32]);

fn spec(name: &str, image: &str) -> ServiceSpec {
    let mut container = ContainerSpec::new(image);
    container.image.digest = Some(Digest([1; 32]));
    ServiceSpec {
        mode: Mode::Replicated { replicas: 3 },
        ..ServiceSpec::new(name, TaskSpec::new(container))
    }
}

fn service(id: ServiceId, history: &[ServiceSpec]) -> Change {
    let revisions = history.iter().zip(1..).map(|(spec, number)| Revision {
        number,
        spec: Arc::new(spec.clone()),
        at: WallTime::default(),
        by: String::new(),
        why: String::new(),
    });
    let spec = Arc::new(history.last().expect("a spec").clone());
    let revision = u64::try_from(history.len()).expect("few");
    Change::PutService(Arc::new(Service {
        id,
        version: 0,
        created: WallTime::default(),
        updated: WallTime::default(),
        revision,
        template: revision,
        templates: BTreeMap::from([(revision, Arc::new(spec.task.clone()))]),
        vips: BTreeMap::new(),
        ports: Vec::new(),
        removed: None,
        auth: Some(Arc::new(auth("kept"))),
        history: revisions.collect(),
        update: None,
        spec,
    }))
}

fn auth(password: &str) -> RegistryAuth {
    RegistryAuth {
        username: "me".into(),
        password: password.into(),
        identity_token: String::new(),
    }
}

fn task(id: u128, service: ServiceId, template: u64) -> Change {
    Change::PutTask(Arc::new(Task {
        id: TaskId::new(id),
        version: 0,
        service,
        template,
        slot: Slot::Replica(1),
        node: None,
        desired: TaskState::Running,
        status: TaskStatus::of(TaskState::New, WallTime::default()),
        created: ClusterTime::ZERO,
        start_at: None,
        attachments: Vec::new(),
    }))
}

fn with_mount(mut spec: ServiceSpec) -> ServiceSpec {
    spec.task.container.mounts = vec![Mount {
        source: MountSource::Bind {
            path: "/".into(),
            propagation: Default::default(),
            recursive: true,
        },
        target: "/host".into(),
        read_only: false,
    }];
    spec
}

/// Two services; `web` is at its third revision, and had a mount at its first.
fn state() -> State {
    let before = spec("web", "r.io/web:1");
    let web = [
        with_mount(before.clone()),
        before,
        spec("web", "r.io/web:2"),
    ];
    let image = |name: &str, digest| {
        Change::PutImage(Arc::new(Image {
            name: name.into(),
            digest,
            size: 1,
        }))
    };
    let mut state = State::default();
    let outcome = state.apply(
        1,
        &Entry {
            request: Some(RequestId::new(77)),
            answer: Answer::Service(WEB),
            changes: vec![
                service(WEB, &web),
                service(DB, &[spec("db", "r.io/db:1")]),
                task(5, WEB, 3),
                task(6, DB, 1),
                image("debian:12", FOREIGN),
                image("r.io/web:3", Digest([3; 32])),
            ],
            ..Entry::default()
        },
    );
    assert!(outcome.fits(), "{outcome:?}");
    state
}

fn bounds() -> DeployBounds {
    DeployBounds {
        services: ["later".into(), "web".into()].into(),
        images: vec!["r.io/web".parse().expect("a pattern")],
        replicas: Some(ReplicaRange { least: 2, most: 5 }),
    }
}

fn update_of(change: impl FnOnce(&mut ServiceSpec)) -> v1::UpdateServiceRequest {
    let mut spec = spec("web", "r.io/web:2");
    change(&mut spec);
    v1::UpdateServiceRequest {
        request: RequestId::new(5).to_bytes(),
        reference: "web".into(),
        spec: Some(v1::ServiceSpec::from(&spec)),
        ..Default::default()
    }
}

fn updated_by(
    bounds: &DeployBounds,
    message: v1::UpdateServiceRequest,
) -> Result<v1::UpdateServiceRequest, String> {
    let state = state();
    let bearer = Bearer {
        name: "ci",
        bounds,
        state: &state,
    };
    let answer = bearer.update_service(message);
    answer.map_err(|status| status.message().to_owned())
}

fn updated(message: v1::UpdateServiceRequest) -> Result<v1::UpdateServiceRequest, String> {
    updated_by(&bounds(), message)
}

fn image(spec: &mut ServiceSpec, name: &str) {
    spec.task.container.image.name = name.into();
    spec.task.container.image.digest = None;
}

#[test]
fn an_image_that_fits_and_replicas_in_the_range_are_let_through_as_they_were_looked_at() {
    let sent = update_of(|spec| {
        image(spec, "r.io/web:7");
        spec.mode = Mode::Replicated { replicas: 5 };
    });
    let passed = updated(sent.clone()).expect("let through");
    assert_eq!(passed.reference, WEB.to_string());
    assert_eq!(passed.revision, Some(3), "no other change comes between");
    assert_eq!(passed.spec, sent.spec);
    assert!(updated(update_of(|_| {})).is_ok(), "nothing changes");
}

#[test]
fn what_is_beyond_the_bounds_is_refused_by_name() {
    type Change = fn(&mut ServiceSpec);
    let cases: [(Change, &[&str]); 13] = [
        (
            |it| image(it, "r.io/other:1"),
            &["r.io/web", "r.io/other:1"],
        ),
        (|it| image(it, "debian:12"), &["debian:12"]),
        (
            |it| it.mode = Mode::Replicated { replicas: 6 },
            &["2..5", "6"],
        ),
        (|it| it.mode = Mode::Replicated { replicas: 1 }, &["2..5"]),
        (|it| it.mode = Mode::Global, &["--replicas"]),
        (|it| *it = with_mount(it.clone()), &["--mount"]),
        (
            |it| it.task.container.privileges.privileged = true,
            &["--privileged"],
        ),
        (|it| it.task.container.env = vec!["A=1".into()], &["--env"]),
        (|it| it.task.container.args = vec!["sh".into()], &["--args"]),
        (|it| it.task.force = 1, &["--force"]),
        (|it| it.update.parallelism = 9, &["--update-*"]),
        (|it| it.task.container.pull = PullPolicy::Never, &["--pull"]),
        (
            |it| {
                it.labels.insert("a".into(), "b".into());
                it.task.container.user = Some("root".into());
            },
            &["--label", "--user"],
        ),
    ];
    for (change, words) in cases {
        let refused = updated(update_of(change)).expect_err("refused");
        assert!(refused.starts_with("token \"ci\" may"), "{refused}");
        for word in words {
            assert!(refused.contains(word), "{word}: {refused}");
        }
    }
    // With an image that fits, too.
    let both = update_of(|spec| {
        image(spec, "r.io/web:7");
        *spec = with_mount(spec.clone());
    });
    let refused = updated(both).expect_err("refused");
    assert!(
        refused.contains("this changes --mount") && !refused.contains("--image"),
        "{refused}"
    );
}

#[test]
fn what_a_token_does_not_name_stays_as_it_is() {
    let only = |images: &[&str], replicas| DeployBounds {
        images: images.iter().filter_map(|text| text.parse().ok()).collect(),
        replicas,
        ..bounds()
    };
    let new_image = || update_of(|it| image(it, "r.io/web:7"));
    let more = || update_of(|it| it.mode = Mode::Replicated { replicas: 4 });
    let images = only(&["r.io/web"], None);
    assert!(updated_by(&images, new_image()).is_ok());
    let refused = updated_by(&images, more()).expect_err("refused");
    assert!(
        refused.contains("may change the image") && refused.contains("--replicas"),
        "{refused}"
    );
    let range = only(&[], bounds().replicas);
    assert!(updated_by(&range, more()).is_ok());
    let refused = updated_by(&range, new_image()).expect_err("refused");
    assert!(
        refused.contains("may change the replicas") && refused.contains("--image"),
        "{refused}"
    );
}

#[test]
fn a_digest_does_not_bring_in_another_image() {
    let with = |digest, no_resolve| {
        let mut message = update_of(|it| {
            it.task.container.image.name = "r.io/web:3".into();
            it.task.container.image.digest = Some(digest);
        });
        message.no_resolve_image = no_resolve;
        message
    };
    assert!(
        updated(with(Digest([3; 32]), false)).is_ok(),
        "known by this name"
    );
    assert!(
        updated(with(Digest([8; 32]), false)).is_ok(),
        "its registry is asked"
    );
    let refused = updated(with(FOREIGN, false)).expect_err("refused");
    assert!(refused.contains("another image"), "{refused}");
    let refused = updated(with(Digest([8; 32]), true)).expect_err("refused");
    assert!(refused.contains("no registry is asked"), "{refused}");
    let written = update_of(|it| image(it, &format!("r.io/web@{FOREIGN}")));
    assert!(updated(written).is_err());
    assert!(updated(update_of(|it| image(it, "r.io/web@sha256:zz"))).is_err());
    // A pattern with a tag is none for digests.
    let tagged = DeployBounds {
        images: vec!["r.io/web:3".parse().expect("a pattern")],
        ..bounds()
    };
    let refused = updated_by(&tagged, with(Digest([8; 32]), false)).expect_err("refused");
    assert!(refused.contains("tags"), "{refused}");
    assert!(updated_by(&tagged, update_of(|it| image(it, "r.io/web:3"))).is_ok());
}

#[test]
fn the_login_of_a_service_stays_and_an_old_revision_is_not_gone_on_from() {
    let mut sent = update_of(|it| image(it, "r.io/web:7"));
    sent.registry_auth = Some((&auth("kept")).into());
    assert!(updated(sent.clone()).is_ok(), "it is the one that is kept");
    sent.registry_auth = Some((&auth("other")).into());
    let refused = updated(sent).expect_err("refused");
    assert!(refused.contains("--with-registry-auth"), "{refused}");
    let mut old = update_of(|it| image(it, "r.io/web:7"));
    old.revision = Some(2);
    let refused = updated(old).expect_err("refused");
    assert!(refused.contains("revision 2"), "{refused}");
}

#[test]
fn a_repeat_gets_the_first_answer_whatever_was_changed_since() {
    let mut sent = update_of(|it| image(it, "r.io/web:7"));
    sent.request = RequestId::new(77).to_bytes();
    sent.revision = Some(2);
    assert!(updated(sent).is_ok());
}

#[test]
fn a_way_back_keeps_to_the_bounds_too() {
    let state = state();
    let bounds = bounds();
    let bearer = Bearer {
        name: "ci",
        bounds: &bounds,
        state: &state,
    };
    let back = |to| {
        bearer.rollback_service(v1::RollbackServiceRequest {
            request: RequestId::new(5).to_bytes(),
            reference: "web".into(),
            to,
            ..Default::default()
        })
    };
    let passed = back(None).expect("let through");
    assert_eq!((passed.to, passed.revision), (Some(2), Some(3)));
    let refused = back(Some(1))
        .expect_err("a mount comes back")
        .message()
        .to_owned();
    assert!(refused.contains("--mount"), "{refused}");
    assert!(back(Some(9)).is_err());
}

#[test]
fn services_and_tasks_of_others_are_not_even_there() {
    let state = state();
    let bounds = bounds();
    let bearer = Bearer {
        name: "ci",
        bounds: &bounds,
        state: &state,
    };
    let get = |reference: &str| {
        let reference = reference.to_owned();
        bearer.get_service(v1::GetRequest {
            reference,
            read: None,
        })
    };
    assert_eq!(get("web").expect("its own").reference, WEB.to_string());
    assert_eq!(
        get(&WEB.to_string()).expect("its own").reference,
        WEB.to_string()
    );
    let foreign = get("db").expect_err("another's");
    let unknown = get("nothing").expect_err("there is none");
    for status in [
        &foreign,
        &unknown,
        &get(&DB.to_string()).expect_err("another's"),
    ] {
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert!(
            status
                .message()
                .contains("is for service \"later\", \"web\""),
            "{status}"
        );
    }
    let missing = get("later").expect_err("there is none yet");
    assert_eq!(missing.code(), tonic::Code::NotFound);

    let list = |services: &[&str]| {
        bearer.list_tasks(v1::ListTasksRequest {
            services: services.iter().map(ToString::to_string).collect(),
            ..Default::default()
        })
    };
    assert_eq!(list(&["web"]).expect("its own").services, [WEB.to_string()]);
    assert!(list(&[]).is_err() && list(&["web", "db"]).is_err());

    let task = |id: u128| {
        bearer.get_task(v1::GetRequest {
            reference: TaskId::new(id).to_string(),
            read: None,
        })
    };
    assert!(task(5).is_ok());
    for id in [6, 7] {
        let refused = task(id).expect_err("not its own");
        assert!(refused.message().contains("knows no task"), "{refused}");
    }
    let watch = |reference: &str| {
        let reference = reference.to_owned();
        bearer.watch_service(v1::WatchServiceRequest { reference })
    };
    assert_eq!(watch("web").expect("its own").reference, WEB.to_string());
    assert!(watch(&WEB.to_string()).is_ok());
    assert!(watch("db").is_err() && watch(&DB.to_string()).is_err());
}

#[tokio::test]
async fn a_call_is_read_whole_or_not_at_all() {
    let state = state();
    let bounds = bounds();
    let bearer = Bearer {
        name: "ci",
        bounds: &bounds,
        state: &state,
    };
    let get = v1::GetRequest {
        reference: "web".into(),
        read: None,
    };
    let whole = framed(&get).to_vec();
    let call = |path: &str, bytes: Vec<u8>| {
        let body = Body::new(Full::new(Bytes::from(bytes)));
        let request = Request::builder().uri(path).body(body).expect("a call");
        bearer.looked_at(request)
    };
    let path = "/skep.v1.Control/GetService";
    let passed = call(path, whole.clone()).await.expect("let through");
    let bytes = passed
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let read: v1::GetRequest = message(&bytes).expect("a message");
    assert_eq!(read.reference, WEB.to_string());

    let twice = [&whole[..], &whole].concat();
    let mut compressed = whole.clone();
    compressed[0] = 1;
    for bytes in [
        twice,
        compressed,
        whole[..3].to_vec(),
        Vec::new(),
        vec![0; LARGEST + 1],
    ] {
        let refused = call(path, bytes).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
    let refused = call("/skep.v1.Control/RemoveService", whole)
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}
