//! What one end lets the other do.

/// Limits of one connection, which its settings tell the peer (RFC 9113 section 6.5.2).
#[derive(Clone, Debug)]
pub struct Config {
    /// What a stream's peer may send ahead of its reader, in bytes. The connection's own window never
    /// binds.
    pub stream_window: u32,
    /// The longest payload of a frame, 16 KiB to 16 MiB.
    pub frame_len: u32,
    /// Streams that a client may have open. A client tells none.
    pub streams_max: u32,
    /// The longest list of header fields, by the count of RFC 9113 section 10.5.1.
    pub header_list_len: u32,
}
