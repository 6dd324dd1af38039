//! Who the other side is, as its certificate says.

use std::fmt;

use rcgen::{DistinguishedName, DnType};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::ids::{ClusterId, NodeId};
use crate::node::Role;

/// Who a node certificate belongs to. The role is a claim; what counts is what State says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Peer {
    /// CN.
    pub node: NodeId,
    /// OU.
    pub role: Role,
    /// O.
    pub cluster: ClusterId,
}

/// Why a certificate is not one of a node.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerError {
    /// It is no certificate.
    #[error("cannot read the certificate: {0}")]
    Malformed(String),
    /// A part of its subject is not what a node's certificate holds.
    #[error("the certificate's subject has {found} as its {part}: it is not a node's certificate")]
    Subject {
        /// `CN`, `OU` or `O`.
        part: &'static str,
        /// What is there.
        found: String,
    },
    /// It belongs to another cluster.
    #[error("the certificate is one of cluster {found}, but this node belongs to {expected}")]
    Cluster {
        /// Ours.
        expected: ClusterId,
        /// Theirs.
        found: ClusterId,
    },
    /// It belongs to a node in another role.
    #[error("node {node} is a {found}, but a {expected} was expected there")]
    Role {
        /// Whose it is.
        node: NodeId,
        /// The role that was to be met.
        expected: Role,
        /// The role it says.
        found: Role,
    },
}

impl Peer {
    /// Who `certificate` (DER) belongs to. The chain must have been verified before: this reads leniently.
    ///
    /// # Errors
    /// Unless it has exactly one CN, OU and O, and each is of the right form.
    pub fn of_certificate(certificate: &[u8]) -> Result<Self, PeerError> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|error| PeerError::Malformed(error.to_string()))?;
        Self::of_subject(parsed.subject())
    }

    fn of_subject(subject: &X509Name<'_>) -> Result<Self, PeerError> {
        let name = only("CN", subject.iter_common_name())?;
        let unit = only("OU", subject.iter_organizational_unit())?;
        let organization = only("O", subject.iter_organization())?;
        let wrong = |part, found: &str| PeerError::Subject {
            part,
            found: format!("\"{found}\""),
        };
        Ok(Self {
            node: name.parse().map_err(|_| wrong("CN", name))?,
            role: match unit {
                "manager" => Role::Manager,
                "worker" => Role::Worker,
                _ => return Err(wrong("OU", unit)),
            },
            cluster: organization.parse().map_err(|_| wrong("O", organization))?,
        })
    }

    /// The subject that a certificate of this node bears.
    pub fn subject(&self) -> DistinguishedName {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, self.node.to_string());
        subject.push(DnType::OrganizationalUnitName, self.role.to_string());
        subject.push(DnType::OrganizationName, self.cluster.to_string());
        subject
    }

    /// Refuses a node of another cluster and, where a role is expected, one in another role.
    pub(super) fn must_be(
        &self,
        cluster: ClusterId,
        expected: Option<Role>,
    ) -> Result<(), PeerError> {
        if self.cluster != cluster {
            return Err(PeerError::Cluster {
                expected: cluster,
                found: self.cluster,
            });
        }
        match expected {
            Some(expected) if expected != self.role => Err(PeerError::Role {
                node: self.node,
                expected,
                found: self.role,
            }),
            _ => Ok(()),
        }
    }
}

fn only<'a>(
    part: &'static str,
    mut values: impl Iterator<Item = &'a x509_parser::prelude::AttributeTypeAndValue<'a>>,
) -> Result<&'a str, PeerError> {
    let wrong = |found: &str| PeerError::Subject {
        part,
        found: found.to_owned(),
    };
    let first = values.next().ok_or_else(|| wrong("nothing"))?;
    if values.next().is_some() {
        return Err(wrong("more than one value"));
    }
    first.as_str().map_err(|_| wrong("no text"))
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.node)
    }
}
