//! Where requests wait while all servers are busy: bounded, fair between those who send them, and left in order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

/// Requests that wait. Whoever has the highest priority is called first; among equals, parties take turns, and each
/// party's requests come in their order.
#[derive(Debug)]
pub struct Line {
    size: AtomicUsize,
    /// Those who wait, and those who were called and have not yet gone.
    standing: AtomicUsize,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    waiting: usize,
    /// By priority, the highest first; in each, parties in the order of their turns.
    levels: BTreeMap<Reverse<i32>, VecDeque<Party>>,
}

#[derive(Debug)]
struct Party {
    name: Box<str>,
    calls: VecDeque<Arc<Call>>,
}

#[derive(Debug, Default)]
struct Call {
    state: AtomicU8,
    told: Notify,
}

const WAITING: u8 = 0;
const CALLED: u8 = 1;
const PUSHED_OUT: u8 = 2;

/// There is no place left in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineFull;

/// What the waiting led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may go on.
    Called,
    /// Its place went to somebody with a better claim.
    PushedOut,
}

impl Line {
    /// A line of at most so many.
    pub fn new(size: usize) -> Self {
        Self { size: AtomicUsize::new(size), standing: AtomicUsize::new(0), rows: Mutex::default() }
    }

    /// Lets so many wait from now on; those who wait stay.
    pub fn resize(&self, size: usize) {
        self.size.store(size, Relaxed);
    }

    /// Whether nobody waits or is about to go: then a newcomer overtakes nobody.
    pub fn is_empty(&self) -> bool {
        self.standing.load(Relaxed) == 0
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.rows().waiting
    }

    /// Takes a place for a request of this party. Where the line is full, the party with the most places gives one up, if
    /// it has more than this one would have, and so does any with a lower priority.
    pub fn join(self: &Arc<Self>, party: &str, priority: i32) -> Result<Place, LineFull> {
        let mut rows = self.rows();
        if rows.waiting >= self.size.load(Relaxed) {
            let out = rows.weakest(party, priority).ok_or(LineFull)?;
            out.tell(PUSHED_OUT);
        }
        let call = Arc::<Call>::default();
        rows.party(party, priority).calls.push_back(Arc::clone(&call));
        rows.waiting += 1;
        self.standing.fetch_add(1, Relaxed);
        drop(rows);
        Ok(Place { line: Arc::clone(self), call, party: party.into(), priority, gone: false })
    }

