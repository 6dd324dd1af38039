//! `skep swarm ca`.

use std::process::ExitCode;

use data_encoding::BASE64;
use skep_proto::wire::v1;

use crate::commands::client::{Client, persist};
use crate::output;

/// Characters on a line of PEM (RFC 7468).
const LINE: usize = 64;

/// Prints the cluster's root certificate.
///
/// # Errors
/// What the user is to read.
pub async fn print(client: &Client) -> anyhow::Result<ExitCode> {
    let cluster = persist(|| {
        let mut control = client.control.clone();
        async move { control.get_cluster(v1::GetClusterRequest::default()).await }
    })
    .await?;
    output::line(pem(&cluster.root).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, letter) in BASE64.encode(der).chars().enumerate() {
        if at > 0 && at.is_multiple_of(LINE) {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pem_have_64_characters() {
        let cases = [
            (48, vec![64]),
            (49, vec![64, 4]),
            (96, vec![64, 64]),
            (1, vec![4]),
        ];
        for (bytes, lengths) in cases {
            let text = pem(&vec![7; bytes]);
            let lines: Vec<&str> = text.lines().collect();
            let (first, last) = (lines.first().unwrap(), lines.last().unwrap());
            assert_eq!(*first, "-----BEGIN CERTIFICATE-----");
            assert_eq!(*last, "-----END CERTIFICATE-----");
            let body = lines.get(1..lines.len() - 1).unwrap();
            let found: Vec<usize> = body.iter().map(|line| line.len()).collect();
            assert_eq!(found, lengths);
            let whole = BASE64.decode(body.concat().as_bytes()).unwrap();
            assert_eq!(whole, vec![7; bytes]);
        }
    }
}
