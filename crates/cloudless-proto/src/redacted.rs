//! Secrets in memory: never in output, and wiped when they are dropped.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret, such as a password or a URL with a token in it.
///
/// `Debug` says nothing of it, `Display` and `Serialize` are not there, so that it comes into a log or
/// a file only where [`expose`](Self::expose) or [`serialize_exposed`] is written. Its memory is wiped
/// when it is dropped. What it was made from, or copied to after `expose`, is the caller's matter; the
/// program wipes all that it frees (`allocator` in the binary).
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Redacted<T: Zeroize>(T);

impl<T: Zeroize> Redacted<T> {
    /// Takes the secret over.
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Redacted<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> ZeroizeOnDrop for Redacted<T> {}

/// Writes the secret itself: for `#[serde(serialize_with)]` in a message to who is to know it.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_exposed<T: Zeroize + Serialize, S: Serializer>(
    secret: &Redacted<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.0.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// What is at an address of this process, whether or not it is in use.
    fn memory<const LENGTH: usize>(address: usize) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let memory = File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut bytes, address as u64).unwrap();
        bytes
    }

    #[test]
    fn what_is_dropped_is_wiped() {
        // Long: the allocator writes into the first bytes of what is free.
        let text = "secret".repeat(20);
        let shown = Box::new(text.clone());
        let (address, control) = (shown.as_ptr() as usize, text.as_ptr() as usize);
        let secret = Redacted::new(*shown);
        let part = |address| memory::<60>(address + 60);
        assert_eq!(part(address), text.as_bytes()[60..]);
        drop(secret);
        assert_ne!(part(address), text.as_bytes()[60..]);
        assert_eq!(part(control), text.as_bytes()[60..]);

        let secret = Box::new(Redacted::new([93_u8; 64]));
        let address = secret.expose().as_ptr() as usize;
        assert_eq!(memory(address + 32), [93; 32]);
        drop(secret);
        assert_eq!(memory(address + 32), [0; 32]);
    }

    #[test]
    fn it_shows_and_writes_nothing_unless_asked_to() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Reply {
            #[serde(serialize_with = "serialize_exposed")]
            password: Redacted<String>,
        }
        let reply: Reply = serde_json::from_str(r#"{"password":"secret"}"#).unwrap();
        assert_eq!(format!("{reply:?}"), "Reply { password: [redacted] }");
        assert_eq!(reply.password.expose(), "secret");
        let written = serde_json::to_string(&reply).unwrap();
        assert_eq!(written, r#"{"password":"secret"}"#);
    }
}
