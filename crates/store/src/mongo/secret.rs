//! The address of the server, which holds a password: never shown, and masked in whatever a driver says.

use std::fmt;

use crate::error::Said;

#[derive(Clone)]
pub(super) struct Uri {
    text: String,
    // The user and the password, as written and as they are sent.
    secrets: Vec<String>,
}

impl Uri {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), secrets: secrets_of(text) }
    }

    pub(super) fn expose(&self) -> &str {
        &self.text
    }

    pub(super) fn masked(&self, text: &str) -> Said {
        // The longest first, so that a secret that is part of another leaves no rest of it.
        Said(
            self.secrets
                .iter()
                .fold(text.replace(&self.text, "***"), |text, secret| text.replace(secret, "***")),
        )
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uri(***)")
    }
}

/// The part between the scheme and the path: login and hosts.
fn authority(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// The servers in an address, without the login before them.
pub(super) fn hosts(uri: &str) -> &str {
    let authority = authority(uri);
    authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts)
}

fn secrets_of(uri: &str) -> Vec<String> {
    let Some((login, _)) = authority(uri).rsplit_once('@') else { return Vec::new() };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut secrets =
        vec![login.to_owned(), user.to_owned(), decoded(user), password.to_owned(), decoded(password)];
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    secrets
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_masked_as_written_and_as_sent() {
        let uri = Uri::new("mongodb://gate%40way:p%2Fss%3Aword@db.example:27017/?tls=true");
        let said = uri.masked("refused p/ss:word and p%2Fss%3Aword of gate@way").to_string();
        assert_eq!(said, "refused *** and *** of ***");
    }

    #[test]
    fn an_address_shows_nothing_of_itself() {
        let uri = Uri::new("mongodb://user:secret@db.example");
        assert_eq!(format!("{uri:?}"), "Uri(***)");
        assert_eq!(
            uri.masked("parsing mongodb://user:secret@db.example failed").to_string(),
            "parsing *** failed"
        );
    }

    #[test]
    fn the_hosts_of_an_address_are_told_without_its_login() {
        assert_eq!(hosts("mongodb://user:p%40ss@a:1,b:2/auth?tls=true"), "a:1,b:2");
        assert_eq!(hosts("mongodb+srv://db.example?w=1"), "db.example");
    }

    #[test]
    fn an_address_without_a_login_masks_nothing_else() {
        assert_eq!(
            Uri::new("mongodb://db.example/x@y").masked("x at db.example").to_string(),
            "x at db.example"
        );
    }
}
