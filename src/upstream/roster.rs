//! Who belongs to an upstream now: what `gateway.toml` lists, what its names and its file say, what an operator changed.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::Path,
};

use vllm_gateway_config::{EndpointOptions, EndpointUrl, EndpointsFile, UpstreamOptions};

/// What is known of an upstream's members beside `gateway.toml`. It outlives reloads.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Roster {
    /// The addresses of names that are to be resolved, in their order.
    pub(crate) addresses: HashMap<EndpointUrl, Vec<IpAddr>>,
    /// What stood in the file when it was last read.
    pub(crate) file: Vec<EndpointOptions>,
    /// What an operator changed, by the endpoint's own URL.
    pub(crate) changes: BTreeMap<String, Change>,
}

/// What an operator wants of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) presence: Presence,
    /// In place of the one in the file.
    pub(crate) weight: Option<u32>,
}

/// Whether an endpoint belongs to its upstream, and gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Active,
    /// It gets no further requests; what runs there goes on.
    Drained,
    /// It is listed no longer.
    Removed,
}

/// A member of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seat {
    /// Its own URL, by which it is known.
    pub(crate) url: String,
    /// The URL with its name and its address, where that name has several.
    pub(crate) resolved: Option<(EndpointUrl, IpAddr)>,
    pub(crate) weight: u32,
    pub(crate) drained: bool,
}

impl Roster {
    /// Reads the file of endpoints, if there is one.
    pub(crate) fn read_file(&mut self, options: &UpstreamOptions, base: &Path) -> Result<(), String> {
        if let Some(path) = &options.endpoints_file {
            self.file = EndpointsFile::read(&base.join(path))?.endpoints;
        }
        Ok(())
    }

    /// All members, in the order of the file, each once.
    pub(crate) fn seats(&self, options: &UpstreamOptions) -> Vec<Seat> {
        let file = if options.endpoints_file.is_some() { self.file.as_slice() } else { &[] };
        let mut seats: Vec<Seat> = Vec::new();
        for listed in options.endpoints.iter().chain(file) {
            for seat in self.seats_of(listed) {
                // In one list a URL may stand twice, which is warned of; the file does not repeat the list.
                if !file.is_empty() && seats.iter().any(|other| other.url == seat.url) {
                    continue;
                }
                seats.push(seat);
            }
        }
        for (url, change) in &self.changes {
            if change.presence != Presence::Removed && !seats.iter().any(|seat| seat.url == *url) {
                let weight = change.weight.unwrap_or(1);
                seats.push(Seat { url: url.clone(), resolved: None, weight, drained: false });
            }
        }
        seats.retain_mut(|seat| {
            let Some(change) = self.changes.get(&seat.url) else { return true };
            seat.weight = change.weight.unwrap_or(seat.weight);
            seat.drained = change.presence == Presence::Drained;
            change.presence != Presence::Removed
        });
        seats
    }

    /// One for each address of a name; the name itself as long as they are not known.
    fn seats_of(&self, listed: &EndpointOptions) -> Vec<Seat> {
        let seat = |url: String, resolved| Seat { url, resolved, weight: listed.weight, drained: false };
        let addresses =
            self.addresses.get(&listed.url).filter(|addresses| listed.resolve && !addresses.is_empty());
        let Some(addresses) = addresses else { return vec![seat(listed.url.as_str().to_owned(), None)] };
        let at = |address: &IpAddr| {
            seat(with_address(listed.url.as_str(), *address), Some((listed.url.clone(), *address)))
        };
        addresses.iter().map(at).collect()
    }
}

/// The URL with this address in place of its name.
fn with_address(url: &str, address: IpAddr) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    if port.is_empty() {
        format!("{scheme}://{host}{path}")
    } else {
        format!("{scheme}://{host}:{port}{path}")
    }
}

/// The host and the port of a URL whose name is to be resolved.
pub(crate) fn place(url: &str) -> Option<(&str, u16)> {
    let rest = url.strip_prefix("http://")?;
    let authority = rest.split('/').next()?;
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((authority, 80)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(text: &str) -> EndpointUrl {
        text.to_owned().try_into().unwrap()
    }

    fn options(urls: &[&str]) -> UpstreamOptions {
        let listed = |text: &&str| EndpointOptions { url: url(text), weight: 2, resolve: true };
        UpstreamOptions { endpoints: urls.iter().map(listed).collect(), ..UpstreamOptions::default() }
    }

    fn urls(seats: &[Seat]) -> Vec<&str> {
        seats.iter().map(|seat| seat.url.as_str()).collect()
    }

    #[test]
    fn a_name_stands_for_all_its_addresses_once_they_are_known() {
        let options = options(&["http://gpu:8000/base", "http://10.0.0.9:1"]);
        let mut roster = Roster::default();
        assert_eq!(urls(&roster.seats(&options)), ["http://gpu:8000/base", "http://10.0.0.9:1"]);
        let addresses = vec!["10.0.0.1".parse().unwrap(), "fd00::2".parse().unwrap()];
        roster.addresses.insert(url("http://gpu:8000/base"), addresses);
        let seats = roster.seats(&options);
        assert_eq!(
            urls(&seats),
            ["http://10.0.0.1:8000/base", "http://[fd00::2]:8000/base", "http://10.0.0.9:1"]
        );
        assert!(seats.iter().all(|seat| seat.weight == 2));
    }

    #[test]
    fn an_operator_adds_drains_weighs_and_removes() {
        let options = options(&["http://a:1", "http://b:1"]);
        let mut roster = Roster::default();
        let mut change =
            |url: &str, presence, weight| roster.changes.insert(url.into(), Change { presence, weight });
        change("http://a:1", Presence::Removed, None);
        change("http://b:1", Presence::Drained, Some(7));
        change("http://c:1", Presence::Active, None);
        change("http://d:1", Presence::Removed, None);
        let seats = roster.seats(&options);
        assert_eq!(urls(&seats), ["http://b:1", "http://c:1"]);
        assert_eq!(
            (seats[0].drained, seats[0].weight, seats[1].drained, seats[1].weight),
            (true, 7, false, 1)
        );
    }

    #[test]
    fn places_are_found_in_urls() {
        assert_eq!(place("http://gpu:8000/base"), Some(("gpu", 8000)));
        assert_eq!(place("http://gpu"), Some(("gpu", 80)));
        assert_eq!(place("https://gpu"), None);
    }
}
