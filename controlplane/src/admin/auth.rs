//! Who may ask and who may change. Pure.
//!
//! Over the socket: the process's own user, or root. Over TCP anyone who reaches it may read; whatever changes
//! something needs the token. Web pages get nothing: a page that reaches us under its own name (DNS rebinding) sends
//! its own `Host`, any other page sends its `Origin`.

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use erlmcp_config::Secret;
use subtle::ConstantTimeEq as _;

use super::Peer;
use super::sockets::is_loopback;

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

const fn denied(status: StatusCode, why: &'static str) -> Result<(), Denied> {
    Err(Denied { status, why })
}

/// Lets a request through or not.
pub(super) fn check(
    peer: Peer,
    method: &Method,
    headers: &HeaderMap,
    token: Option<&Secret>,
    own_user: u32,
) -> Result<(), Denied> {
    match peer {
        Peer::Unix(user) if user == own_user || user == 0 => return Ok(()),
        Peer::Unix(_) => {
            return denied(
                StatusCode::FORBIDDEN,
                "only the gateway's own user, or root, may use this socket",
            );
        }
        Peer::Tcp(local) => {
            let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
                return denied(StatusCode::BAD_REQUEST, "the request lacks Host");
            };
            if is_loopback(local.ip()) && !is_local_name(host) {
                return denied(StatusCode::FORBIDDEN, "Host must be localhost or a loopback address");
            }
            if let Some(origin) = headers.get(ORIGIN) {
                let origin = origin.to_str().unwrap_or_default();
                if origin.split_once("://").is_none_or(|(_, authority)| !authority.eq_ignore_ascii_case(host))
                {
                    return denied(StatusCode::FORBIDDEN, "pages of other origins may not use this API");
                }
            }
        }
    }
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return denied(
            StatusCode::FORBIDDEN,
            "changes need the Unix socket, or a token (admin.token in listeners.yaml), and none is configured",
        );
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if bool::from(given.as_bytes().ct_eq(token.reveal().as_bytes())) {
        Ok(())
    } else {
        denied(StatusCode::UNAUTHORIZED, "changes need `Authorization: Bearer TOKEN`")
    }
}

/// `localhost` or a loopback address, with or without a port.
fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: Peer, method: Method, headers: &[(&'static str, &str)], token: Option<&str>) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let token = token.map(Secret::new);
        check(peer, &method, &map, token.as_ref(), 1000).err().map(|denied| denied.status.as_u16())
    }

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    const LOCAL: (&str, &str) = ("host", "127.0.0.1:9090");

    #[test]
    fn the_socket_serves_its_own_user_and_root() {
        for (user, status) in [(1000, None), (0, None), (1001, Some(403))] {
            assert_eq!(ask(Peer::Unix(user), Method::POST, &[], None), status);
        }
        assert_eq!(ask(Peer::Unix(1001), Method::GET, &[], None), Some(403));
    }

    #[test]
    fn changes_over_tcp_need_the_token() {
        let (peer, post) = (tcp("127.0.0.1:9090"), Method::POST);
        assert_eq!(ask(peer, Method::GET, &[LOCAL], None), None);
        assert_eq!(ask(peer, post.clone(), &[LOCAL], None), Some(403));
        assert_eq!(ask(peer, post.clone(), &[LOCAL, ("authorization", "Bearer ")], Some("")), Some(403));
        for (given, status) in
            [("Bearer s3cret", None), ("Bearer s3cre", Some(401)), ("Basic s3cret", Some(401))]
        {
            assert_eq!(
                ask(peer, post.clone(), &[LOCAL, ("authorization", given)], Some("s3cret")),
                status,
                "{given}"
            );
        }
        assert_eq!(ask(peer, post, &[LOCAL], Some("s3cret")), Some(401));
    }

    #[test]
    fn pages_get_nothing() {
        let peer = tcp("127.0.0.1:9090");
        assert_eq!(ask(peer, Method::GET, &[("host", "evil.example:9090")], None), Some(403));
        assert_eq!(ask(peer, Method::GET, &[LOCAL, ("origin", "https://evil.example")], None), Some(403));
        assert_eq!(ask(peer, Method::GET, &[LOCAL, ("origin", "null")], None), Some(403));
        assert_eq!(ask(peer, Method::GET, &[LOCAL, ("origin", "http://127.0.0.1:9090")], None), None);
        assert_eq!(ask(peer, Method::GET, &[], None), Some(400));
        // Reached under a service's name from elsewhere: a scraper.
        assert_eq!(ask(tcp("10.0.0.7:9090"), Method::GET, &[("host", "erlmcp.monitoring:9090")], None), None);
    }

    #[test]
    fn local_names() {
        for good in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:80", "[::1]:80", "[::1]"] {
            assert!(is_local_name(good), "{good}");
        }
        for bad in ["localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "", "evil:localhost"] {
            assert!(!is_local_name(bad), "{bad}");
        }
    }
}
