//! What becomes of connections.

use cloudless_proto::client_hello::Malformed;
use cloudless_proto::control::Refusal;

/// Makes the enum, the list of all, and their names: one line for each.
macro_rules! outcomes {
    ($($outcome:ident = $name:literal: $meaning:literal,)*) => {
        /// What became of a connection, or of what came through one. Each is counted under its own
        /// name, in the status and in the metrics, and told in the log at DEBUG.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Outcome {
            $(#[doc = $meaning] $outcome,)*
        }

        impl Outcome {
            /// All there are, by name.
            pub const ALL: &'static [Self] = &[$(Self::$outcome,)*];

            /// The class that it is counted under.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$outcome => $name,)*
                }
            }

            /// What it means, for people to read.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$outcome => $meaning,)*
                }
            }
        }
    };
}

outcomes! {
    AcceptFailed = "accept_failed": "no connection accepted: the system refused, most often for want of file descriptors",
    ClientHelloTimeout = "client_hello_timeout": "closed: no whole ClientHello in time",
    ClosedEarly = "closed_early": "ended by the client before its ClientHello was whole",
    HandshakeLimit = "handshake_limit": "closed for a newcomer, before it had said what it wants, when it had been answered, or as a tunnel before its handshake was over",
    HomeLimit = "home_limit": "a visitor reset for a newcomer: its home has as many as it may",
    HomeOffline = "home_offline": "a visitor got an alert: its home stayed away",
    HomeRefused = "home_refused": "a visitor got an alert: its home did not take it",
    HomeReset = "home_reset": "a visitor reset by its home before a byte came",
    HttpClosedEarly = "http_closed_early": "plain HTTP, ended by the client before its head was whole",
    HttpMalformed = "http_malformed": "plain HTTP answered 400: not HTTP, or to be read in two ways",
    HttpNoHost = "http_no_host": "plain HTTP without a host: to the fallback, or 404",
    HttpOwnName = "http_own_name": "plain HTTP for the relay's own name: to the fallback, or 404",
    HttpRedirect = "http_redirect": "plain HTTP for a home: redirected to https",
    HttpRoute = "http_route": "plain HTTP for a name with a route: to its server, or 404",
    HttpTimeout = "http_timeout": "plain HTTP answered 408: no whole head in time",
    HttpTooLong = "http_too_long": "plain HTTP answered 431: the head is too long",
    HttpUnknownHost = "http_unknown_host": "plain HTTP for no home: to the fallback, or 404",
    HttpValidation = "http_validation": "plain HTTP of a certificate authority: to its home, or 404",
    Joined = "joined": "a home redeemed a join code",
    Leg = "leg": "a leg given to its visitor",
    LegClosedEarly = "leg_closed_early": "a leg ended before its ticket was whole",
    LegLimit = "leg_limit": "no leg offered: its home, or all, have as many as they may",
    LegRefused = "leg_refused": "a leg reset: its ticket is for no visitor",
    LegTimeout = "leg_timeout": "a leg closed: no whole ticket in time",
    MalformedAlpnLength = "malformed_alpn_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedCipherSuitesLength = "malformed_cipher_suites_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedCompressionMethodsLength = "malformed_compression_methods_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedDuplicateAlpn = "malformed_duplicate_alpn": "a wrong ClientHello: to the fallback, or closed",
    MalformedDuplicateServerName = "malformed_duplicate_server_name": "a wrong ClientHello: to the fallback, or closed",
    MalformedEmptyRecord = "malformed_empty_record": "a wrong ClientHello: to the fallback, or closed",
    MalformedExtensionLength = "malformed_extension_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedExtensionsLength = "malformed_extensions_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedHandshakeType = "malformed_handshake_type": "a wrong ClientHello: to the fallback, or closed",
    MalformedHelloLength = "malformed_hello_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedHelloVersion = "malformed_hello_version": "a wrong ClientHello: to the fallback, or closed",
    MalformedHostname = "malformed_hostname": "a wrong ClientHello: to the fallback, or closed",
    MalformedNameType = "malformed_name_type": "a wrong ClientHello: to the fallback, or closed",
    MalformedRecordLength = "malformed_record_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedRecordType = "malformed_record_type": "a wrong ClientHello: to the fallback, or closed",
    MalformedRecordVersion = "malformed_record_version": "a wrong ClientHello: to the fallback, or closed",
    MalformedServerNameLength = "malformed_server_name_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedSessionIdLength = "malformed_session_id_length": "a wrong ClientHello: to the fallback, or closed",
    MalformedTrailingBytes = "malformed_trailing_bytes": "a wrong ClientHello: to the fallback, or closed",
    NoServerName = "no_server_name": "a ClientHello without a server name: to the fallback, or closed",
    NotTls = "not_tls": "something else than TLS: to the fallback, or closed",
    OwnName = "own_name": "a ClientHello for the relay's own name: to the fallback, or closed",
    ProxyProtocolMissing = "proxy_protocol_missing": "a load balancer's connection closed: no PROXY header",
    ProxyProtocolTimeout = "proxy_protocol_timeout": "a load balancer's connection closed: no PROXY header in time",
    RefusedHostnameTaken = "refused_hostname_taken": "a home refused: the name is another key's",
    RefusedJoinRejected = "refused_join_rejected": "a home refused: no such join code, or used, or expired",
    RefusedMalformed = "refused_malformed": "a home refused: what it said first is no message",
    RefusedOldEpoch = "refused_old_epoch": "a home refused: it has a newer session",
    RefusedOther = "refused_other": "a home refused for another reason",
    RefusedOtherInstance = "refused_other_instance": "a home refused: another live one has its key",
    RefusedRateLimited = "refused_rate_limited": "a home refused for now: too many joins, or too many homes",
    RefusedUnknownKey = "refused_unknown_key": "a home refused: no name is its key's",
    RefusedVersion = "refused_version": "a home refused: it speaks another version",
    Route = "route": "a ClientHello for a name with a route: to its server, or closed",
    ServerUnreachable = "server_unreachable": "closed, on port 80 with a 502: the server that it is for cannot be reached",
    Session = "session": "a home online",
    SessionLimit = "session_limit": "a home turned away: as many are online as may be",
    SourceLimit = "source_limit": "closed for a newcomer: its source has as many connections as it may",
    SshHandshakeFailed = "ssh_handshake_failed": "an SSH connection ended before its client had proven a key that has a name",
    SshLoginTimeout = "ssh_login_timeout": "an SSH connection closed: no key proven in time",
    SshNothingForwarded = "ssh_nothing_forwarded": "an SSH connection of a known key ended: it had nothing forwarded",
    SshRefused = "ssh_refused": "an SSH connection ended: it asked too often for what is not given",
    StrangerLimit = "stranger_limit": "a visitor got an alert, or went before its turn: too many came for its home from addresses that it does not know",
    TooLong = "too_long": "a ClientHello above 32 KiB: to the fallback, or closed",
    TunnelFailed = "tunnel_failed": "a home's session ended: its connection broke, or it broke HTTP/2",
    TunnelHandshakeFailed = "tunnel_handshake_failed": "a home's connection ended before its session",
    TunnelHandshakeTimeout = "tunnel_handshake_timeout": "a home's connection closed: no session in time",
    TunnelSilent = "tunnel_silent": "a home's session ended: it answered no ping, or took no message",
    UnknownName = "unknown_name": "a ClientHello for no home: to the fallback, or closed",
    Visitor = "visitor": "a visitor brought to its home",
    VisitorCut = "visitor_cut": "a visitor reset by its home after it was brought there",
    VisitorLegBroke = "visitor_leg_broke": "a visitor reset: its leg broke, or its home reset that",
    VisitorLimit = "visitor_limit": "a visitor reset for a newcomer: as many are connected as may be, or as many of those for no home",
    VisitorSilent = "visitor_silent": "a visitor reset: nothing moved for too long",
    VisitorStalled = "visitor_stalled": "a visitor reset: it does not read, and too much waits for its home's visitors",
    VisitorTunnelLost = "visitor_tunnel_lost": "a visitor reset: its home's session ended while it was needed",
    VisitorUnbound = "visitor_unbound": "a visitor reset: its name was taken from its home",
}

