//! Joining and renewing with an authority made in the test, over mutual TLS on loopback.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use super::*;
use crate::dial::by_identity;

const CLUSTER: ClusterId = ClusterId::new(5);
const SECRET: [u8; 16] = [9; 16];

struct Authority {
    root: Vec<u8>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "root");
        let root = params.self_signed(&key).unwrap();
        Self {
            root: root.der().to_vec(),
            key: key.serialize_der(),
        }
    }

    fn sign(&self, csr: &[u8], node: NodeId, role: Role) -> Vec<u8> {
        let key = KeyPair::try_from(self.key.as_slice()).unwrap();
        let issuer = Issuer::from_ca_cert_der(&self.root.as_slice().into(), key).unwrap();
        let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, node.to_string());
        name.push(DnType::OrganizationalUnitName, role.to_string());
        name.push(DnType::OrganizationName, CLUSTER.to_string());
        params.subject_alt_names = [node.to_string(), role.to_string()]
            .map(|name| SanType::DnsName(name.try_into().unwrap()))
            .into();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        request.params = params;
        request.signed_by(&issuer).unwrap().der().to_vec()
    }

    fn credentials(&self, node: NodeId, role: Role) -> Credentials {
        let request = csr::request().unwrap();
        Credentials {
            chain: vec![self.sign(&request.csr, node, role)],
            key: request.key,
            root: self.root.clone(),
        }
    }
}

struct Door(Arc<Authority>);

#[tonic::async_trait]
impl v1::ca_server::Ca for Door {
    async fn root(&self, _: Request<v1::RootRequest>) -> Result<Response<v1::RootAnswer>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinAnswer>, Status> {
        let request = request.into_inner();
        if request.secret != SECRET {
            return Err(Status::permission_denied(
                "the join token is not this cluster's",
            ));
        }
        let node = NodeId::new(77);
        Ok(Response::new(v1::JoinAnswer {
            chain: vec![self.0.sign(&request.csr, node, Role::Worker)],
            node: wire::WireId::to_bytes(node),
            cluster: wire::WireId::to_bytes(CLUSTER),
            role: v1::Role::from(Role::Worker).into(),
            root: self.0.root.clone(),
            managers: vec![SocketAddr::from(([127, 0, 0, 1], 1)).into()],
            raft: None,
        }))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewAnswer>, Status> {
        let caller = channel::caller(&request)?;
        let csr = request.into_inner().csr;
        Ok(Response::new(v1::RenewAnswer {
            chain: vec![self.0.sign(&csr, caller.node, caller.role)],
            role: v1::Role::from(caller.role).into(),
            root: self.0.root.clone(),
            ..Default::default()
        }))
    }
}

async fn serve(authority: &Arc<Authority>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let credentials = authority.credentials(NodeId::new(1), Role::Manager);
    let incoming = channel::accept(listener, &Identity::new(&credentials).unwrap()).unwrap();
    let door = v1::ca_server::CaServer::new(Door(Arc::clone(authority)));
    tokio::spawn(
        channel::server()
            .add_service(door)
            .serve_with_incoming(incoming),
    );
    address
}

fn newcomer() -> JoinAs {
    JoinAs {
        hostname: "new".to_owned(),
        address: None,
        port: 2377,
        labels: Default::default(),
        request: skep_proto::ids::RequestId::new(1),
    }
}

#[test]
fn credentials_are_kept_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    assert!(load(directory.path()).unwrap().is_none());
    let credentials = Authority::new().credentials(NodeId::new(2), Role::Worker);
    store(directory.path(), &credentials).unwrap();
    assert!(load(directory.path()).unwrap() == Some(credentials));
    let file = directory.path().join(FILE);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::write(&file, [VERSION + 1]).unwrap();
    let refused = load(directory.path()).unwrap_err().to_string();
    assert!(refused.contains("version 2"), "{refused}");
    forget(directory.path()).unwrap();
    forget(directory.path()).unwrap();
    assert!(load(directory.path()).unwrap().is_none());
}

#[tokio::test]
async fn a_node_joins_and_renews() {
    let authority = Arc::new(Authority::new());
    let address = serve(&authority).await;
    let token = JoinToken::new(&authority.root, SECRET);
    let joined = join(address, &token, &newcomer()).await.unwrap();
    assert_eq!((joined.node, joined.role), (NodeId::new(77), Role::Worker));
    let identity = Identity::new(&joined.credentials).unwrap();
    assert_eq!(identity.peer().cluster, CLUSTER);
    let directory = tempfile::tempdir().unwrap();
    let dial = by_identity(identity.clone());
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let managers = [nobody, address];
    let renewed = renew(&identity, &dial, &managers, None, directory.path());
    assert_eq!(renewed.await.unwrap().raft, None);
    let kept = load(directory.path()).unwrap().unwrap();
    assert!(
        kept.key != joined.credentials.key,
        "each certificate has a key of its own"
    );
    assert_eq!(identity.peer().node, NodeId::new(77));
}

#[tokio::test]
async fn a_wrong_or_foreign_token_is_refused_in_words() {
    let authority = Arc::new(Authority::new());
    let address = serve(&authority).await;
    let wrong = JoinToken::new(&authority.root, [1; 16]);
    let refused = join(address, &wrong, &newcomer())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("not this cluster's"), "{refused}");
    let foreign = JoinToken::new(&Authority::new().root, SECRET);
    let refused = join(address, &foreign, &newcomer()).await;
    assert!(
        matches!(refused, Err(IdentityFault::Connect(_))),
        "{refused:?}"
    );
}
