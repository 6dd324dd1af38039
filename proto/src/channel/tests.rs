//! Join tokens and subjects; connections are tested where certificates are signed.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::{JoinToken, Peer, PeerError, TokenError};
use crate::ids::{ClusterId, NodeId};
use crate::node::Role;

fn token() -> JoinToken {
    JoinToken::new(b"a root certificate", [7; 16])
}

fn refused(text: &str) -> TokenError {
    text.parse::<JoinToken>().unwrap_err()
}

#[test]
fn a_written_token_reads_back() {
    let edges = [[0; 32], [0xff; 32]];
    for root_digest in edges {
        for secret in [[0; 16], [0xff; 16], [1; 16]] {
            let token = JoinToken {
                root_digest,
                secret,
            };
            let text = token.to_string();
            assert_eq!(text.len(), "SKEP-1-".len() + 50 + 1 + 25, "{text}");
            assert_eq!(text.parse(), Ok(token));
            assert_eq!(format!(" {text}\n").parse(), Ok(token));
        }
    }
}

#[test]
fn a_foreign_token_is_told_from_a_damaged_one() {
    let docker =
        "SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c";
    assert_eq!(refused(docker), TokenError::OfDocker);
    for text in ["", "hello", "SKEP", "SKEP-", "skep-1-0-0"] {
        assert_eq!(refused(text), TokenError::Foreign, "{text}");
    }
    let later = token().to_string().replacen("SKEP-1-", "SKEP-2-", 1);
    assert_eq!(refused(&later), TokenError::Version("2".into()));
}

#[test]
fn a_truncated_token_is_refused_at_every_length() {
    let text = token().to_string();
    for length in 0..text.len() {
        let error = refused(&text[..length]);
        if length > "SKEP-1-".len() {
            assert!(
                matches!(error, TokenError::Length { .. }),
                "{length}: {error}"
            );
        }
    }
    let error = refused(&text[..text.len() - 1]);
    assert_eq!(
        error.to_string(),
        "the join token's secret has 24 characters instead of 25; copy the whole token"
    );
}

#[test]
fn a_damaged_token_is_refused() {
    let text = token().to_string();
    let damaged = [
        format!("{text}-1"),
        text.to_uppercase(),
        // More than 256 and 128 bits.
        format!("SKEP-1-{}-{}", "z".repeat(50), "0".repeat(25)),
        format!("SKEP-1-{}-{}", "0".repeat(50), "z".repeat(25)),
    ];
    for text in damaged {
        assert!(
            matches!(refused(&text), TokenError::Damaged { .. }),
            "{text}"
        );
    }
}

fn certificate(subject: DistinguishedName) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn a_subject_reads_back() {
    for role in [Role::Worker, Role::Manager] {
        let peer = Peer {
            node: NodeId::new(1),
            role,
            cluster: ClusterId::new(u128::MAX),
        };
        let der = certificate(peer.subject());
        assert_eq!(Peer::of_certificate(&der), Ok(peer));
    }
}

#[test]
fn a_subject_of_no_node_is_refused() {
    let peer = Peer {
        node: NodeId::new(1),
        role: Role::Worker,
        cluster: ClusterId::new(2),
    };
    for (part, kind) in [
        ("CN", DnType::CommonName),
        ("OU", DnType::OrganizationalUnitName),
        ("O", DnType::OrganizationName),
    ] {
        let mut without = peer.subject();
        without.remove(kind.clone());
        let mut wrong = peer.subject();
        wrong.push(kind, "leader");
        for subject in [without, wrong] {
            let error = Peer::of_certificate(&certificate(subject)).unwrap_err();
            assert!(
                matches!(error, PeerError::Subject { part: found, .. } if found == part),
                "{error}"
            );
        }
    }
    assert!(Peer::of_certificate(b"nonsense").is_err());
}
