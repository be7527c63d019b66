//! How many clients are connected, in all and from one address, and whether one more may come in.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::descriptors::Descriptor;

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Its name in metrics.
    pub(crate) listener: &'static str,
    /// The most connections.
    pub(crate) most: usize,
    /// The most of them from one address.
    pub(crate) most_per_client: Option<usize>,
    /// Whether each of them counts among the descriptors that connections and upstream calls share.
    pub(crate) shared: bool,
    /// The most clients that are being told at one time that there is no room.
    pub(crate) lingering: usize,
    /// What they are told.
    pub(crate) says: fn() -> Vec<u8>,
}

/// The clients of a listener.
pub(crate) struct Crowd {
    limits: Limits,
    seated: AtomicUsize,
    /// Kept only where there is a limit for each address.
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// Why a client may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Listener,
    Client,
    Descriptors,
}

impl Full {
    /// Its name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "max_connections",
            Self::Client => "max_connections_per_client",
            Self::Descriptors => "descriptors",
        }
    }
}

impl Crowd {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, seated: AtomicUsize::new(0), clients: Mutex::default() })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A seat for a client from this address.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Seat, Full> {
        let taken = self.seated.fetch_add(1, Ordering::AcqRel);
        // From here on the seat's drop puts right what was counted.
        let mut seat = Seat { crowd: Arc::clone(self), ip: None, descriptor: None };
        if taken >= self.limits.most {
            return Err(Full::Listener);
        }
        if self.limits.shared {
            seat.descriptor = Some(Descriptor::for_connection().ok_or(Full::Descriptors)?);
        }
        if let Some(most) = self.limits.most_per_client {
            let ip = ip.to_canonical();
            let mut clients = self.clients();
            let count = clients.entry(ip).or_default();
            if *count >= most {
                return Err(Full::Client);
            }
            *count += 1;
            seat.ip = Some(ip);
        }
        Ok(seat)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted until this is dropped.
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    /// The address it is counted for, if it is.
    ip: Option<IpAddr>,
    /// The one it takes of the shared ones, if it does.
    #[allow(dead_code)] // held for its drop
    descriptor: Option<Descriptor>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.seated.fetch_sub(1, Ordering::AcqRel);
        let Some(ip) = self.ip else { return };
        let mut clients = self.crowd.clients();
        if let Some(count) = clients.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn crowd(most: usize, most_per_client: Option<usize>) -> Arc<Crowd> {
        let says = Vec::new;
        Crowd::new(Limits { listener: "data", most, most_per_client, shared: false, lingering: 1, says })
    }

    #[test]
    fn seats_are_given_up_to_the_limit_and_given_back() {
        let crowd = crowd(2, None);
        let ip = IpAddr::from([127, 0, 0, 1]);
        let first = crowd.enter(ip).ok().unwrap();
        let second = crowd.enter(ip).ok().unwrap();
        assert_eq!(crowd.enter(ip).err(), Some(Full::Listener));
        drop(first);
        let third = crowd.enter(ip).ok().unwrap();
        assert_eq!(crowd.enter(ip).err(), Some(Full::Listener));
        drop((second, third));
        assert_eq!(crowd.seated.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_address_has_its_own_limit_in_both_spellings_and_leaves_nothing_behind() {
        let crowd = crowd(10, Some(1));
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let seat = crowd.enter(one).ok().unwrap();
        assert_eq!(crowd.enter(mapped).err(), Some(Full::Client));
        let second = crowd.enter(other).ok().unwrap();
        drop(seat);
        drop(crowd.enter(mapped).ok().unwrap());
        drop(second);
        assert!(crowd.clients().is_empty());
        assert_eq!(crowd.seated.load(Ordering::Relaxed), 0);
    }
}
