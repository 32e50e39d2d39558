//! The proxy that home has to go through, as the environment tells it to every program.

use anyhow::Context as _;
use cloudless_home::Proxy;

/// The proxy that `HTTPS_PROXY` names, if any, but for what `NO_PROXY` lists. Either may be written in
/// lower case, which counts more.
///
/// # Errors
/// When it names no HTTP proxy; the text is not repeated, for it may hold a password.
pub(crate) fn from_environment() -> anyhow::Result<Option<Proxy>> {
    let Some((name, url)) = variable(["https_proxy", "HTTPS_PROXY"]) else {
        return Ok(None);
    };
    let exceptions = variable(["no_proxy", "NO_PROXY"]).map(|(_, list)| list);
    let proxy = Proxy::new(&url, &exceptions.unwrap_or_default());
    proxy
        .map(Some)
        .with_context(|| format!("the environment variable {name} is of no use"))
}

/// The first of these that is set and says something, with its name.
fn variable(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    })
}
