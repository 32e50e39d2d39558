use super::*;

fn proxy(url: &str) -> Proxy {
    Proxy::new(url, "").unwrap()
}

#[test]
fn a_proxy_is_read_with_and_without_a_login_and_never_shows_it() {
    for url in ["http://proxy.example:3128/", "proxy.example:3128"] {
        assert_eq!(proxy(url).address, "proxy.example:3128");
        assert_eq!(proxy(url).authorization, None);
    }
    let proxy = proxy("http://me:p%40ss%3A@[2001:db8::1]:8080");
    assert_eq!(proxy.address, "[2001:db8::1]:8080");
    // "me:p@ss:"
    assert_eq!(
        proxy.authorization.as_ref().unwrap().expose(),
        "Basic bWU6cEBzczo="
    );
    let shown = format!("{proxy:?}");
    assert!(!shown.contains("bWU6") && !shown.contains("p@"), "{shown}");
}

#[test]
fn what_is_no_proxy_is_refused() {
    for url in [
        "",
        "https://proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://proxy.example",
        "http://:3128",
        "http://proxy.example:99999",
        "http://a b:1",
        "http://me:secret:proxy.example:1",
        "http://[me:proxy.example:1",
        "http://me:%4@proxy.example:1",
        "http://me:%+4@proxy.example:1",
        "http://me:%zz@proxy.example:1",
    ] {
        assert_eq!(Proxy::new(url, ""), Err(ProxyParseError), "{url}");
    }
}

#[test]
fn exceptions_are_reached_without_it() {
    let list =
        "relay.example, .corp.example,10.0.0.0/8 ,2001:db8::/32,[2001:db9::1],192.0.2.7,1.2.3.4/x";
    let proxy = Proxy::new("http://p:1", list).unwrap();
    for address in [
        "relay.example:443",
        "a.Relay.example:443",
        "corp.example:1",
        "b.corp.example:1",
        "10.9.8.7:1",
        "[2001:db8:1::1]:443",
        "[2001:db9::1]:443",
        "192.0.2.7:443",
        // On this machine.
        "localhost:443",
        "127.0.0.1:443",
        "[::1]:443",
    ] {
        assert!(!proxy.is_for(address), "{address}");
    }
    for address in [
        "otherrelay.example:443",
        "example:443",
        "11.0.0.1:443",
        "192.0.2.8:443",
        "1.2.3.4:443",
        "[2001:db9::2]:443",
    ] {
        assert!(proxy.is_for(address), "{address}");
    }
    assert!(!Proxy::new("http://p:1", "*").unwrap().is_for("a.example:1"));
    let all = Proxy::new("http://p:1", "0.0.0.0/0").unwrap();
    assert!(!all.is_for("203.0.113.1:1") && all.is_for("[2001:db8::1]:1"));
}
