use super::document::Document;
use super::{HREF_LEN_MAX, RequestError};
use crate::PUSH;

/// The longest key, secret or date in a registration, in bytes.
const TEXT_LEN_MAX: usize = 256;

/// What a client asks for with a `push-register` (draft-bitfire-webdav-push-00 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRegister {
    /// Where and how to send messages. `None` when the request has no Web Push subscription, or more
    /// than one subscription.
    pub subscription: Option<WebPushSubscription>,
    /// What to tell. A request that names no trigger at all, as DAVx5 sends it, is told of changes
    /// of the members.
    pub trigger: PushTrigger,
    /// When the client wants it to end, as it is written.
    pub expires: Option<String>,
}

/// A `web-push-subscription` as it is written; nothing of it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebPushSubscription {
    /// The URL to send messages to.
    pub push_resource: String,
    /// How messages are encrypted; `None` stands for `aes128gcm`.
    pub content_encoding: Option<String>,
    /// The client's public key of type `p256dh`, in base64url.
    pub public_key: Option<String>,
    /// The client's secret, in base64url.
    pub auth_secret: Option<String>,
}

/// Which events a client wants to be told of. How deep is not kept: an address book has no members
/// below its cards, and of properties only its own are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushTrigger {
    /// Changes of members.
    pub content_update: bool,
    /// Changes of the collection's properties.
    pub property_update: bool,
}

/// Parses the body of a POST to a collection (draft-bitfire-webdav-push-00 §3.1).
///
/// # Errors
///
/// One variant per cause. What the draft has a precondition for is no error: the caller looks at
/// what is missing.
pub fn parse_push_register(body: &[u8]) -> Result<PushRegister, RequestError> {
    let mut document = Document::new(body)?;
    let root = document.root()?;
    if !root.is(PUSH, "push-register") {
        return Err(RequestError::UnexpectedRoot(root.name()?));
    }
    let mut subscriptions = Vec::new();
    let mut trigger = None;
    let mut expires = None;
    while let Some(child) = document.child()? {
        if child.is(PUSH, "subscription") {
            read_subscription(&mut document, &mut subscriptions)?;
        } else if child.is(PUSH, "trigger") {
            trigger = Some(read_trigger(&mut document)?);
        } else if child.is(PUSH, "expires") {
            expires = document.text(TEXT_LEN_MAX)?;
        } else {
            document.skip()?;
        }
    }
    document.end()?;
    let subscription = match subscriptions.as_slice() {
        [Some(_)] => subscriptions.remove(0),
        _ => None,
    };
    Ok(PushRegister {
        subscription,
        trigger: trigger.unwrap_or(PushTrigger {
            content_update: true,
            property_update: false,
        }),
        expires,
    })
}

/// Reads a `subscription`. Each child is one, `None` if it is of an unknown transport; more than two
/// are not kept, as two are too many already.
fn read_subscription(
    document: &mut Document<'_>,
    subscriptions: &mut Vec<Option<WebPushSubscription>>,
) -> Result<(), RequestError> {
    while let Some(child) = document.child()? {
        let subscription = if child.is(PUSH, "web-push-subscription") {
            Some(read_web_push(document)?)
        } else {
            document.skip()?;
            None
        };
        if subscriptions.len() < 2 {
            subscriptions.push(subscription);
        }
    }
    Ok(())
}

/// Reads a `web-push-subscription`. What is too long is like what is missing.
fn read_web_push(document: &mut Document<'_>) -> Result<WebPushSubscription, RequestError> {
    let mut subscription = WebPushSubscription::default();
    while let Some(child) = document.child()? {
        if child.is(PUSH, "push-resource") {
            subscription.push_resource = document.text(HREF_LEN_MAX)?.unwrap_or_default();
        } else if child.is(PUSH, "content-encoding") {
            // Too long for the one that there is.
            subscription.content_encoding = Some(document.text(TEXT_LEN_MAX)?.unwrap_or_default());
        } else if child.is(PUSH, "subscription-public-key")
            && child.attribute("type")?.as_deref() == Some("p256dh")
        {
            subscription.public_key = document.text(TEXT_LEN_MAX)?;
        } else if child.is(PUSH, "auth-secret") {
            subscription.auth_secret = document.text(TEXT_LEN_MAX)?;
        } else {
            document.skip()?;
        }
    }
    Ok(subscription)
}

