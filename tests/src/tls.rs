//! Certificates for servers under test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Whether a TLS server asks its clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client may come without one.
    Optional,
    /// A client without one is turned away.
    Required,
}

/// A certificate authority with one server and one client certificate, as PEM files.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes all keys and certificates and writes them into `directory`.
    ///
    /// The server's certificate is for `localhost` and 127.0.0.1. Two calls share nothing: what the
    /// one signs, the other's authority does not vouch for.
    ///
    /// # Panics
    ///
    /// If a file cannot be written.
    #[must_use]
    pub fn generate(directory: &Path) -> Self {
        let certificates = Self { directory: directory.to_owned() };
        let authority = authority();
        write(&certificates.ca(), &authority.pem());
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let (certificate, key) = leaf(&authority, &names, ExtendedKeyUsagePurpose::ServerAuth);
        write(&certificates.server(), &certificate);
        write(&certificates.server_key(), &key);
        let (certificate, key) = leaf(&authority, &[], ExtendedKeyUsagePurpose::ClientAuth);
        write(&certificates.client(), &certificate);
        write(&certificates.client_key(), &key);
        certificates
    }

    /// The authority's certificate, which a client must trust.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.directory.join("server.pem")
    }

    /// The server's private key.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.directory.join("server-key.pem")
    }

    /// A client's certificate, for [`ClientAuth::Required`].
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.directory.join("client.pem")
    }

    /// That client's private key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.directory.join("client-key.pem")
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    // A name of its own: a leaf whose subject equals its issuer would count as self-signed.
    params.distinguished_name.push(DnType::CommonName, "redlatch test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key for the authority");
    CertifiedIssuer::self_signed(params, key).expect("the authority signs itself")
}

/// Makes a certificate and its private key, both as PEM text.
fn leaf(
    authority: &CertifiedIssuer<'_, KeyPair>,
    names: &[String],
    purpose: ExtendedKeyUsagePurpose,
) -> (String, String) {
    let mut params = CertificateParams::new(names).expect("names that a certificate can carry");
    params.distinguished_name.push(DnType::CommonName, "redlatch test peer");
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().expect("a key for a peer");
    let certificate = params.signed_by(&key, authority).expect("the authority signs");
    (certificate.pem(), key.serialize_pem())
}

fn write(path: &Path, text: &str) {
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
