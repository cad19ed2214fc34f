//! Which addresses a request may go to.
//!
//! The machine's own network is trusted by many services merely because a connection comes from
//! inside. So a function reaches only addresses of the public internet, unless the operator names
//! ranges beyond it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    first: IpAddr,
    bits: u8,
}

/// Reason why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpRangeError {
    /// Neither an address nor an address, a slash and a number of bits.
    #[error("{0:?} is no range of addresses such as 10.0.0.0/8, fd00::/8 or 127.0.0.1")]
    Malformed(Box<str>),
    /// The address is not the first one of its range.
    #[error("{0:?} has bits set beyond its prefix; the range begins at {1}")]
    NotFirst(Box<str>, IpAddr),
}

impl FromStr for IpRange {
    type Err = IpRangeError;

    fn from_str(text: &str) -> Result<Self, IpRangeError> {
        let malformed = || IpRangeError::Malformed(text.into());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| malformed())?;
        let bits_max = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits
                .parse()
                .ok()
                .filter(|&bits: &u8| bits <= bits_max)
                .ok_or_else(malformed)?,
            Some(_) => return Err(malformed()),
        };
        let range = Self { first, bits };
        let begins = range.masked(first);
        if begins != first {
            return Err(IpRangeError::NotFirst(text.into(), begins));
        }
        Ok(range)
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.bits)
    }
}

impl IpRange {
    fn masked(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let shift = 128 - u32::from(self.bits);
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.masked(address) == self.first
    }
}

/// Returns the reason why a request may not go to `address`; `None` if it may.
///
/// `allowed` are the ranges that the operator opens.
pub(crate) fn refusal(address: IpAddr, allowed: &[IpRange]) -> Option<&'static str> {
    let canonical = address.to_canonical();
    let is_allowed = |range: &IpRange| range.contains(canonical) || range.contains(address);
    if allowed.iter().any(is_allowed) {
        return None;
    }
    match canonical {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address, allowed),
    }
}

/// By the registry of special-purpose addresses of IANA (RFC 6890 and later ones).
fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Some("an address of this host"),
        (127, ..) => Some("a loopback address"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some("a private address"),
        (169, 254, _) => Some("a link-local address"),
        (100, 64..=127, _) => Some("an address shared behind a carrier's NAT"),
        (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) => Some("a reserved address"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Some("an address for documentation"),
        (224..=239, ..) => Some("a multicast address"),
        (240..=255, ..) => Some("a reserved address"),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr, allowed: &[IpRange]) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    match [a, b, c, d, e, f] {
        // NAT64 leads to the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0] => {
            let inner = Ipv4Addr::from_bits(u32::from(g) << 16 | u32::from(h));
            return refusal(inner.into(), allowed);
        }
        [0, 0, 0, 0, 0, 0] if (g, h) == (0, 1) => return Some("a loopback address"),
        [0xfe80..=0xfebf, ..] => return Some("a link-local address"),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => return Some("a private address"),
        [0xff00..=0xffff, ..] => return Some("a multicast address"),
        // Teredo, benchmarks, ORCHID and others; 6to4.
        [0x2001, 0..=0x1ff, ..] | [0x2002, ..] => return Some("a reserved address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            return Some("an address for documentation");
        }
        _ => {}
    }
    // Everything else that is public begins with these three bits.
    (a & 0xe000 != 0x2000).then_some("a reserved address")
}

#[cfg(test)]
mod tests {
    use super::{IpRange, refusal};

    #[test]
    fn only_public_addresses_are_reached() {
        for address in [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "fd00:ec2::254",
        ] {
            let parsed = address.parse().expect(address);
            assert!(refusal(parsed, &[]).is_some(), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
        ] {
            let parsed = address.parse().expect(address);
            assert_eq!(refusal(parsed, &[]), None, "{address}");
        }
    }

    #[test]
    fn the_operator_opens_ranges() {
        let allowed: Vec<IpRange> = ["127.0.0.0/8", "fd00:1::/32", "10.1.2.3"]
            .iter()
            .map(|range| range.parse().expect(range))
            .collect();
        for (address, open) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("64:ff9b::7f00:1", true),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("fd00:1:2::3", true),
            ("fd00:2::3", false),
            ("::1", false),
            ("169.254.169.254", false),
        ] {
            let parsed = address.parse().expect(address);
            assert_eq!(refusal(parsed, &allowed).is_none(), open, "{address}");
        }
    }

    #[test]
    fn ranges_are_read_strictly() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("fd00::/8", "fd00::/8"),
        ] {
            let range: IpRange = text.parse().expect(text);
            assert_eq!(range.to_string(), shown);
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "10/8",
            "a/8",
            "10.0.0.1/8",
        ] {
            assert!(text.parse::<IpRange>().is_err(), "{text}");
        }
    }
}