impl From<Malformed> for Outcome {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::AlpnLength => Self::MalformedAlpnLength,
            Malformed::CipherSuitesLength => Self::MalformedCipherSuitesLength,
            Malformed::CompressionMethodsLength => Self::MalformedCompressionMethodsLength,
            Malformed::DuplicateAlpn => Self::MalformedDuplicateAlpn,
            Malformed::DuplicateServerName => Self::MalformedDuplicateServerName,
            Malformed::EmptyRecord => Self::MalformedEmptyRecord,
            Malformed::ExtensionLength => Self::MalformedExtensionLength,
            Malformed::ExtensionsLength => Self::MalformedExtensionsLength,
            Malformed::HandshakeType(_) => Self::MalformedHandshakeType,
            Malformed::HelloLength => Self::MalformedHelloLength,
            Malformed::HelloVersion(_) => Self::MalformedHelloVersion,
            Malformed::Hostname(_) => Self::MalformedHostname,
            Malformed::NameType(_) => Self::MalformedNameType,
            Malformed::RecordLength(_) => Self::MalformedRecordLength,
            Malformed::RecordType(_) => Self::MalformedRecordType,
            Malformed::RecordVersion(_) => Self::MalformedRecordVersion,
            Malformed::ServerNameLength => Self::MalformedServerNameLength,
            Malformed::SessionIdLength => Self::MalformedSessionIdLength,
            Malformed::TrailingBytes => Self::MalformedTrailingBytes,
        }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::HostnameTaken => Self::RefusedHostnameTaken,
            Refusal::JoinRejected => Self::RefusedJoinRejected,
            Refusal::Malformed => Self::RefusedMalformed,
            Refusal::OldEpoch => Self::RefusedOldEpoch,
            Refusal::OtherInstance => Self::RefusedOtherInstance,
            Refusal::RateLimited => Self::RefusedRateLimited,
            Refusal::UnknownKey => Self::RefusedUnknownKey,
            Refusal::Version => Self::RefusedVersion,
            Refusal::Other => Self::RefusedOther,
        }
    }
}
