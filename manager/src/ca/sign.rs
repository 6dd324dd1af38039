//! Makes the root and signs node certificates with it.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use skep_proto::channel::{BACKDATED, Peer, Stamp};
use skep_proto::cluster::Authority;
use skep_proto::ids::ClusterId;
use time::OffsetDateTime;

/// A root lasts 20 years, as Docker's does.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);
/// The most that a node certificate may last; a longer one would outlive every rotation.
const LONGEST_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 60 * 60);

/// Why the authority could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// No root.
    #[error("cannot make the cluster's root certificate: {0}")]
    Root(#[source] rcgen::Error),
    /// What is in State cannot be used.
    #[error("cannot use the cluster's root certificate and key: {0}")]
    Authority(#[source] rcgen::Error),
    /// The request is not one, or it was not signed with its own key.
    #[error("cannot read the certificate request: {0}")]
    Request(#[source] rcgen::Error),
    /// Signing failed.
    #[error("cannot sign the certificate of {peer}: {source}")]
    Sign {
        /// Whose certificate.
        peer: Peer,
        /// Why.
        source: rcgen::Error,
    },
}

/// Makes the authority of a new cluster: a P-256 key and a root that signs node certificates and nothing below.
///
/// # Errors
/// When the system gives no randomness.
pub fn make_root(cluster: ClusterId, now: SystemTime) -> Result<Authority, CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Root)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "skep root");
    params
        .distinguished_name
        .push(DnType::OrganizationName, cluster.to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = OffsetDateTime::from(now - BACKDATED);
    params.not_after = OffsetDateTime::from(now + ROOT_LIFE);
    let certificate = params.self_signed(&key).map_err(CaError::Root)?;
    Ok(Authority {
        certificate: certificate.der().to_vec(),
        key: key.serialize_der(),
    })
}

/// Signs the certificate of `peer` for the key of `csr` (DER) and gives it back as DER. Of the request only the
/// key is used. The certificate holds from an hour before `now` until `expiry` after it, and `stamp` says what the
/// cluster knew.
///
/// # Errors
/// When the authority or the request cannot be read.
pub fn sign(
    authority: &Authority,
    csr: &[u8],
    (peer, stamp): (&Peer, Option<Stamp>),
    expiry: Duration,
    now: SystemTime,
) -> Result<Vec<u8>, CaError> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(authority.key.as_slice()),
        &PKCS_ECDSA_P256_SHA256,
    )
    .map_err(CaError::Authority)?;
    let root = CertificateDer::from(authority.certificate.as_slice());
    let issuer = Issuer::from_ca_cert_der(&root, key).map_err(CaError::Authority)?;
    let csr = CertificateSigningRequestDer::from(csr);
    let mut request = CertificateSigningRequestParams::from_der(&csr).map_err(CaError::Request)?;
    request.params = decided(peer, stamp, expiry, now).map_err(|source| CaError::Sign {
        peer: *peer,
        source,
    })?;
    let certificate = request.signed_by(&issuer).map_err(|source| CaError::Sign {
        peer: *peer,
        source,
    })?;
    Ok(certificate.der().to_vec())
}

/// All that a node certificate says. Every node serves others, at least content of images, so that each is
/// good for both ends of a connection.
fn decided(
    peer: &Peer,
    stamp: Option<Stamp>,
    expiry: Duration,
    now: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = peer.subject();
    params.subject_alt_names = vec![
        SanType::DnsName(peer.node.to_string().try_into()?),
        SanType::DnsName(peer.role.to_string().try_into()?),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let stamped = stamp.map(|stamp| stamp.extension());
    params.custom_extensions = stamped
        .map(|(oid, content)| CustomExtension::from_oid_content(&oid, content))
        .into_iter()
        .collect();
    params.not_before = OffsetDateTime::from(now - BACKDATED);
    params.not_after = OffsetDateTime::from(now + expiry.min(LONGEST_LIFE));
    Ok(params)
}
