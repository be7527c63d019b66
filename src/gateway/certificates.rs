//! The certificates that are served: read at the start, and compared at a reload, which cannot change them.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use vllm_gateway_config::{Config, TlsOptions};

/// What lay in the files when the gateway started.
pub(super) struct Certificates(Vec<Pair>);

struct Pair {
    table: &'static str,
    files: [PathBuf; 2],
    /// Of keys nothing else is kept.
    print: [Option<u64>; 2],
}

impl Certificates {
    /// Those of this configuration, which is about to be served.
    pub(super) fn of(config: &Config) -> Self {
        let pair = |table, tls: &TlsOptions| {
            let files = [config.base.join(&tls.cert), config.base.join(&tls.key)];
            let print = [print_of(&files[0]), print_of(&files[1])];
            Pair { table, files, print }
        };
        let server = config.server.tls.as_ref().map(|tls| pair("server.tls", tls));
        let admin = config.admin.tls.as_ref().map(|tls| pair("admin.tls", tls));
        Self(server.into_iter().chain(admin).collect())
    }

    /// The tables whose files now hold something else. A file that is gone for a moment, as one that is being
    /// replaced, is not renewed yet.
    pub(super) fn renewed(&self) -> impl Iterator<Item = &'static str> {
        let is_renewed = |pair: &&Pair| {
            let both = pair.files.iter().zip(pair.print);
            both.into_iter().any(|(file, then)| print_of(file).is_some_and(|now| Some(now) != then))
        };
        self.0.iter().filter(is_renewed).map(|pair| pair.table)
    }
}

fn print_of(file: &Path) -> Option<u64> {
    // A pipe can be read once only, and would be waited for.
    let content = file.metadata().ok().filter(fs::Metadata::is_file).and_then(|_| fs::read(file).ok())?;
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    Some(hasher.finish())
}
