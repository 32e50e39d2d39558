//! The CardDAV service driven as clients drive it: requests in, responses out, no socket.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod answer;
mod authentication;
mod clients;
mod corpus;
mod harness;
mod multistatus;
mod options;
mod places;
mod races;
mod real_cards;
mod request_bodies;
mod rfc3744_sharing;
mod rfc4918_10_4_if;
mod rfc4918_5_2_plain_collections;
mod rfc4918_9_1_propfind;
mod rfc4918_9_2_proppatch;
mod rfc4918_9_6_delete;
mod rfc4918_9_8_copy_move;
mod rfc4918_9_8_plain_copy_move;
mod rfc4918_9_9_address_book;
mod rfc5689_extended_mkcol;
mod rfc6352_10_4_address_data;
mod rfc6352_5_1_get_accept;
mod rfc6352_6_3_2_1_preconditions;
mod rfc6352_6_3_2_put;
mod rfc6352_8_6_addressbook_query;
mod rfc6352_8_7_addressbook_multiget;
mod rfc6578_sync_collection;
mod rfc6764_5_well_known;
mod rfc8144_prefer;
mod rfc9110_9_3_get;
mod rfc_examples;
mod sessions;
mod streaming;
mod webdav_push;
mod writers;
