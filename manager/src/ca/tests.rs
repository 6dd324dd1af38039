//! What a certificate says is what the cluster decided, and who holds no secret gets none.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use skep_proto::channel::{Credentials, Identity, JoinToken, Peer, csr, root_digest};
use skep_proto::cluster::{Authority, Cluster, ClusterSpec};
use skep_proto::ids::{ClusterId, NodeId};
use skep_proto::node::Role;
use skep_proto::time::WallTime;

use super::{BACKDATED, CaError, JoinRefused, grant, make_root, new_secrets, renewal, sign, token};

const CLUSTER: ClusterId = ClusterId::new(77);
const PEER: Peer = Peer {
    node: NodeId::new(5),
    role: Role::Worker,
    cluster: CLUSTER,
};
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::now()
}

fn root() -> Authority {
    make_root(CLUSTER, now()).unwrap()
}

fn identity(authority: &Authority, certificate: Vec<u8>, key: Vec<u8>) -> Identity {
    Identity::new(&Credentials {
        chain: vec![certificate],
        key,
        root: authority.certificate.clone(),
    })
    .unwrap()
}

fn cluster(authority: Authority) -> Cluster {
    let random = std::array::from_fn(|at| u8::try_from(at).unwrap());
    Cluster {
        id: CLUSTER,
        version: 1,
        created: WallTime::default(),
        spec: ClusterSpec::default(),
        authority,
        tokens: new_secrets(random),
        feature_level: 1,
        incarnation: 1,
    }
}

#[test]
fn a_signed_request_makes_an_identity() {
    let authority = root();
    let request = csr::request().unwrap();
    let certificate = sign(&authority, &request.csr, (&PEER, None), DAY, now()).unwrap();
    let identity = identity(&authority, certificate, request.key);
    assert_eq!(identity.peer(), PEER);
    let left = identity.ends().duration_since(now()).unwrap();
    assert!(
        left <= DAY && left > DAY - Duration::from_secs(60),
        "{left:?}"
    );
}

#[test]
fn names_in_a_request_are_not_taken_over() {
    let authority = root();
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["manager".to_owned()]).unwrap();
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "manager");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let csr = params.serialize_request(&pair).unwrap();
    let certificate = sign(&authority, csr.der(), (&PEER, None), DAY, now()).unwrap();
    assert_eq!(Peer::of_certificate(&certificate), Ok(PEER));
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    assert!(!parsed.is_ca());
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert!(!format!("{names:?}").contains("manager"), "{names:?}");
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let mut request = csr::request().unwrap();
    if let Some(last) = request.csr.last_mut() {
        *last ^= 1;
    }
    let refused = sign(&root(), &request.csr, (&PEER, None), DAY, now());
    assert!(matches!(refused, Err(CaError::Request(_))), "{refused:?}");
    let refused = sign(&root(), b"nonsense", (&PEER, None), DAY, now());
    assert!(matches!(refused, Err(CaError::Request(_))), "{refused:?}");
}

#[test]
fn a_certificate_of_another_root_is_no_identity() {
    let (ours, theirs) = (root(), root());
    let request = csr::request().unwrap();
    let certificate = sign(&theirs, &request.csr, (&PEER, None), DAY, now()).unwrap();
    let refused = Identity::new(&Credentials {
        chain: vec![certificate],
        key: request.key,
        root: ours.certificate,
    });
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("does not lead to the cluster's root"),
        "{error}"
    );
}

#[test]
fn a_key_of_another_certificate_is_no_identity() {
    let authority = root();
    let (mine, other) = (csr::request().unwrap(), csr::request().unwrap());
    let certificate = sign(&authority, &mine.csr, (&PEER, None), DAY, now()).unwrap();
    let refused = Identity::new(&Credentials {
        chain: vec![certificate],
        key: other.key,
        root: authority.certificate,
    });
    assert!(refused.is_err());
}

#[test]
fn a_secret_gives_its_role_and_nothing_else_does() {
    let cluster = cluster(root());
    let node = NodeId::new(9);
    for role in [Role::Worker, Role::Manager] {
        let token: JoinToken = token(&cluster, role).to_string().parse().unwrap();
        assert_eq!(
            token.root_digest,
            root_digest(&cluster.authority.certificate)
        );
        let granted = grant(&cluster, &token.secret, node).unwrap();
        assert_eq!(granted.role, role);
        assert_eq!(granted.node, node);
        assert_eq!(granted.cluster, CLUSTER);
    }
    let mut wrong = cluster.tokens.worker;
    wrong[15] ^= 1;
    for secret in [&wrong[..], &[], &cluster.tokens.manager[..15]] {
        assert_eq!(grant(&cluster, secret, node), Err(JoinRefused::Secret));
    }
}

#[test]
fn renewal_is_between_half_and_four_fifths_of_a_life() {
    let signed = now();
    let ends = signed + 100 * DAY;
    let tolerance = Duration::from_secs(1);
    let near = |random: u32, days: u32| {
        let at = renewal(signed, ends, random)
            .duration_since(signed)
            .unwrap();
        assert!(at.abs_diff(days * DAY) < tolerance, "{random}: {at:?}");
    };
    near(0, 50);
    near(u32::MAX, 80);
    near(u32::MAX / 3, 60);

    let authority = root();
    let request = csr::request().unwrap();
    let certificate = sign(&authority, &request.csr, (&PEER, None), DAY, signed).unwrap();
    let identity = identity(&authority, certificate, request.key);
    let first = identity.renew_at(0).duration_since(signed).unwrap();
    assert!(first.abs_diff(DAY / 2) < 2 * tolerance, "{first:?}");
    assert!(BACKDATED < DAY);
}
