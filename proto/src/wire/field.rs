//! Reads one field of a message, and names it when it is wrong.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::v1;
use crate::ids::{
    ClusterId, ConfigId, DrillId, NetworkId, NodeId, RequestId, SecretId, ServiceId, TaskId,
    TokenId,
};
use crate::image::Digest;

/// Why a message cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("field {field}: {reason}")]
pub struct WireError {
    /// Path of the field, such as `spec.task.limits`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl WireError {
    /// Says what is wrong with `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// A field that must be there is not.
    pub fn missing(field: impl Into<String>) -> Self {
        Self::new(field, "is missing")
    }

    /// The same, seen from the message that holds this one as `outer`.
    #[must_use]
    pub fn within(self, outer: impl fmt::Display) -> Self {
        Self {
            field: format!("{outer}.{}", self.field),
            reason: self.reason,
        }
    }
}

/// An id that travels as 16 bytes.
pub trait WireId: Copy {
    /// The id with these bits.
    fn from_bits(bits: u128) -> Self;
    /// The bytes of the id, big-endian.
    fn to_bytes(self) -> Vec<u8>;
}

macro_rules! wire_id {
    ($($id:ty),*) => {$(
        impl WireId for $id {
            fn from_bits(bits: u128) -> Self {
                Self::new(bits)
            }
            fn to_bytes(self) -> Vec<u8> {
                self.bits().to_be_bytes().to_vec()
            }
        }
    )*};
}

wire_id!(
    ClusterId, NodeId, ServiceId, TaskId, NetworkId, SecretId, ConfigId, TokenId, DrillId,
    RequestId
);

fn bytes<const N: usize>(bytes: &[u8], field: &str) -> Result<[u8; N], WireError> {
    bytes
        .try_into()
        .map_err(|_| WireError::new(field, format!("has {} bytes instead of {N}", bytes.len())))
}

/// Reads an id.
///
/// # Errors
/// Unless there are 16 bytes.
pub fn id<T: WireId>(from: &[u8], field: &str) -> Result<T, WireError> {
    bytes(from, field).map(|bits| T::from_bits(u128::from_be_bytes(bits)))
}

/// Reads the request id of a command; one without is refused, since it could not be repeated safely.
///
/// # Errors
/// Unless there are 16 bytes.
pub fn request_id(from: &[u8]) -> Result<RequestId, WireError> {
    id(from, "request")
}

/// Reads a SHA-256 digest.
///
/// # Errors
/// Unless there are 32 bytes.
pub fn digest(from: &[u8], field: &str) -> Result<Digest, WireError> {
    bytes(from, field).map(Digest)
}

pub(super) fn secret(from: &[u8], field: &str) -> Result<[u8; 16], WireError> {
    bytes(from, field)
}

/// Reads an IPv4 address.
///
/// # Errors
/// Unless there are 4 bytes.
pub fn ipv4(from: &[u8], field: &str) -> Result<Ipv4Addr, WireError> {
    bytes::<4>(from, field).map(Ipv4Addr::from)
}

/// Reads an address of either family.
///
/// # Errors
/// Unless there are 4 or 16 bytes.
pub fn address(from: &[u8], field: &str) -> Result<IpAddr, WireError> {
    if from.len() == 4 {
        return ipv4(from, field).map(IpAddr::V4);
    }
    bytes::<16>(from, field)
        .map(IpAddr::from)
        .map_err(|_| WireError::new(field, format!("has {} bytes, not 4 or 16", from.len())))
}

/// The bytes of an address, 4 or 16.
pub fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Reads a number into a narrower type.
///
/// # Errors
/// When it does not fit.
pub fn number<S, T>(from: S, field: &str) -> Result<T, WireError>
where
    S: Copy + fmt::Display,
    T: TryFrom<S>,
{
    T::try_from(from).map_err(|_| WireError::new(field, format!("{from} is out of range")))
}

/// Reads a port, which must not be 0.
///
/// # Errors
/// Unless it is from 1 to 65535.
pub fn network_port(from: u32, field: &str) -> Result<u16, WireError> {
    match number(from, field)? {
        0 => Err(WireError::new(field, "0 is not a port")),
        port => Ok(port),
    }
}

/// Reads a message that must be there.
///
/// # Errors
/// When it is missing or wrong.
pub fn message<W, T>(from: Option<W>, field: &str) -> Result<T, WireError>
where
    T: TryFrom<W, Error = WireError>,
{
    let from = from.ok_or_else(|| WireError::missing(field))?;
    T::try_from(from).map_err(|error| error.within(field))
}

/// Reads a message that may be absent.
///
/// # Errors
/// When it is there and wrong.
pub fn optional<W, T>(from: Option<W>, field: &str) -> Result<Option<T>, WireError>
where
    T: TryFrom<W, Error = WireError>,
{
    from.map(T::try_from)
        .transpose()
        .map_err(|error| error.within(field))
}

/// Reads each message of a list.
///
/// # Errors
/// At the first that is wrong, which is named by its number from 0.
pub fn list<W, T>(from: Vec<W>, field: &str) -> Result<Vec<T>, WireError>
where
    T: TryFrom<W, Error = WireError>,
{
    from.into_iter()
        .enumerate()
        .map(|(at, item)| {
            T::try_from(item).map_err(|error| error.within(format_args!("{field}[{at}]")))
        })
        .collect()
}

pub(super) fn ids<T: WireId>(from: &[Vec<u8>], field: &str) -> Result<Vec<T>, WireError> {
    from.iter().map(|item| id(item, field)).collect()
}

/// Reads an enumeration; its value 0 and values of later releases are refused.
///
/// # Errors
/// Unless the value is one of those that this release knows.
pub fn enumeration<W, T>(from: i32, field: &str) -> Result<T, WireError>
where
    W: TryFrom<i32>,
    T: TryFrom<W, Error = WireError>,
{
    let known =
        W::try_from(from).map_err(|_| WireError::new(field, format!("unknown value {from}")))?;
    T::try_from(known).map_err(|error| WireError::new(field, error.reason))
}

/// A duration in whole milliseconds, at most what 64 bits hold.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Ipv4Net> for v1::Subnet {
    fn from(subnet: Ipv4Net) -> Self {
        Self {
            address: subnet.addr().octets().to_vec(),
            prefix: u32::from(subnet.prefix_len()),
        }
    }
}

impl TryFrom<v1::Subnet> for Ipv4Net {
    type Error = WireError;

    fn try_from(subnet: v1::Subnet) -> Result<Self, WireError> {
        let prefix = number(subnet.prefix, "prefix")?;
        Self::new(ipv4(&subnet.address, "address")?, prefix)
            .map_err(|_| WireError::new("prefix", format!("{prefix} is more than 32")))
    }
}

impl From<SocketAddr> for v1::Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address_bytes(address.ip()),
            port: u32::from(address.port()),
        }
    }
}

impl TryFrom<v1::Address> for SocketAddr {
    type Error = WireError;

    fn try_from(from: v1::Address) -> Result<Self, WireError> {
        Ok(Self::new(
            address(&from.ip, "ip")?,
            number(from.port, "port")?,
        ))
    }
}
