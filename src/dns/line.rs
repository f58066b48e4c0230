//! A connection to a name server: framing, signatures, time limits.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, TSigVerifier, TSigner,
        rdata::tsig::{TsigAlgorithm, TsigError},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{DnsError, Server};
use crate::clock::Clock;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How far the clocks of both ends may differ, in seconds: RFC 8945 recommends it.
const FUDGE: u16 = 300;

/// A connection. One that failed is not used again.
pub(super) struct Line<'a> {
    stream: TcpStream,
    server: &'a Server,
    signer: TSigner,
    clock: &'a Clock,
}

/// What proves the answer to a request.
pub(super) type Proof = TSigVerifier;

impl<'a> Line<'a> {
    pub(super) async fn open(server: &'a Server, clock: &'a Clock) -> Result<Self, DnsError> {
        let signer = signer(server)?;
        let connected = within(CONNECT, TcpStream::connect(server.address)).await;
        let stream = connected.map_err(|text| unreachable(server.address, text))?;
        // Without it the second of two small writes waits for the first's acknowledgement.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            server,
            signer,
            clock,
        })
    }

    /// Signs a message and sends it.
    pub(super) async fn send(&mut self, mut message: Message) -> Result<Proof, DnsError> {
        let now = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let signed = message.finalize(&self.signer, now);
        let written = signed.and_then(|proof| Ok((proof, message.to_vec()?)));
        let (proof, bytes) = written.map_err(|error| self.unbelievable(error.to_string()))?;
        let proof = proof.ok_or_else(|| self.unbelievable("it was not signed".to_owned()))?;
        let length = u16::try_from(bytes.len())
            .map_err(|_| self.unbelievable(format!("{} bytes in a message", bytes.len())))?;
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        let sent = within(ANSWER, self.stream.write_all(&framed)).await;
        sent.map_err(|text| unreachable(self.server.address, text))?;
        Ok(proof)
    }

    /// The next message, as it came.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, DnsError> {
        let stream = &mut self.stream;
        let read = async move {
            let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut bytes).await?;
            Ok(bytes)
        };
        let read = within(ANSWER, read).await;
        read.map_err(|text| unreachable(self.server.address, text))
    }

    /// Opens an answer: what it says counts only where it is signed.
    pub(super) fn believe(&self, bytes: &[u8], proof: &mut Proof) -> Result<Message, DnsError> {
        let message = Message::from_vec(bytes);
        let message = message.map_err(|error| self.unbelievable(error.to_string()))?;
        self.complaint(&message)?;
        if message.signature().is_none() {
            let code = message.metadata.response_code;
            return Err(self.unbelievable(format!("{} without a signature", told(code))));
        }
        let proven = proof.verify(bytes);
        proven.map_err(|error| self.unbelievable(error.to_string()))?;
        Ok(message)
    }

    /// What the server has against our signature.
    fn complaint(&self, message: &Message) -> Result<(), DnsError> {
        let Some(signature) = message.signature() else {
            return Ok(());
        };
        let refused = |text| {
            Err(DnsError::KeyRefused {
                server: self.server.address,
                key_name: self.server.key_name.clone(),
                text,
            })
        };
        match signature.data.error {
            None => Ok(()),
            Some(TsigError::BadKey) => refused("it knows no such key (BADKEY)"),
            Some(TsigError::BadSig) => refused("it has another secret for it (BADSIG)"),
            Some(TsigError::BadTime) => Err(DnsError::ClockSkew {
                server: self.server.address,
                seconds: self.apart(&signature.data.other),
            }),
            Some(other) => Err(self.unbelievable(format!("TSIG error {}", u16::from(other)))),
        }
    }

    /// Seconds between our clock and the server's, which its answer has in six bytes.
    fn apart(&self, theirs: &[u8]) -> u64 {
        let theirs = theirs
            .iter()
            .fold(0_u64, |time, byte| (time << 8) | u64::from(*byte));
        let ours = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        ours.abs_diff(theirs)
    }

    pub(super) fn unbelievable(&self, text: String) -> DnsError {
        DnsError::Unbelievable {
            server: self.server.address,
            text,
        }
    }
}

/// Words for a response code.
pub(super) fn told(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::YXDomain => "YXDOMAIN".to_owned(),
        ResponseCode::YXRRSet => "YXRRSET".to_owned(),
        ResponseCode::NXRRSet => "NXRRSET".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        other => format!("RCODE {}", u16::from(other)),
    }
}

fn signer(server: &Server) -> Result<TSigner, DnsError> {
    let unusable = |text: String| DnsError::KeyUnusable {
        server: server.address,
        text,
    };
    let key = STANDARD.decode(server.key.expose().trim());
    let key = key.map_err(|_| unusable("its `tsigKey` is no base64".to_owned()))?;
    let name = Name::from_ascii(format!("{}.", server.key_name));
    let name = name.map_err(|error| unusable(format!("`keyName` is no name: {error}")))?;
    TSigner::new(key, TsigAlgorithm::HmacSha256, name, FUDGE)
        .map_err(|error| unusable(error.to_string()))
}

fn unreachable(server: SocketAddr, text: String) -> DnsError {
    DnsError::Unreachable { server, text }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
            _ => error.to_string(),
        }),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}