fn read_trigger(document: &mut Document<'_>) -> Result<PushTrigger, RequestError> {
    let mut trigger = PushTrigger::default();
    while let Some(child) = document.child()? {
        trigger.content_update |= child.is(PUSH, "content-update");
        trigger.property_update |= child.is(PUSH, "property-update");
        document.skip()?;
    }
    Ok(trigger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(inner: &str) -> Result<PushRegister, RequestError> {
        let body = format!(
            "<push-register xmlns=\"https://bitfire.at/webdav-push\" xmlns:D=\"DAV:\">{inner}\
             </push-register>"
        );
        parse_push_register(body.as_bytes())
    }

    #[test]
    fn the_whole_of_a_registration_is_read() {
        let register = parse(
            "<subscription><web-push-subscription>
               <push-resource> https://up.example.net/yohd4yai5Phiz1wi </push-resource>
               <content-encoding>aes128gcm</content-encoding>
               <subscription-public-key type=\"p256dh\">BCVx</subscription-public-key>
               <auth-secret>BTBZ</auth-secret>
             </web-push-subscription></subscription>
             <trigger>
               <content-update><D:depth>infinity</D:depth></content-update>
               <property-update><D:depth>0</D:depth><D:prop><D:owner/></D:prop></property-update>
             </trigger>
             <expires>Wed, 20 Dec 2023 10:03:31 GMT</expires>",
        );
        let expected = PushRegister {
            subscription: Some(WebPushSubscription {
                push_resource: "https://up.example.net/yohd4yai5Phiz1wi".to_owned(),
                content_encoding: Some("aes128gcm".to_owned()),
                public_key: Some("BCVx".to_owned()),
                auth_secret: Some("BTBZ".to_owned()),
            }),
            trigger: PushTrigger {
                content_update: true,
                property_update: true,
            },
            expires: Some("Wed, 20 Dec 2023 10:03:31 GMT".to_owned()),
        };
        assert_eq!(register.unwrap(), expected);
    }

    #[test]
    fn no_trigger_and_an_empty_one_are_not_the_same() {
        let content = |register: Result<PushRegister, _>| register.unwrap().trigger.content_update;
        assert!(content(parse("")));
        assert!(!content(parse("<trigger/>")));
        assert!(!content(parse("<trigger><other/></trigger>")));
    }

    #[test]
    fn one_subscription_is_not_none_and_not_two() {
        let web_push = "<web-push-subscription><push-resource>https://a.example/</push-resource>\
                        </web-push-subscription>";
        let has = |inner: &str| parse(inner).unwrap().subscription.is_some();
        assert!(has(&format!("<subscription>{web_push}</subscription>")));
        assert!(!has(""));
        assert!(!has("<subscription/>"));
        assert!(!has("<subscription><pigeon/></subscription>"));
        assert!(!has(&format!(
            "<subscription>{web_push}<pigeon/></subscription>"
        )));
        let two = format!("<subscription>{web_push}</subscription>").repeat(2);
        assert!(!has(&two));
    }

    #[test]
    fn a_key_of_another_type_or_endless_is_no_key() {
        let web_push = |inner: &str| {
            let text = format!(
                "<subscription><web-push-subscription>{inner}</web-push-subscription></subscription>"
            );
            parse(&text).unwrap().subscription.unwrap()
        };
        let other = "<subscription-public-key type=\"x25519\">BCVx</subscription-public-key>";
        assert_eq!(web_push(other).public_key, None);
        let long = format!("<auth-secret>{}</auth-secret>", "a".repeat(257));
        assert_eq!(web_push(&long).auth_secret, None);
        let long = format!("<content-encoding>{}</content-encoding>", "a".repeat(257));
        assert_eq!(web_push(&long).content_encoding.as_deref(), Some(""));
    }
}