    /// Calls whoever is next. For everybody who gives a slot back: if nobody waits, it costs one read.
    pub fn call_next(&self) {
        if !self.is_empty()
            && let Some(call) = self.rows().next()
        {
            call.tell(CALLED);
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn tell(&self, state: u8) {
        self.state.store(state, Relaxed);
        // A lock is taken between this and whoever reads it, or the notification orders them.
        self.told.notify_one();
    }
}

impl Rows {
    fn party(&mut self, name: &str, priority: i32) -> &mut Party {
        let level = self.levels.entry(Reverse(priority)).or_default();
        let at = level.iter().position(|party| *party.name == *name).unwrap_or_else(|| {
            level.push_back(Party { name: name.into(), calls: VecDeque::new() });
            level.len() - 1
        });
        &mut level[at]
    }

    fn next(&mut self) -> Option<Arc<Call>> {
        let mut level = self.levels.first_entry()?;
        let parties = level.get_mut();
        let mut party = parties.pop_front()?;
        let call = party.calls.pop_front();
        if !party.calls.is_empty() {
            parties.push_back(party);
        }
        if parties.is_empty() {
            level.remove();
        }
        self.waiting -= usize::from(call.is_some());
        call
    }

    /// Takes out the newest of the party with the most places at the lowest priority, if this one has a better claim.
    fn weakest(&mut self, name: &str, priority: i32) -> Option<Arc<Call>> {
        let mut level = self.levels.last_entry()?;
        let lowest = level.key().0;
        if lowest > priority {
            return None;
        }
        let parties = level.get_mut();
        let own = parties.iter().find(|party| *party.name == *name).map_or(0, |party| party.calls.len());
        let (at, most) = parties.iter().enumerate().max_by_key(|(_, party)| party.calls.len())?;
        if lowest == priority && most.calls.len() <= own + 1 {
            return None;
        }
        let call = parties.get_mut(at)?.calls.pop_back();
        parties.retain(|party| !party.calls.is_empty());
        if parties.is_empty() {
            level.remove();
        }
        self.waiting -= usize::from(call.is_some());
        call
    }

    fn remove(&mut self, name: &str, priority: i32, call: &Arc<Call>) {
        let Some(parties) = self.levels.get_mut(&Reverse(priority)) else { return };
        let Some(party) = parties.iter_mut().find(|party| *party.name == *name) else { return };
        if let Some(at) = party.calls.iter().position(|other| Arc::ptr_eq(other, call)) {
            party.calls.remove(at);
            self.waiting -= 1;
        }
        parties.retain(|party| !party.calls.is_empty());
        if parties.is_empty() {
            self.levels.remove(&Reverse(priority));
        }
    }

    /// How many are called before this one, if nobody comes or leaves.
    fn ahead(&self, name: &str, priority: i32, call: &Arc<Call>) -> usize {
        let before: usize = self
            .levels
            .range(..Reverse(priority))
            .flat_map(|(_, level)| level)
            .map(|party| party.calls.len())
            .sum();
        let Some(parties) = self.levels.get(&Reverse(priority)) else { return before };
        let Some(own) = parties.iter().position(|party| *party.name == *name) else { return before };
        let round = parties[own].calls.iter().position(|other| Arc::ptr_eq(other, call)).unwrap_or_default();
        let others = parties.iter().enumerate().map(|(at, party)| match at.cmp(&own) {
            std::cmp::Ordering::Less => party.calls.len().min(round + 1),
            std::cmp::Ordering::Equal => round,
            std::cmp::Ordering::Greater => party.calls.len().min(round),
        });
        before + others.sum::<usize>()
    }
}

/// A place in a line. Dropping it leaves the line; whoever was called and does not go passes the turn on.
#[derive(Debug)]
pub struct Place {
    line: Arc<Line>,
    call: Arc<Call>,
    party: Box<str>,
    priority: i32,
    gone: bool,
}

impl Place {
    /// Waits to be called. Dropping the future loses nothing.
    pub async fn turn(&self) -> Turn {
        loop {
            match self.call.state.load(Relaxed) {
                CALLED => return Turn::Called,
                PUSHED_OUT => return Turn::PushedOut,
                _ => self.call.told.notified().await,
            }
        }
    }

    /// Goes: it has what it waited for.
    pub fn go(mut self) {
        self.gone = true;
    }

    /// Waits on, at the very front: it was called, and somebody else was quicker.
    pub fn back_to_the_front(&self) {
        let mut rows = self.line.rows();
        if self.call.state.load(Relaxed) != CALLED {
            return;
        }
        self.call.state.store(WAITING, Relaxed);
        rows.party(&self.party, self.priority).calls.push_front(Arc::clone(&self.call));
        if let Some(parties) = rows.levels.get_mut(&Reverse(self.priority))
            && let Some(at) = parties.iter().position(|party| party.name == self.party)
            && let Some(party) = parties.remove(at)
        {
            parties.push_front(party);
        }
        rows.waiting += 1;
    }

    /// How many are called before this one, if nobody comes or leaves.
    pub fn ahead(&self) -> usize {
        self.line.rows().ahead(&self.party, self.priority, &self.call)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rows = self.line.rows();
        self.line.standing.fetch_sub(1, Relaxed);
        match self.call.state.load(Relaxed) {
            WAITING => rows.remove(&self.party, self.priority, &self.call),
            CALLED if !self.gone => {
                if let Some(call) = rows.next() {
                    call.tell(CALLED);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn line(size: usize) -> Arc<Line> {
        Arc::new(Line::new(size))
    }

    fn turn(place: &Place) -> Option<Turn> {
        match pin!(place.turn()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// The names of those who stand there, in the order in which they are called.
    fn order(line: &Line, places: Vec<(&'static str, Place)>) -> Vec<&'static str> {
        let mut places = places;
        let mut called = Vec::new();
        while !places.is_empty() {
            line.call_next();
            let at = places.iter().position(|(_, place)| turn(place) == Some(Turn::Called)).unwrap();
            let (name, place) = places.remove(at);
            place.go();
            called.push(name);
        }
        called
    }

    #[test]
    fn parties_take_turns_and_each_keeps_its_order() {
        let line = line(10);
        let join = |name, party| (name, line.join(party, 0).unwrap());
        let places = vec![
            join("a1", "a"),
            join("a2", "a"),
            join("a3", "a"),
            join("b1", "b"),
            join("c1", "c"),
            join("b2", "b"),
        ];
        let ahead: Vec<_> = places.iter().map(|(_, place)| place.ahead()).collect();
        assert_eq!(ahead, [0, 3, 5, 1, 2, 4]);
        assert_eq!(order(&line, places), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(line.is_empty());
    }

    #[test]
    fn a_higher_priority_comes_first() {
        let line = line(10);
        let join = |name, party, priority| (name, line.join(party, priority).unwrap());
        let places =
            vec![join("low", "a", -1), join("normal", "b", 0), join("high", "c", 5), join("too", "a", 5)];
        assert_eq!(places[0].1.ahead(), 3);
        assert_eq!(order(&line, places), ["high", "too", "normal", "low"]);
    }

    #[test]
    fn a_full_line_is_shared_and_nobody_fills_it_alone() {
        let line = line(4);
        let greedy: Vec<_> = (0..4).map(|_| line.join("greedy", 0).unwrap()).collect();
        assert_eq!(line.join("greedy", 0).unwrap_err(), LineFull);
        let modest = [line.join("modest", 0).unwrap(), line.join("modest", 0).unwrap()];
        let turns: Vec<_> = greedy.iter().map(turn).collect();
        assert_eq!(turns, [None, None, Some(Turn::PushedOut), Some(Turn::PushedOut)]);
        assert_eq!(line.join("modest", 0).unwrap_err(), LineFull, "both have as many");
        let urgent = line.join("greedy", 1).unwrap();
        assert_eq!(turn(&modest[1]).or(turn(&greedy[1])), Some(Turn::PushedOut));
        assert_eq!(line.waiting(), 4);
        drop((greedy, modest, urgent));
        assert!(line.is_empty() && line.waiting() == 0);
    }

    #[test]
    fn whoever_leaves_when_called_passes_the_turn_on() {
        let line = line(4);
        let (first, second) = (line.join("a", 0).unwrap(), line.join("a", 0).unwrap());
        line.call_next();
        assert_eq!((turn(&first), turn(&second)), (Some(Turn::Called), None));
        drop(first);
        assert_eq!(turn(&second), Some(Turn::Called));
        second.go();
        assert!(line.is_empty());
    }

    #[test]
    fn whoever_was_called_in_vain_is_called_next() {
        let line = line(4);
        let first = line.join("a", 0).unwrap();
        let others = [line.join("b", 0).unwrap(), line.join("a", 0).unwrap()];
        line.call_next();
        assert_eq!(turn(&first), Some(Turn::Called));
        first.back_to_the_front();
        assert_eq!((turn(&first), first.ahead()), (None, 0));
        line.call_next();
        assert_eq!(turn(&first), Some(Turn::Called));
        assert!(others.iter().all(|other| turn(other).is_none()));
    }

    #[test]
    fn whoever_leaves_early_is_not_called() {
        let line = line(4);
        let (first, second) = (line.join("a", 0).unwrap(), line.join("b", 0).unwrap());
        drop(first);
        line.call_next();
        assert_eq!(turn(&second), Some(Turn::Called));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_is_forgotten_whoever_comes_and_goes() {
        let line = line(1_000);
        let slots = Arc::new(tokio::sync::Semaphore::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..400 {
            let (line, slots) = (Arc::clone(&line), Arc::clone(&slots));
            tasks.spawn(async move {
                let place = line.join(&format!("{}", n % 7), n % 3).unwrap();
                if n % 5 == 0 {
                    // Leaves at some time, perhaps when it has just been called.
                    tokio::task::yield_now().await;
                    return;
                }
                assert_eq!(place.turn().await, Turn::Called);
                place.go();
                slots.add_permits(1);
                line.call_next();
            });
        }
        line.call_next();
        while !tasks.is_empty() {
            // The first calls may have met an empty line.
            line.call_next();
            tokio::time::timeout(std::time::Duration::from_secs(10), tasks.join_next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        }
        assert_eq!(slots.available_permits(), 320);
        assert!(line.is_empty());
    }
}
