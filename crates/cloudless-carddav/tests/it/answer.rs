//! A response, read to its end.

use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;

use crate::multistatus::Multistatus;

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn read<B>(response: Response<B>) -> Self
    where
        B: BodyExt<Data = Bytes>,
        B::Error: Debug,
    {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// The value of a header, empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body of a 207.
    #[track_caller]
    pub(crate) fn multistatus(&self) -> Multistatus {
        assert_eq!(self.status, 207, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            "application/xml; charset=utf-8"
        );
        Multistatus::parse(self.text())
    }

    /// Checks that the request was refused with this DAV:error condition.
    #[track_caller]
    pub(crate) fn assert_condition(&self, status: u16, namespace: &str, name: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            "application/xml; charset=utf-8"
        );
        let document = roxmltree::Document::parse(self.text()).unwrap();
        let root = document.root_element();
        assert!(root.has_tag_name(("DAV:", "error")), "{self:?}");
        let conditions: Vec<_> = root.children().filter(|node| node.is_element()).collect();
        assert_eq!(conditions.len(), 1, "{self:?}");
        assert!(conditions[0].has_tag_name((namespace, name)), "{self:?}");
    }
}
