//! Debian's docker-registry on the machine `outside` of a lab: plain, with TLS of its own authority, with a login.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::json;

use crate::cluster::Cluster;
use crate::packages;

/// `me:sesame`, by bcrypt.
const LOGINS: &str = "me:$2b$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW\n";

/// How a registry is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Plain http.
    Plain,
    /// TLS, for everybody.
    Tls,
    /// TLS, for those who show a certificate of its authority.
    Mutual,
    /// TLS, and a login: `me`, `sesame`.
    Private,
}

/// A registry and its files. It ends with this value.
pub struct Registry {
    files: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Registry {
    /// The files of one that is to listen at `outside:PORT`; daemons can be told of [`Registry::config`] before it runs.
    ///
    /// # Panics
    /// When they cannot be made, as everything here.
    pub fn new(port: u16, kind: Kind) -> Self {
        // Machines of a lab see these; they have a /tmp of their own.
        let files = tempfile::tempdir_in(packages::cache()).expect("a directory for a registry");
        let registry = Self {
            files,
            port,
            child: None,
        };
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": registry.store()}},
            "http": {"addr": format!(":{port}")},
        });
        if kind != Kind::Plain {
            registry.certify();
            let (certificate, key) = (registry.path("leaf.crt"), registry.path("leaf.key"));
            config["http"]["tls"] = json!({"certificate": certificate, "key": key});
        }
        if kind == Kind::Mutual {
            let authority = registry.path(&registry.trusted("ca.crt"));
            config["http"]["tls"]["clientcas"] = json!([authority]);
        }
        if kind == Kind::Private {
            registry.write("htpasswd", LOGINS);
            let path = registry.path("htpasswd");
            config["auth"] = json!({"htpasswd": {"realm": "lab", "path": path}});
        }
        registry.write("config.yml", &config.to_string());
        registry
    }

    /// A file of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Where it keeps images, for [`crate::images::OciImage::put`].
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// A configuration of daemons, beside which the authority's certificate lies.
    pub fn config(&self) -> PathBuf {
        self.path("skep.toml")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, content).expect("a file of the registry");
    }

    /// A file that daemons of [`Registry::config`] look for.
    fn trusted(&self, name: &str) -> String {
        format!("certs.d/outside:{}/{name}", self.port)
    }

    /// An authority, and certificates of it for `outside` and for a client.
    fn certify(&self) {
        let mut params = CertificateParams::new(Vec::new()).expect("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let names = [
            ("outside", "leaf.crt".to_owned(), "leaf.key".to_owned()),
            (
                "client",
                self.trusted("client.cert"),
                self.trusted("client.key"),
            ),
        ];
        for (name, certificate, own) in names {
            let pair = key();
            let mut leaf = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let uses = [
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
            leaf.extended_key_usages.extend(uses);
            let leaf = leaf.signed_by(&pair, &authority).expect("a certificate");
            self.write(&certificate, &leaf.pem());
            self.write(&own, &pair.serialize_pem());
        }
        self.write(&self.trusted("ca.crt"), &authority.pem());
        self.write("skep.toml", "");
    }

    /// Runs it until it listens.
    ///
    /// # Panics
    /// As all here.
    pub fn start(&mut self, cluster: &Cluster) {
        let program = packages::tree(&["docker-registry"]).join("usr/bin/docker-registry");
        let config = self.path("config.yml");
        let argv = [text(&program), "serve", text(&config)];
        let mut command = cluster.lab.command("outside", &argv).expect("outside is");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("a registry"));
        let port = self.port;
        cluster.until("the registry listens", || {
            let open = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            cluster.lab.in_network("outside", open).expect("outside is")
        });
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
