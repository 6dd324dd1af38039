//! Encryption at rest. A manager's key never encrypts anything itself: each run of the log and each
//! snapshot derives a key of its own from a random salt, and counts its messages, so that no nonce is
//! ever used twice, not after truncation and not in a recycled segment either.

use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::disk::{Disk, replace};

/// Payload as it is.
pub(crate) const CIPHER_PLAIN: u8 = 0;
/// AES-256-GCM with a derived key and a counted nonce; 16 bytes of tag at the end.
pub(crate) const CIPHER_AES_256_GCM: u8 = 1;

/// Salt of a derived key.
pub(crate) type SaltBytes = [u8; 32];

const KEY_FILE: &str = "key";
const KEY_LABEL: &str = "skep-key-1 ";

/// Why something sealed could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("it is encrypted and this manager has no key for it: put back the key file")]
    NoKey,
    #[error(
        "it was encrypted with another key, or altered: put back the key file it was made with"
    )]
    WrongKey,
    #[error("cipher {0} is not known: written by a newer skep, upgrade this manager")]
    UnknownCipher(u8),
    #[error("the cryptographic library refused")]
    Refused,
}

/// A manager's key for what it keeps on disk.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A key from 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key kept on `disk`. Without one, `fresh` says whether a new one may be made (nothing
    /// was encrypted yet) or whether its absence is an error.
    pub(crate) fn load(disk: &dyn Disk, fresh: bool) -> io::Result<Self> {
        if disk.names()?.iter().any(|name| name == KEY_FILE) {
            let file = disk.open(KEY_FILE)?;
            let len = usize::try_from(file.len()?.min(256)).unwrap_or(256);
            let mut text = Zeroizing::new(vec![0; len]);
            file.read_at(0, &mut text)?;
            return Self::parse(&text).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the key file is damaged: put back a copy of it",
                )
            });
        }
        if !fresh {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is a log but no key file: put back the key file it was made with",
            ));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        random(&mut *bytes)?;
        let text = Zeroizing::new(format!("{KEY_LABEL}{}\n", HEXLOWER.encode(&*bytes)));
        replace(disk, KEY_FILE, text.as_bytes())?;
        Ok(Self(bytes))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let hex = text
            .strip_prefix(KEY_LABEL.as_bytes())?
            .strip_suffix(b"\n")?;
        let bytes = Zeroizing::new(HEXLOWER.decode(hex).ok()?);
        Some(Self::new(bytes.as_slice().try_into().ok()?))
    }
}

/// Seals and opens the messages of one run or one snapshot.
pub(crate) struct Sealer(Option<LessSafeKey>);

impl Sealer {
    /// The sealer for `salt`; without a key everything stays plain.
    pub(crate) fn new(
        key: Option<&Key>,
        salt: &SaltBytes,
        purpose: &[u8],
    ) -> Result<Self, SealError> {
        let Some(key) = key else {
            return Ok(Self(None));
        };
        let salt = Salt::new(HKDF_SHA256, salt);
        let secret = salt.extract(&*key.0);
        let label = [purpose];
        let derived = secret
            .expand(&label, &AES_256_GCM)
            .map_err(|_| SealError::Refused)?;
        Ok(Self(Some(LessSafeKey::new(UnboundKey::from(derived)))))
    }

    /// The cipher id to write beside what this sealer seals.
    pub(crate) fn cipher(&self) -> u8 {
        if self.0.is_some() {
            CIPHER_AES_256_GCM
        } else {
            CIPHER_PLAIN
        }
    }

    /// How many bytes sealing adds.
    pub(crate) fn overhead(&self) -> usize {
        self.0.as_ref().map_or(0, |key| key.algorithm().tag_len())
    }

    /// Seals `message` in place as number `counter` of its run; `bound` is authenticated besides.
    pub(crate) fn seal(
        &self,
        counter: u64,
        bound: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let Some(key) = &self.0 else { return Ok(()) };
        key.seal_in_place_append_tag(nonce(counter), Aad::from(bound), message)
            .map_err(|_| SealError::Refused)
    }

    /// Opens what [`Self::seal`] made, in place.
    pub(crate) fn open(
        &self,
        cipher: u8,
        counter: u64,
        bound: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        match cipher {
            CIPHER_PLAIN => Ok(()),
            CIPHER_AES_256_GCM => {
                let key = self.0.as_ref().ok_or(SealError::NoKey)?;
                let len = key
                    .open_in_place(nonce(counter), Aad::from(bound), message)
                    .map_err(|_| SealError::WrongKey)?
                    .len();
                message.truncate(len);
                Ok(())
            }
            other => Err(SealError::UnknownCipher(other)),
        }
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Fills `bytes` from the system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| io::Error::other("no random bytes from the system"))
}
