//! PROPFIND (RFC 4918 §9.1).

use std::fmt::Display;

use bytes::Bytes;
use cloudless_dav_proto::error::Condition;
use cloudless_dav_proto::header::Depth;
use cloudless_dav_proto::request::parse_propfind;
use http::{Response, StatusCode};

use super::read_xml;
use crate::depth::depth;
use crate::multistatus::{self, Row};
use crate::prefer::{self, is_minimal, is_noroot};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::{Body, blocking, properties};

/// Tells properties of a resource, and at Depth 1 of its members.
pub(super) async fn respond<B>(request: Request, body: B) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Display,
{
    // Without the header the RFC means infinity.
    let depth = depth(&request.headers)?.unwrap_or(Depth::Infinity);
    let minimal = is_minimal(&request.headers);
    let noroot = depth == Depth::One && is_noroot(&request.headers);
    let body = read_xml(&request, body).await?;
    let reader = request.reader();
    blocking::run(move || {
        let propfind = parse_propfind(&body)?;
        let target = request.target()?.ok_or_else(Refusal::not_found)?;
        if depth == Depth::Infinity && target.is_collection() {
            let reason = "Send PROPFIND with Depth: 0 or Depth: 1.";
            let condition = Condition::PropfindFiniteDepth;
            return Err(Refusal::condition(StatusCode::FORBIDDEN, condition, reason));
        }
        let members = match depth {
            Depth::One => Some(target.members(&request.store, &request.login)?),
            Depth::Zero | Depth::Infinity => None,
        };
        let root = (!noroot).then_some(Ok(target));
        let targets = root.into_iter().chain(members.into_iter().flatten());
        let rows = targets.map(move |target| {
            let target = target?;
            let (found, missing) = properties::answer(&target, &request, &propfind)?;
            let missing = if minimal { Vec::new() } else { missing };
            Ok(Row::Properties {
                href: target.href(&request.login.user_name),
                found,
                missing,
            })
        });
        let mut response = multistatus::respond(reader, Box::new(rows), minimal)?;
        if noroot {
            prefer::applied(&mut response, prefer::NOROOT);
        }
        Ok(response)
    })
    .await
}
