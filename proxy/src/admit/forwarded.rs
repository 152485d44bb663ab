//! What a trusted proxy says of the request that it passes on.

use http::{HeaderMap, HeaderValue, header::FORWARDED};

use super::{Scheme, target::normalise_field};

/// How a trusted proxy was asked, as far as a response may depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// The scheme: `http` or `https`, or an `X-Forwarded-Proto` that begins with neither, as it came.
    pub scheme: Option<HeaderValue>,
    /// The host, where that is another than `Host`.
    pub host: Option<HeaderValue>,
}

impl Forwarded {
    pub(super) const NOTHING: Self = Self { scheme: None, host: None };

    /// By `X-Forwarded-Proto` and `-Host`. Where neither is there, by `Forwarded`: by its first member, which is of
    /// the client (RFC 7239 §4).
    pub(super) fn of(headers: &HeaderMap, authority: &HeaderValue, scheme: Scheme) -> Self {
        let (proto, host) = (all_lines(headers, "x-forwarded-proto"), all_lines(headers, "x-forwarded-host"));
        let said = match (proto, host) {
            (None, None) => Self::by_rfc(headers, scheme),
            (proto, host) => Self { scheme: proto.map(first_scheme), host },
        };
        Self { host: said.host.filter(|host| host != authority), ..said }
    }

    fn by_rfc(headers: &HeaderMap, scheme: Scheme) -> Self {
        let Some(list) = all_lines(headers, FORWARDED.as_str()) else { return Self::NOTHING };
        let stated = |name| parameter(list.as_bytes(), name);
        let host = stated("host").and_then(|host| HeaderValue::from_bytes(&host).ok());
        Self {
            scheme: stated("proto").and_then(|proto| known(&proto)),
            host: host.and_then(|host| normalise_field(&host, scheme)),
        }
    }

    /// Name and value of each `X-Forwarded-` field that says the same, for people and for questions.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        let named = [("x-forwarded-proto", &self.scheme), ("x-forwarded-host", &self.host)];
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value.as_ref()?)))).collect()
    }

    /// A member of `Forwarded` that says the same, if it can.
    #[must_use]
    pub fn member(&self) -> Option<HeaderValue> {
        let scheme = self.scheme.as_ref().and_then(|scheme| known(scheme.as_bytes()));
        let host = self.host.as_ref().and_then(|host| normalise_field(host, Scheme::Http));
        let proto = scheme.iter().map(|scheme| [b"proto=", scheme.as_bytes()].concat());
        let host = host.iter().map(|host| [b"host=\"", host.as_bytes(), b"\""].concat());
        let pairs: Vec<_> = host.chain(proto).collect();
        HeaderValue::from_bytes(&pairs.join(&b';')).ok().filter(|member| !member.is_empty())
    }
}

/// The lines of a field as one list; the origin may read any of them.
fn all_lines(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).ok().filter(|_| !lines.is_empty())
}

/// Of several proxies the first has spoken with the client.
fn first_scheme(list: HeaderValue) -> HeaderValue {
    let first = list.as_bytes().split(|&byte| byte == b',').next().unwrap_or_default();
    known(first.trim_ascii()).unwrap_or(list)
}

/// One of the two schemes, in whatever case.
fn known(scheme: &[u8]) -> Option<HeaderValue> {
    let known = [Scheme::Http, Scheme::Https].map(Scheme::as_str);
    let same = known.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.as_bytes()));
    same.map(HeaderValue::from_static)
}

/// A parameter of the first member of a `Forwarded` (RFC 7239 §4); nothing of one that is malformed before it.
fn parameter(list: &[u8], wanted: &str) -> Option<Vec<u8>> {
    let mut rest = list;
    loop {
        let equals = memchr::memchr(b'=', rest)?;
        let (name, after) = rest.split_at(equals);
        let (value, end) = value(after.get(1..)?)?;
        if name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()) {
            return Some(value);
        }
        rest = end.trim_ascii_start().strip_prefix(b";")?;
    }
}

/// `token / quoted-string`, and what follows it.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr2(b';', b',', text).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return Some((token.trim_ascii().to_vec(), rest));
    };
    let (mut value, mut rest) = (Vec::new(), quoted);
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some((value, rest)),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn told(fields: &[(&'static str, &str)]) -> Vec<String> {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let forwarded = Forwarded::of(&fields.collect(), &HeaderValue::from_static("own"), Scheme::Http);
        forwarded.fields().into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn a_scheme_is_one_of_two_whoever_else_passed_it_on() {
        for said in ["https", "HTTPS", "https, http", "Https,http"] {
            assert_eq!(told(&[("x-forwarded-proto", said)]), ["x-forwarded-proto: https"], "{said}");
        }
        for other in ["wss", "", "https;http", ", https"] {
            assert_eq!(told(&[("x-forwarded-proto", other)]), [format!("x-forwarded-proto: {other}")]);
        }
        assert_eq!(told(&[("x-forwarded-host", "own")]), [""; 0]);
        assert_eq!(told(&[("x-forwarded-host", "a, b")]), ["x-forwarded-host: a, b"]);
    }

    #[test]
    fn rfc_7239_counts_by_its_first_member_where_nothing_else_is_said() {
        for said in [
            "for=1.2.3.4;proto=https;host=shop",
            "For=\"[::1]:2\";Proto=HTTPS;Host=\"Shop\", for=2.3.4.5;proto=http;host=x",
            "by=\"a;\\\"host=evil\";host=shop; proto=\"https\"",
        ] {
            assert_eq!(told(&[("forwarded", said)]), ["x-forwarded-proto: https", "x-forwarded-host: shop"]);
        }
        for nothing in ["", "for=1, proto=https", "for=\"1;proto=https", "host=own", "proto=wss;host=\"a b\""]
        {
            assert_eq!(told(&[("forwarded", nothing)]), [""; 0], "{nothing}");
        }
        let both = [("x-forwarded-proto", "http"), ("forwarded", "proto=https;host=shop")];
        assert_eq!(told(&both), ["x-forwarded-proto: http"]);
    }

    #[test]
    fn a_member_says_what_was_told() {
        let said = |scheme, host| {
            let value = |text: &'static str| (!text.is_empty()).then(|| HeaderValue::from_static(text));
            Forwarded { scheme: value(scheme), host: value(host) }.member()
        };
        assert_eq!(said("https", "shop:81").unwrap(), "host=\"shop:81\";proto=https");
        assert_eq!(said("wss", "shop").unwrap(), "host=\"shop\"");
        assert_eq!((said("", ""), said("wss", "a\", b")), (None, None));
    }
}
