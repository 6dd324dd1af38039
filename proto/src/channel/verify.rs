//! Verifies the other side's certificate: by the cluster's root, then by its subject. Names of machines are
//! not looked at: a node is who its certificate says, wherever it is.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::identity::{Identity, roots};
use super::peer::{Peer, PeerError};
use super::provider;
use super::token::root_digest;
use crate::node::Role;

/// What the other side must prove.
#[derive(Debug)]
pub(super) enum Expected {
    /// A node of our cluster; for a server in this role, if one is given.
    Node { ours: Identity, role: Option<Role> },
    /// A manager under the root that has this digest.
    Root([u8; 32]),
}

/// No certificate of the chain is the root that the token names.
#[derive(Debug, thiserror::Error)]
#[error("its cluster is another one than the token's")]
pub(super) struct OtherRoot;

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

fn subject(certificate: &CertificateDer<'_>) -> Result<Peer, Error> {
    Peer::of_certificate(certificate).map_err(refused)
}

impl Expected {
    fn trusted(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, Error> {
        match self {
            Self::Node { ours, .. } => Ok(Arc::clone(&ours.held().roots)),
            Self::Root(digest) => {
                let root = chain
                    .iter()
                    .find(|certificate| root_digest(certificate) == *digest)
                    .ok_or_else(|| refused(OtherRoot))?;
                roots(root).map(Arc::new).map_err(refused)
            }
        }
    }

    fn check(&self, peer: &Peer) -> Result<(), PeerError> {
        match self {
            Self::Node { ours, role } => peer.must_be(ours.peer().cluster, *role),
            Self::Root(_) => peer.must_be(peer.cluster, Some(Role::Manager)),
        }
    }
}

fn signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = provider().signature_verification_algorithms;
    verify_tls13_signature(message, certificate, signed, &algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    provider()
        .signature_verification_algorithms
        .supported_schemes()
}

/// Nobody speaks TLS 1.2 here.
fn too_old() -> Error {
    Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(own)?,
            &*self.trusted(chain)?,
            chain,
            now,
            provider().signature_verification_algorithms.all,
        )?;
        self.check(&subject(own)?).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// Verifies clients of our cluster; one without a certificate passes as nobody.
#[derive(Debug)]
pub(super) struct Clients(pub(super) Identity);

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let held = self.0.held();
        let verified = held.clients.verify_client_cert(own, chain, now)?;
        subject(own)?
            .must_be(held.peer.cluster, None)
            .map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
